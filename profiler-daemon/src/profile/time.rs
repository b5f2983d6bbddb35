//! Wall-clock time in nanoseconds since the Unix epoch.

/// A moment, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

/// A half-open range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TimeRange {
    /// The first moment covered.
    pub from: Timestamp,
    /// The first moment no longer covered.
    pub to: Timestamp,
}

impl TimeRange {
    /// The length in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// The smallest range that covers both; an empty range counts for nothing.
    pub fn cover(self, other: Self) -> Self {
        if self.duration_ns() == 0 {
            return other;
        }
        if other.duration_ns() == 0 {
            return self;
        }
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// Whether the two ranges share a moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}
