//! Breakdown and hotspots: pure functions of a profile and a query.
//!
//! In comes a [`crate::profile::Profile`]; [`calibrate()`] ties its samples to the exact totals, [`Filter`] narrows it,
//! and [`breakdown()`] and [`hotspots()`] sum it up. Out come values that serialize to the JSON contract and print as text.
//! Nothing here does IO. Names and paths stay as they were read; text output escapes them.

pub mod amounts;
pub mod asked;
pub mod attribute;
mod awaits;
pub mod breakdown;
pub mod calibrate;
pub mod cpu_leaf;
pub mod escape;
pub mod filter;
pub mod hotspots;
pub mod span;
pub mod table;
pub mod threads;
mod wait_details;
pub mod wait_lengths;
pub mod wait_period;
pub mod wakers;

pub use amounts::{Amounts, CpuNs, WaitNs};
pub use attribute::AttributionRule;
pub use awaits::AwaitSummary;
pub use breakdown::{Breakdown, BreakdownQuery, BreakdownRow, BreakdownSort, breakdown};
pub use calibrate::{Calibrated, Entry, calibrate};
pub use cpu_leaf::CpuLeafNs;
pub use escape::escape_untrusted;
pub use filter::{Filter, Named, PathGlob, StateSet};
pub use hotspots::{HotspotQuery, HotspotRow, HotspotSort, Hotspots, RowKind, hotspots, title};
pub use span::Span;
pub use wait_lengths::{WaitLengthStats, WaitLengthsByClass, wait_lengths};
pub use wait_period::WaitPeriod;
pub use wakers::WokenBy;

/// Why a query for a report could not be understood. Each message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// A word that is none of the allowed ones.
    #[error("`{value}` is not a value of `{parameter}`; write {allowed}")]
    UnknownWord {
        /// The name of the query parameter.
        parameter: &'static str,
        /// What was written, escaped.
        value: String,
        /// The words that are understood.
        allowed: String,
    },
    /// A pattern for paths that cannot be compiled.
    #[error("`{pattern}` is not a path pattern: {problem}; write for example `/app/**/*.py`")]
    BadPattern {
        /// What was written, escaped.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ReportError {
    fn unknown_word(parameter: &'static str, value: &str, allowed: impl Into<String>) -> Self {
        Self::UnknownWord { parameter, value: escape_untrusted(value).into_owned(), allowed: allowed.into() }
    }
}
