//! How long waits were: how many of each power of two, and the longest.

use profiler_common::wait_lengths::{BUCKETS, least_ns};

use super::WaitClass;

/// The waits of one task for one reason that ended within a window.
///
/// A wait that ended in this window counts here whole, whenever it began. Queueing for a CPU is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitLengths {
    /// Index into [`super::Profile::tasks`].
    pub task: u32,
    /// The class by what the kernel knows; what frames tell beyond it is not in here.
    pub class: WaitClass,
    /// How long they were.
    pub lengths: LengthCounts,
}

/// Counts by [`profiler_common::wait_lengths::bucket`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LengthCounts {
    /// How many waits, by bucket. The most there can be is as good as more.
    pub counts: [u32; BUCKETS],
    /// The longest that is known: exact if it was captured, or was the longest of the thread so far.
    pub longest_ns: u64,
}

impl LengthCounts {
    /// Adds the waits of `other`.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// How many waits there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The shortest that the longest can have been, by the counts alone.
    pub fn least_longest_ns(&self) -> u64 {
        self.counts.iter().rposition(|count| *count > 0).map_or(0, least_ns)
    }
}
