//! Breakdown and hotspots.

use axum::extract::State;
use axum::response::Response;

use super::super::document::{BreakdownParams, HotspotParams, ReportRefusals};
use super::super::error::ApiError;
use super::super::negotiation::Form;
use super::super::query::Pairs;
use super::AppState;
use crate::profile::Profile;
use crate::report::asked::{breakdown_query, hotspot_query};
use crate::report::{Breakdown, BreakdownQuery, HotspotQuery, Hotspots};
use crate::settings::parameter::{BREAKDOWN, HOTSPOTS};

/// Where the time of each process went, exactly
///
/// Per process: on a CPU, waiting for one, throttled, stolen, and blocked by reason. The states sum up to the wall time
/// of all threads.
#[utoipa::path(get, path = "/api/v1/breakdown", tag = "reports", params(BreakdownParams), responses(
    (status = 200, description = "One row per process", content(
        (Breakdown = "application/json"), (String = "text/plain; charset=utf-8"))),
    ReportRefusals,
))]
pub(super) async fn breakdown(
    State(state): State<AppState>,
    form: Form,
    mut pairs: Pairs,
) -> Result<Response, ApiError> {
    pairs.take_format()?;
    let query = pairs.report(BREAKDOWN)?;
    let asked = breakdown_query(&query)?;
    let filter = asked.filter.clone();
    let report =
        move |profile: &Profile, filter| Ok(crate::report::breakdown(profile, &BreakdownQuery { filter, ..asked }));
    let answer = state.report(query, filter, report).await?;
    Ok(form.answer(&answer, || answer.text()))
}

/// Which functions, lines, files, threads or processes the time went to, or what was waited for
///
/// Estimates from samples, tied to the exact totals; each row states its standard error.
#[utoipa::path(get, path = "/api/v1/hotspots", tag = "reports", params(HotspotParams), responses(
    (status = 200, description = "One row per function, line, file, thread, process or wait", content(
        (Hotspots = "application/json"), (String = "text/plain; charset=utf-8"))),
    ReportRefusals,
))]
pub(super) async fn hotspots(
    State(state): State<AppState>,
    form: Form,
    mut pairs: Pairs,
) -> Result<Response, ApiError> {
    pairs.take_format()?;
    let query = pairs.report(HOTSPOTS)?;
    let asked = hotspot_query(&query)?;
    let filter = asked.filter.clone();
    let report =
        move |profile: &Profile, filter| Ok(crate::report::hotspots(profile, &HotspotQuery { filter, ..asked }));
    let answer = state.report(query, filter, report).await?;
    Ok(form.answer(&answer, || answer.text()))
}
