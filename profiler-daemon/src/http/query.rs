//! The query of a request, as pairs, and what they mean.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};

use super::error::ApiError;
use crate::pipeline::{Daemon, DaemonError, QueryRange};
use crate::profile::Profile;
use crate::report::Filter;
use crate::report::asked::filter;
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
pub fn selected_profile(daemon: &dyn Daemon, query: &ReportQuery, filter: &mut Filter) -> Result<Profile, ApiError> {
    let profile = match daemon.profile(query_range(query.time)) {
        Err(error) if !matches!(error, DaemonError::NoHistory(_)) => return Err(error.into()),
        profile => profile,
    };
    let alive = narrow(daemon, query, filter)?;
    let profiled = |profile: &Profile| profile.tasks.iter().any(|task| filter.selects_process(task));
    if !profile.as_ref().is_ok_and(profiled) {
        check_selected(daemon, query, alive)?;
    }
    Ok(profile?)
}

/// Refuses a question about the time to come if it could have no answer.
pub fn check_answerable(daemon: &dyn Daemon, query: &ReportQuery) -> Result<(), ApiError> {
    let alive = narrow(daemon, query, &mut filter(query)?)?;
    Ok(check_selected(daemon, query, alive)?)
}

/// Narrows the filter to the processes that each selector means now. Returns those that the query's pid and all selectors
/// mean; `None` if it has neither.
fn narrow(daemon: &dyn Daemon, query: &ReportQuery, filter: &mut Filter) -> Result<Option<BTreeSet<u32>>, DaemonError> {
    let mut alive = filter.pids.clone();
    for selector in &query.selectors {
        let found = daemon.resolve(selector)?;
        retain(&mut alive, &found);
        match &mut filter.comm {
            Some(named) if matches!(selector, Selector::Comm(_)) => named.pids = found,
            _ => retain(&mut filter.pids, &found),
        }
    }
    Ok(alive)
}

fn retain(pids: &mut Option<BTreeSet<u32>>, found: &BTreeSet<u32>) {
    let kept = pids.take().map_or_else(|| found.clone(), |pids| &pids & found);
    *pids = Some(kept);
}

/// Whether one of the processes asked for, of which `alive` are those alive now, is selected; else says why not.
fn check_selected(daemon: &dyn Daemon, query: &ReportQuery, alive: Option<BTreeSet<u32>>) -> Result<(), DaemonError> {
    let Some(alive) = alive else { return Ok(()) };
    let selected: BTreeSet<u32> = daemon.processes()?.iter().map(|process| process.pid).collect();
    if let Some(pid) = query.pid.filter(|pid| !selected.contains(pid)) {
        daemon.resolve(&Selector::Pid(pid))?;
        return Err(DaemonError::NotSelected(pid));
    }
    if alive.is_empty() {
        let asked = query.pid.map(Selector::Pid).into_iter().chain(query.selectors.iter().cloned());
        let all: Vec<_> = asked.map(|selector| printable(&selector)).collect();
        return Err(DaemonError::NothingMatches(all.join(" and ")));
    }
    match query.selectors.first() {
        Some(first) if selected.is_disjoint(&alive) => Err(DaemonError::NothingSelected(printable(first))),
        _ => Ok(()),
    }
}

fn printable(selector: &Selector) -> String {
    selector.to_string().escape_debug().to_string()
}
