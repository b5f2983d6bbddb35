//! Whether the daemon lives, and whether it measures.

use axum::extract::State;
use axum::http::StatusCode;

use super::super::document::Refusals;
use super::super::error::ApiError;
use super::AppState;

/// Whether the daemon answers at all
#[utoipa::path(get, path = "/healthz", tag = "health", responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain; charset=utf-8"),
    Refusals,
))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the daemon measures what it was told to
///
/// A daemon that was told to select nothing is ready: it waits for targets.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain; charset=utf-8"),
    Refusals,
))]
pub(super) async fn readyz(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    let ready = state.ask(|daemon| Ok(daemon.status()?.attached || daemon.targets()?.is_empty())).await?;
    if ready {
        return Ok("ready\n");
    }
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the kernel half is not attached yet; try again"))
}
