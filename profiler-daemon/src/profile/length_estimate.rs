//! How long waits were that were captured: each capture counts for as many as it stands for.
//!
//! A wait of at least T is captured always and stands for itself; a shorter one of length *d* for T / *d*. So what is told of
//! short waits is an estimate.

use profiler_common::wait_lengths::bucket;

/// The captured waits behind a sample, by powers of two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LengthEstimate {
    /// How many, by [`bucket`], in its order; only those that have any.
    counts: Vec<(u8, f64)>,
    /// The longest that was captured.
    pub longest_ns: u64,
}

impl LengthEstimate {
    /// One capture that stands for `count` waits of this length.
    pub fn of(length_ns: u64, count: f64) -> Self {
        let mut one = Self::default();
        one.add_capture(length_ns, count);
        one
    }

    /// Adds one capture that stands for `count` waits of this length. Allocates only for the first of its power of two.
    pub fn add_capture(&mut self, length_ns: u64, count: f64) {
        self.add_count(bucket(length_ns) as u8, count);
        self.longest_ns = self.longest_ns.max(length_ns);
    }

    /// Adds the waits of `other`.
    pub fn add(&mut self, other: &Self) {
        other.counts.iter().for_each(|(bucket, count)| self.add_count(*bucket, *count));
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    fn add_count(&mut self, bucket: u8, count: f64) {
        match self.counts.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.counts[at].1 += count,
            Err(at) => self.counts.insert(at, (bucket, count)),
        }
    }

    /// How many waits there are in each bucket that has any.
    pub fn counts(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.counts.iter().map(|(bucket, count)| (usize::from(*bucket), *count))
    }

    /// The memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<(u8, f64)>()
    }

    /// Adds what there is of `other` to what there is.
    pub fn merge(into: &mut Option<Box<Self>>, other: Option<&Self>) {
        match (into, other) {
            (_, None) => {}
            (Some(known), Some(other)) => known.add(other),
            (into, Some(other)) => *into = Some(Box::new(other.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_of_one_power_of_two_are_one_entry_and_the_longest_is_kept() {
        let mut all = None;
        for (length_ns, count) in [(5_000, 200.0), (20_000_000, 1.0), (4_500, 100.0)] {
            LengthEstimate::merge(&mut all, Some(&LengthEstimate::of(length_ns, count)));
        }
        LengthEstimate::merge(&mut all, None);
        let all = all.unwrap();
        let counts: Vec<(usize, f64)> = all.counts().collect();
        assert_eq!(counts, [(bucket(5_000), 300.0), (bucket(20_000_000), 1.0)]);
        assert_eq!(all.longest_ns, 20_000_000);
    }
}
