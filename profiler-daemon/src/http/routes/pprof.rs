//! The addresses that pprof and its scrapers expect.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::super::document::{Refusals, ReportRefusals};
use super::super::error::ApiError;
use super::super::negotiation::TEXT;
use super::super::query::{Pairs, check_answerable};
use super::AppState;
use super::profiles::export;
use crate::profile::TimeRange;
use crate::settings::TimeChoice;
use crate::settings::quantity::parse_number;

/// How long to profile unless told: `go tool pprof` without `-seconds` waits 65 s for an answer.
const DEFAULT_SECONDS: u64 = 10;
/// The longest profile to wait for.
const MOST_SECONDS: u64 = 3600;

/// The parameters of the endpoint; `pid` and the others mean what they mean in reports.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the document alone")]
pub(super) struct SecondsParams {
    /// How long to wait and profile, 1 to 3600; 10 unless given. The answer is rounded outward to windows.
    #[param(minimum = 1, maximum = 3600, example = 1)]
    seconds: Option<u64>,
    /// Only the process with this pid in the host's initial PID namespace.
    #[param(example = 4711)]
    pid: Option<u32>,
    /// Only processes whose thread-group leader has this name, and their children.
    #[param(example = "nginx")]
    comm: Option<String>,
    /// Only processes that run this executable, and their children; found are those alive at the end.
    #[param(example = "/usr/bin/python3")]
    exe: Option<String>,
    /// Only processes in this cgroup or below it, and their children; found are those alive at the end.
    #[param(example = "/system.slice")]
    cgroup: Option<String>,
    /// Only threads of this name.
    #[param(example = "worker-1")]
    thread: Option<String>,
    /// Only these states, separated by commas; `wait` means every wait.
    #[param(example = "cpu,disk")]
    state: Option<String>,
    /// Whether to hide or show time spent parked with nothing to do.
    #[param(example = "hide")]
    idle: Option<String>,
}

/// Profile for some seconds, for `go tool pprof`
///
/// If none of the processes asked for lives and is selected at the start, the refusal comes at once.
#[utoipa::path(get, path = "/debug/pprof/profile", tag = "pprof", params(SecondsParams), responses(
    (status = 200, description = "A gzipped profile.proto message", body = Vec<u8>,
        content_type = "application/octet-stream"),
    ReportRefusals,
))]
pub(super) async fn profile(State(state): State<AppState>, mut pairs: Pairs) -> Result<Response, ApiError> {
    let seconds = match pairs.take("seconds")? {
        Some(text) => parse_number("seconds", &text, 1..=MOST_SECONDS)?,
        None => DEFAULT_SECONDS,
    };
    let mut query = pairs.report(&["pid", "comm", "exe", "cgroup", "thread", "state", "idle"])?;
    let asked = query.clone();
    state.ask(move |daemon| check_answerable(daemon, &asked)).await?;
    let from = state.now();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        () = state.shutting_down() => return Err(ApiError::shutting_down()),
    }
    query.time = TimeChoice::Between(TimeRange { from, to: state.now() });
    let (media_type, bytes) = export(&state, query, "pprof").await?;
    let headers = [(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\"")];
    Ok((headers, bytes).into_response())
}

/// What there is for pprof
#[utoipa::path(get, path = "/debug/pprof/", tag = "pprof", responses(
    (status = 200, description = "A list", body = String, content_type = "text/plain; charset=utf-8"),
    Refusals,
))]
pub(super) async fn index() -> Response {
    let text = "profile    CPU time and waits of what is selected; ?seconds=N says how long\n\
                cmdline    the daemon's own command line\n";
    ([(CONTENT_TYPE, TEXT)], text).into_response()
}

/// The daemon's own command line, arguments separated by NUL
#[utoipa::path(get, path = "/debug/pprof/cmdline", tag = "pprof", responses(
    (status = 200, description = "The arguments", body = String, content_type = "text/plain; charset=utf-8"),
    Refusals,
))]
pub(super) async fn cmdline() -> Response {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    ([(CONTENT_TYPE, TEXT)], arguments.join("\0")).into_response()
}
