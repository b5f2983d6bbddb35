//! The query of a request, as pairs, and what they mean.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};

use super::error::ApiError;
use crate::pipeline::{Daemon, DaemonError, QueryRange};
use crate::profile::Profile;
use crate::report::Filter;
use crate::settings::{ReportQuery, Selector, SettingsError, TimeChoice};

/// The decoded `name=value` pairs of a query, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The pairs of the address; none if it has no query.
    pub fn of(uri: &Uri) -> Self {
        Query::try_from_uri(uri).map(|Query(pairs)| Self(pairs)).unwrap_or_default()
    }

    /// The first value of the name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Takes the pair of the name out; an error if there are several.
    pub fn take(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        match self.value(name) {
            Some(_) => Err(SettingsError::Repeated { name }.into()),
            None => Ok(Some(value)),
        }
    }

    /// Takes `format` out and checks it; what it means was settled before.
    pub fn take_format(&mut self) -> Result<(), ApiError> {
        match self.take("format")?.as_deref() {
            None | Some("json" | "text") => Ok(()),
            Some(other) => {
                let message = format!("format `{}` is not valid: write json or text", other.escape_debug());
                Err(ApiError::new(StatusCode::BAD_REQUEST, message))
            }
        }
    }

    /// The report the remaining pairs ask for.
    pub fn report(&self, known: &[&'static str]) -> Result<ReportQuery, ApiError> {
        let pairs = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(ReportQuery::parse(pairs, known)?)
    }

    /// Refuses what is left.
    pub fn end(&self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!("unknown parameter `{}`; known is format", name.escape_debug());
                Err(ApiError::new(StatusCode::BAD_REQUEST, message))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Pairs {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.uri))
    }
}

/// The range as the daemon takes it.
pub fn query_range(time: TimeChoice) -> QueryRange {
    match time {
        TimeChoice::Last(duration) => QueryRange::Last(duration),
        TimeChoice::Between(range) => QueryRange::Between(range),
    }
}

/// The profile of the time asked for; narrows the filter to the processes that the query's selectors mean now.
///
/// If only processes are asked for that were not profiled then, the error says why.
pub fn selected_profile(
    daemon: &dyn Daemon,
    query: &ReportQuery,
    filter: &mut Filter,
    process_exists: impl Fn(u32) -> bool,
) -> Result<Profile, ApiError> {
    let profile = match daemon.profile(query_range(query.time)) {
        Err(error) if !matches!(error, DaemonError::NoHistory(_)) => return Err(error.into()),
        profile => profile,
    };
    let selected: BTreeSet<u32> = daemon.processes()?.iter().map(|process| process.pid).collect();
    let known = |pids: &BTreeSet<u32>| {
        let profiled = |profile: &Profile| profile.tasks.iter().any(|task| pids.contains(&task.process.pid));
        profile.as_ref().is_ok_and(profiled) || !selected.is_disjoint(pids)
    };
    if let Some(pid) = query.pid.filter(|pid| !known(&[*pid].into())) {
        let missing = if process_exists(pid) { DaemonError::NotSelected } else { DaemonError::NoSuchProcess };
        return Err(missing(pid).into());
    }
    if let Some(first) = query.selectors.first() {
        let pids = selected_pids(daemon, query)?;
        if !known(&pids) {
            return Err(DaemonError::NothingSelected(printable(first)).into());
        }
        filter.pids = Some(pids);
    }
    Ok(profile?)
}

/// The processes alive now that the query's pid and all of its selectors mean: at least one.
fn selected_pids(daemon: &dyn Daemon, query: &ReportQuery) -> Result<BTreeSet<u32>, DaemonError> {
    let mut pids = query.pid.map(|pid| BTreeSet::from([pid]));
    for selector in &query.selectors {
        let mut found = daemon.resolve(selector)?;
        found.retain(|pid| pids.as_ref().is_none_or(|pids| pids.contains(pid)));
        pids = Some(found);
    }
    let asked = query.pid.map(Selector::Pid).into_iter().chain(query.selectors.iter().cloned());
    let all = || asked.map(|selector| printable(&selector)).collect::<Vec<_>>().join(" and ");
    pids.filter(|pids| !pids.is_empty()).ok_or_else(|| DaemonError::NothingMatches(all()))
}

fn printable(selector: &Selector) -> String {
    selector.to_string().escape_debug().to_string()
}
