//! What the threads of a process do now.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::document::{ReportRefusals, ThreadParams};
use super::super::error::ApiError;
use super::super::negotiation::Form;
use super::super::query::Pairs;
use super::AppState;
use crate::report::threads::Threads;
use crate::settings::quantity::parse_number;

/// What all threads of a process do now: what each waits for, and where
///
/// Read from outside, without stopping anything, whether the process is selected or not. A thread that runs has no stack.
#[utoipa::path(get, path = "/api/v1/threads", tag = "reports", params(ThreadParams), responses(
    (status = 200, description = "One row per thread", content(
        (Threads = "application/json"), (String = "text/plain; charset=utf-8"))),
    ReportRefusals,
))]
pub(super) async fn threads(State(state): State<AppState>, form: Form, mut pairs: Pairs) -> Result<Response, ApiError> {
    pairs.take_format()?;
    let pid = pairs.take("pid")?;
    pairs.end()?;
    let Some(pid) = pid else {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "write which process: /api/v1/threads?pid=N"));
    };
    let pid = parse_number("pid", &pid, 1..=i32::MAX as u32)?;
    let answer = state.ask_in_turn(move |daemon| Ok(crate::report::threads::threads(&daemon.threads(pid)?))).await?;
    Ok(form.answer(&answer, || answer.text()))
}
