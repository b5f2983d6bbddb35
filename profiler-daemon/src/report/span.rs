//! The range of time a report covers, as RFC 3339 text.

use serde::Serialize;
use utoipa::ToSchema;

use crate::profile::{TimeRange, Timestamp};

/// The time a report really covers: ranges asked for are rounded outward to windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Span {
    /// The first moment covered, in RFC 3339.
    #[schema(example = "2026-01-31T12:00:00Z", format = DateTime)]
    pub from: String,
    /// The first moment no longer covered, in RFC 3339.
    #[schema(example = "2026-01-31T12:01:00Z", format = DateTime)]
    pub to: String,
    /// The length in nanoseconds.
    pub duration_ns: u64,
}

impl From<TimeRange> for Span {
    fn from(range: TimeRange) -> Self {
        Self { from: rfc3339(range.from), to: rfc3339(range.to), duration_ns: range.duration_ns() }
    }
}

/// A moment as RFC 3339 in UTC, with as many decimals as it needs.
pub fn rfc3339(moment: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(moment.0)) {
        Ok(time) => time.to_string(),
        Err(_) => jiff::Timestamp::MAX.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_back_as_what_they_were() {
        for ns in [0, 1_700_000_000_123_456_789, u64::MAX] {
            let text = rfc3339(Timestamp(ns));
            assert_eq!(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond(), i128::from(ns), "{text}");
        }
    }
}
