//! Profiles in the formats other tools read.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::super::document::{ProfileParams, ReportRefusals};
use super::super::error::ApiError;
use super::super::query::Pairs;
use super::AppState;
use crate::export::{ExportOptions, format_by_name};
use crate::profile::Profile;
use crate::report::asked::filter;
use crate::settings::ReportQuery;
use crate::settings::parameter::PROFILE;

/// A flame graph brings its own script to zoom and search. It may run, but it may reach nothing: names in it come from
/// profiled processes, and the page stands on the origin that takes control requests.
const FLAME_GRAPH_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Folded stacks, one per line, for flame graph tools
#[utoipa::path(get, path = "/api/v1/profile.folded", tag = "profiles", params(ProfileParams), responses(
    (status = 200, description = "`frame;frame;frame nanoseconds` lines", body = String,
        content_type = "text/plain; charset=utf-8"),
    ReportRefusals,
))]
pub(super) async fn folded(State(state): State<AppState>, pairs: Pairs) -> Result<Response, ApiError> {
    exported(state, pairs, "folded").await
}

/// A flame graph to open in a browser
#[utoipa::path(get, path = "/api/v1/profile.svg", tag = "profiles", params(ProfileParams), responses(
    (status = 200, description = "An interactive SVG", body = String, content_type = "image/svg+xml"),
    ReportRefusals,
))]
pub(super) async fn svg(State(state): State<AppState>, pairs: Pairs) -> Result<Response, ApiError> {
    let mut response = exported(state, pairs, "svg").await?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(FLAME_GRAPH_POLICY));
    Ok(response)
}

/// A profile for `go tool pprof`, Pyroscope and Parca
#[utoipa::path(get, path = "/api/v1/profile.pb.gz", tag = "profiles", params(ProfileParams), responses(
    (status = 200, description = "A gzipped profile.proto message", body = Vec<u8>,
        content_type = "application/octet-stream"),
    ReportRefusals,
))]
pub(super) async fn pprof(State(state): State<AppState>, pairs: Pairs) -> Result<Response, ApiError> {
    exported(state, pairs, "pprof").await
}

/// A profile for speedscope
#[utoipa::path(get, path = "/api/v1/profile.speedscope.json", tag = "profiles", params(ProfileParams), responses(
    (status = 200, description = "A file of speedscope's format", body = Object, content_type = "application/json"),
    ReportRefusals,
))]
pub(super) async fn speedscope(State(state): State<AppState>, pairs: Pairs) -> Result<Response, ApiError> {
    exported(state, pairs, "speedscope").await
}

async fn exported(state: AppState, pairs: Pairs, format: &'static str) -> Result<Response, ApiError> {
    let query = pairs.report(PROFILE)?;
    let (media_type, bytes) = export(&state, query, format).await?;
    Ok(([(CONTENT_TYPE, media_type)], bytes).into_response())
}

/// The profile the query asks for, in the format of the name: its media type and its bytes.
pub(super) async fn export(
    state: &AppState,
    query: ReportQuery,
    format: &'static str,
) -> Result<(&'static str, Vec<u8>), ApiError> {
    let filter = filter(&query)?;
    let format = format_by_name(format)?;
    let written = move |profile: &Profile, filter| {
        let mut bytes = Vec::new();
        crate::export::export(profile, &filter, format, &ExportOptions::default(), &mut bytes)?;
        Ok((format.media_type, bytes))
    };
    state.report(query, filter, written).await
}
