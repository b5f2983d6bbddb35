//! By which T waits were chosen for a stack, in answers and in words.

use serde::Serialize;
use utoipa::ToSchema;

use super::table::duration;
use crate::profile::WaitPeriods;

/// The range of T: the mean off-CPU time between two captured waits of one thread. Each CPU sets its own, and changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct WaitPeriod {
    /// The shortest.
    pub least_ns: u64,
    /// The longest: waits at least this long were captured for certain, or counted as refused.
    pub most_ns: u64,
}

impl From<WaitPeriods> for WaitPeriod {
    fn from(periods: WaitPeriods) -> Self {
        let WaitPeriods { least_ns, most_ns } = periods;
        Self { least_ns, most_ns }
    }
}

impl WaitPeriod {
    /// `10.0 ms`, or `1.00 ms to 10.0 ms`.
    pub fn in_words(self) -> String {
        if self.least_ns == self.most_ns {
            return duration(self.most_ns);
        }
        format!("{} to {}", duration(self.least_ns), duration(self.most_ns))
    }

    /// A line under a table; empty where no wait was sampled.
    pub(super) fn line(self) -> String {
        match self.most_ns {
            0 => String::new(),
            _ => format!("Waits were sampled every {}; longer ones are exact.\n", self.in_words()),
        }
    }
}
