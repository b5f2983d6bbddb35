//! Whole windows of a daemon, for which applications are asked as well: by the times in their own logs.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::books::Books;
use crate::daemon::Daemon;
use crate::program::poll_until;

/// What the daemon is started with, so that a span can be recorded.
pub const WINDOW: [&str; 2] = ["--window", "1s"];

const LATE: Duration = Duration::from_secs(60);

/// From the begin of a window to the end of another; seconds of the system's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The first moment.
    pub from: f64,
    /// The first moment no longer in it.
    pub to: f64,
    query: String,
}

impl Span {
    /// Lets this many windows of [`WINDOW`] pass, none of which has begun yet; returns when they and a later one are closed,
    /// which tells what waits at their end became.
    pub fn record(daemon: &Daemon, windows: u32) -> Result<Self> {
        let (begin, first) = (Timestamp::now(), daemon.windows()?);
        let wanted = first + u64::from(windows) + 4;
        poll_until(LATE, || Ok((daemon.windows()? >= wanted).then_some(())))?;
        // What is asked for is rounded outward: one moment within the first window and one within the last.
        let moment = |seconds: i64| begin.checked_add(jiff::SignedDuration::from_secs(seconds));
        let query = format!("from={}&to={}", moment(2)?, moment(i64::from(windows) + 1)?);
        let answer = daemon.json(&format!("/api/v1/breakdown?{query}"))?;
        let edge = |key: &str| parse_moment(&answer["window"][key]);
        Ok(Self { from: edge("from")?, to: edge("to")?, query })
    }

    /// The answer to a report of these windows.
    pub fn report(&self, daemon: &Daemon, report: &str, query: &str) -> Result<Value> {
        daemon.json(&format!("/api/v1/{report}?{}&limit=100000&{query}", self.query))
    }

    /// The books of one process in these windows.
    pub fn books(&self, daemon: &Daemon, pid: u32) -> Result<Books> {
        let rows = Books::parse_rows(&self.report(daemon, "breakdown", &format!("pid={pid}"))?)?;
        rows.into_iter().find(|row| row.pid == pid).with_context(|| format!("the breakdown has no row for {pid}"))
    }

    /// How long it is, in seconds.
    pub fn seconds(&self) -> f64 {
        self.to - self.from
    }

    /// The part of what began and ended at these moments that lies within, in seconds.
    pub fn overlap(&self, begin: f64, end: f64) -> f64 {
        (end.min(self.to) - begin.max(self.from)).max(0.0)
    }

    /// Whether the moment lies within.
    pub fn contains(&self, moment: f64) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

fn parse_moment(value: &Value) -> Result<f64> {
    let text = value.as_str().context("an answer has no window")?;
    let moment: Timestamp = text.parse().with_context(|| format!("`{text}` is no time"))?;
    Ok(moment.as_nanosecond() as f64 / 1e9)
}
