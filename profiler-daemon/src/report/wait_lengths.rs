//! How long single waits were: count, longest, and percentiles, for each class.
//!
//! Counts are exact and by powers of two; a percentile is interpolated within its bucket, as if the waits in it were spread
//! evenly. It is at most a factor of two off, and much less where waits scatter. The class is what the kernel knows: waits that
//! their frames tell to be of another one are counted here under the first.

use std::collections::BTreeMap;

use profiler_common::wait_lengths::{BUCKETS, end_ns, least_ns};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::profile::{LengthCounts, LengthEstimate, Profile, WaitClass};

/// Waits that ended: of one class, which were counted, or of one row, for which captures stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct WaitLengthStats {
    /// How many. Exact for a class; of a row an estimate.
    pub count: u64,
    /// The longest that is known.
    pub longest_ns: u64,
    /// Half of them were no longer. Interpolated.
    pub p50_ns: u64,
    /// Nine of ten were no longer. Interpolated.
    pub p90_ns: u64,
    /// 99 of a hundred were no longer. Interpolated.
    pub p99_ns: u64,
}

/// Waits of any number of tasks, by class; serialized as [`WaitLengthStats`] of the classes that have any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WaitLengthsByClass {
    classes: BTreeMap<&'static str, Histogram>,
}

/// Waits by powers of two; whole numbers where they were counted, and not where captures stand for them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Histogram {
    counts: [f64; BUCKETS],
    longest_ns: u64,
}

/// How long the waits were of the tasks of a profile, by their index, that `selects`.
pub fn wait_lengths(profile: &Profile, selects: impl Fn(u32) -> bool) -> WaitLengthsByClass {
    let mut lengths = WaitLengthsByClass::default();
    for waits in profile.wait_lengths.iter().filter(|waits| selects(waits.task)) {
        lengths.add(waits.class, &waits.lengths);
    }
    lengths
}

impl WaitLengthsByClass {
    /// Adds waits of a class.
    pub fn add(&mut self, class: WaitClass, lengths: &LengthCounts) {
        let histogram = self.classes.entry(class.name()).or_default();
        histogram.counts.iter_mut().zip(lengths.counts).for_each(|(count, more)| *count += f64::from(more));
        histogram.longest_ns = histogram.longest_ns.max(lengths.longest_ns);
    }

    /// Adds all waits of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (class, more) in &other.classes {
            let histogram = self.classes.entry(class).or_default();
            histogram.counts.iter_mut().zip(more.counts).for_each(|(count, more)| *count += more);
            histogram.longest_ns = histogram.longest_ns.max(more.longest_ns);
        }
    }

    /// By the name of the class; only those that have waits.
    pub fn stats(&self) -> BTreeMap<&'static str, WaitLengthStats> {
        self.classes.iter().map(|(class, histogram)| (*class, histogram.stats())).collect()
    }
}

impl Serialize for WaitLengthsByClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stats().serialize(serializer)
    }
}

impl Histogram {
    /// Adds the waits for which captures stand.
    pub(super) fn add(&mut self, estimate: &LengthEstimate) {
        estimate.counts().for_each(|(bucket, count)| self.counts[bucket] += count);
        self.longest_ns = self.longest_ns.max(estimate.longest_ns);
    }

    /// What is told of them; `None` if there are none.
    pub(super) fn told(&self) -> Option<WaitLengthStats> {
        (self.longest_ns > 0).then(|| self.stats())
    }

    fn stats(&self) -> WaitLengthStats {
        let count: f64 = self.counts.iter().sum();
        let [p50_ns, p90_ns, p99_ns] = [0.5, 0.9, 0.99].map(|part| self.percentile_ns(part * count));
        let count = count.round() as u64;
        WaitLengthStats { count, longest_ns: self.longest_ns, p50_ns, p90_ns, p99_ns }
    }

    /// The length that `rank` waits do not exceed.
    fn percentile_ns(&self, rank: f64) -> u64 {
        let mut below = 0.0;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let (least, end) = (least_ns(bucket), end_ns(bucket).min(self.longest_ns).max(least_ns(bucket)));
            let part = (rank - below) / count;
            if part <= 1.0 {
                return least + ((end - least) as f64 * part.max(0.0)) as u64;
            }
            below += count;
        }
        self.longest_ns
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::wait_lengths::bucket;

    use super::*;

    fn stats(waits: impl Iterator<Item = u64>) -> WaitLengthStats {
        let mut lengths = WaitLengthsByClass::default();
        for ns in waits {
            let mut counts = LengthCounts { longest_ns: ns, ..LengthCounts::default() };
            counts.counts[bucket(ns)] = 1;
            lengths.add(WaitClass::Net, &counts);
        }
        lengths.stats()["net"]
    }

    #[test]
    fn percentiles_are_interpolated_within_a_power_of_two() {
        let even = stats((1..=100_000).map(|us| us * 1000));
        assert_eq!((even.count, even.longest_ns), (100_000, 100_000_000));
        for (told, exact) in [(even.p50_ns, 50e6), (even.p90_ns, 90e6), (even.p99_ns, 99e6)] {
            assert!((told as f64 / exact - 1.0).abs() < 0.02, "{told} for {exact}");
        }
    }

    #[test]
    fn no_percentile_exceeds_the_longest_and_two_lengths_are_told_apart() {
        let same = stats([70_000; 50].into_iter());
        assert!((65_536..=70_000).contains(&same.p50_ns) && same.p99_ns <= 70_000, "{same:?}");
        let two = stats([2_000; 95].into_iter().chain([900_000_000; 5]));
        assert!(two.p90_ns < 2_048 && two.p99_ns > 500_000_000 && two.longest_ns == 900_000_000, "{two:?}");
        let one = stats([20_000_000_000].into_iter());
        assert!(one.p50_ns > 17_000_000_000 && one.p99_ns <= 20_000_000_000, "{one:?}");
    }
}
