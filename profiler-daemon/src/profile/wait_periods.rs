//! By which T the waits of a window were chosen: each CPU sets its own, and changes it.

/// The range of T. Zero to zero if no wait was chosen by any, or each was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitPeriods {
    /// The shortest.
    pub least_ns: u64,
    /// The longest: waits at least this long were captured for certain, or refused.
    pub most_ns: u64,
}

impl WaitPeriods {
    /// A single one.
    pub fn of(period_ns: u64) -> Self {
        Self { least_ns: period_ns, most_ns: period_ns }
    }

    /// The smallest range that covers both.
    pub fn cover(self, other: Self) -> Self {
        if self == Self::default() {
            return other;
        }
        if other == Self::default() {
            return self;
        }
        Self { least_ns: self.least_ns.min(other.least_ns), most_ns: self.most_ns.max(other.most_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_covered_and_none_counts_for_nothing() {
        let both = WaitPeriods::of(5).cover(WaitPeriods::of(9)).cover(WaitPeriods::of(7));
        assert_eq!(both, WaitPeriods { least_ns: 5, most_ns: 9 });
        assert_eq!(both.cover(WaitPeriods::default()), both);
        assert_eq!(WaitPeriods::default().cover(both), both);
    }
}
