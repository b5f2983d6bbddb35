//! The selections in force: list, add, end.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::document::{ControlRefusals, FormatParams, Refusals};
use super::super::error::{ApiError, ErrorBody};
use super::super::negotiation::Form;
use super::super::query::Pairs;
use super::AppState;
use crate::pipeline::{Daemon, DaemonError, Target, TargetId};
use crate::report::escape_untrusted;
use crate::report::span::rfc3339;
use crate::report::table::Table;
use crate::settings::Selector;
use crate::settings::quantity::parse_duration;

/// The longest a selection can be told to last.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The selections in force
#[utoipa::path(get, path = "/api/v1/targets", tag = "targets", params(FormatParams), responses(
    (status = 200, description = "One row per selection", content(
        (TargetsAnswer = "application/json"), (String = "text/plain; charset=utf-8"))),
    Refusals,
))]
pub(super) async fn list(State(state): State<AppState>, form: Form, mut pairs: Pairs) -> Result<Response, ApiError> {
    pairs.take_format()?;
    pairs.end()?;
    let targets = state.ask(|daemon| Ok(daemon.targets()?)).await?;
    let answer = TargetsAnswer { targets: targets.iter().map(TargetRow::from).collect() };
    Ok(form.answer(&answer, || answer.to_text()))
}

/// Select processes, and their children
///
/// Answers when the kernel half accounts them. `for` ends the selection by itself; what was measured stays.
#[utoipa::path(post, path = "/api/v1/targets", tag = "targets", params(FormatParams),
    request_body(content = TargetRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "The selection is in force", content(
            (TargetRow = "application/json"), (String = "text/plain; charset=utf-8")),
            headers(("location" = String, description = "Where DELETE ends it"))),
        (status = 404, description = "No process has this pid", content(
            (ErrorBody = "application/json"), (String = "text/plain; charset=utf-8"))),
        (status = 409, description = "All places for selections are taken", content(
            (ErrorBody = "application/json"), (String = "text/plain; charset=utf-8"))),
        (status = 413, description = "The body is larger than any selection", content(
            (ErrorBody = "application/json"), (String = "text/plain; charset=utf-8"))),
        (status = 415, description = "The Content-Type is not application/json", content(
            (ErrorBody = "application/json"), (String = "text/plain; charset=utf-8"))),
        ControlRefusals,
    ))]
pub(super) async fn add(
    State(state): State<AppState>,
    form: Form,
    mut pairs: Pairs,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    pairs.take_format()?;
    pairs.end()?;
    let (selector, lifetime) = TargetRequest::parse(&headers, body)?;
    let row = state.ask(move |daemon| add_target(daemon, selector, lifetime)).await?;
    let location = [(LOCATION, format!("/api/v1/targets/{}", row.id))];
    let answer = form.answer(&row, || row.to_text());
    Ok((StatusCode::CREATED, location, answer).into_response())
}

/// End a selection
///
/// What was measured stays in the history.
#[utoipa::path(delete, path = "/api/v1/targets/{id}", tag = "targets",
    params(("id" = u32, Path, description = "The id that POST answered", example = 1)),
    responses(
        (status = 204, description = "The selection is no longer in force"),
        (status = 404, description = "No selection has this id", content(
            (ErrorBody = "application/json"), (String = "text/plain; charset=utf-8"))),
        ControlRefusals,
    ))]
pub(super) async fn remove(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id = id.parse().map_err(|_| {
        let message = format!("`{}` is no target id; GET /api/v1/targets lists them", id.escape_debug());
        ApiError::new(StatusCode::BAD_REQUEST, message)
    })?;
    state.ask(move |daemon| Ok(daemon.remove_target(TargetId(id))?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn add_target(daemon: &dyn Daemon, selector: Selector, lifetime: Option<Duration>) -> Result<TargetRow, ApiError> {
    let id = daemon.add_target(selector, lifetime)?;
    let targets = daemon.targets()?;
    let target = targets.iter().find(|target| target.id == id).ok_or(DaemonError::NoSuchTarget(id.0))?;
    Ok(TargetRow::from(target))
}

/// A selection as asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(Serialize))]
pub(super) struct TargetRequest {
    /// What to select: `pid:N`, `comm:NAME`, `exe:/PATH`, `cgroup:/PATH` or `all`.
    #[schema(example = "comm:nginx")]
    select: String,
    /// How long; until it is deleted if absent.
    #[serde(rename = "for")]
    #[schema(example = "30s")]
    lifetime: Option<String>,
}

impl TargetRequest {
    fn parse(
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<(Selector, Option<Duration>), ApiError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let message = "the request needs the header Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let body = body.map_err(|rejection| ApiError::new(rejection.status(), too_large_or_broken(&rejection)))?;
        let request: Self = serde_json::from_slice(&body).map_err(|error| {
            let message =
                format!("the body is not a selection such as {{\"select\":\"pid:17\",\"for\":\"30s\"}}: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, escape_untrusted(&message))
        })?;
        let selector = request.select.parse().map_err(|error: crate::settings::ParseSelectorError| {
            ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
        })?;
        let allowed = Duration::from_millis(100)..=LONGEST;
        let lifetime = request.lifetime.map(|text| parse_duration("for", &text, allowed)).transpose()?;
        Ok((selector, lifetime))
    }
}

fn too_large_or_broken(rejection: &BytesRejection) -> &'static str {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than any selection; send one selection per request",
        _ => "the body could not be read; send it again",
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct TargetsAnswer {
    targets: Vec<TargetRow>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct TargetRow {
    /// The identity of the selection.
    id: u32,
    /// What it selects.
    select: String,
    /// When it ends by itself, in RFC 3339; absent if it does not.
    until: Option<String>,
    /// How many processes it selects now.
    processes: usize,
}

impl From<&Target> for TargetRow {
    fn from(target: &Target) -> Self {
        Self {
            id: target.id.0,
            select: target.selector.to_string(),
            until: target.until.map(rfc3339),
            processes: target.processes,
        }
    }
}

impl TargetRow {
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.processes.to_string(),
            self.until.clone().unwrap_or_else(|| "-".to_owned()),
            escape_untrusted(&self.select).into_owned(),
        ]
    }

    fn to_text(&self) -> String {
        TargetsAnswer::table([self.cells()])
    }
}

impl TargetsAnswer {
    fn to_text(&self) -> String {
        if self.targets.is_empty() {
            return "nothing is selected; POST /api/v1/targets {\"select\":\"pid:N\"} selects a process\n".to_owned();
        }
        Self::table(self.targets.iter().map(TargetRow::cells))
    }

    fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::default().right("ID").right("PROCESSES").left("UNTIL").left("SELECTS");
        rows.into_iter().for_each(|cells| table.row(cells));
        table.render()
    }
}
