//! Why a request was refused: a status and one line that says what to do.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::export::ExportError;
use crate::pipeline::DaemonError;
use crate::report::ReportError;
use crate::settings::SettingsError;

/// A refusal. Which form it takes (JSON or a line of text) is settled on its way out, by what the client asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do, in one line.
    pub message: String,
}

/// The JSON form of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong and what to do, in one line.
    #[schema(example = "limit `-1` is not valid: write a whole number from 0 to 100000")]
    pub error: String,
}

impl ApiError {
    /// A refusal with the given status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The daemon is on its way out.
    pub fn shutting_down() -> Self {
        DaemonError::ShuttingDown.into()
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<DaemonError> for ApiError {
    fn from(error: DaemonError) -> Self {
        let status = match &error {
            DaemonError::NoSuchProcess(_)
            | DaemonError::NothingMatches(_)
            | DaemonError::NoSuchTarget(_)
            | DaemonError::NoHistory(_) => StatusCode::NOT_FOUND,
            DaemonError::NotSelected(_) | DaemonError::NothingSelected(_) | DaemonError::TooManyTargets(_) => {
                StatusCode::CONFLICT
            }
            DaemonError::Kernel(_) => StatusCode::INTERNAL_SERVER_ERROR,
            DaemonError::ShuttingDown | DaemonError::ThreadLost => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
