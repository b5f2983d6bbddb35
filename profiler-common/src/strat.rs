//! STRAT: which waits get their stack captured, decided when the wait ends, by its length alone.
//!
//! Waits of at least T are always chosen. Shorter ones are laid end to end on the thread's own off-CPU time axis; the
//! axis is cut into bins of T, and each bin holds one uniformly random point. The wait that covers the point is chosen,
//! with weight T. Every nanosecond of waiting has the same chance to be represented, so the estimate is unbiased for any
//! set of stacks, and periodic waits cannot resonate with the bins.

/// The position of one thread on its off-CPU time axis. All zero is a valid start.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Strat {
    /// How far into the current bin the waits so far reach.
    pub position_ns: u64,
    /// The random point of the current bin.
    pub point_ns: u64,
    /// The length of the current bin; zero before the first wait.
    pub bin_ns: u64,
}

impl Strat {
    /// The weight of a wait of `duration_ns`, or zero if it is not chosen.
    ///
    /// `period_ns` is T; it may change between calls and takes effect at the next bin. Zero chooses every wait with its own length.
    /// `random(bound)` must return a uniform number below `bound`.
    #[inline(always)]
    pub fn sample(&mut self, duration_ns: u64, period_ns: u64, mut random: impl FnMut(u64) -> u64) -> u64 {
        if duration_ns >= period_ns {
            return duration_ns;
        }
        if self.bin_ns == 0 {
            self.start_bin(period_ns, &mut random);
        }
        let end = self.position_ns + duration_ns;
        let mut weight = self.weight_between(self.position_ns, end);
        self.position_ns = end;
        if end >= self.bin_ns {
            let rest = end - self.bin_ns;
            self.start_bin(period_ns, &mut random);
            weight += self.weight_between(0, rest);
            self.position_ns = rest;
        }
        weight
    }

    #[inline(always)]
    fn start_bin(&mut self, period_ns: u64, random: &mut impl FnMut(u64) -> u64) {
        self.position_ns = 0;
        self.bin_ns = period_ns;
        self.point_ns = random(period_ns);
    }

    #[inline(always)]
    fn weight_between(&self, from: u64, to: u64) -> u64 {
        if from <= self.point_ns && self.point_ns < to { self.bin_ns } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_of_at_least_the_period_is_certain_and_keeps_its_length() {
        let mut strat = Strat::default();
        assert_eq!(strat.sample(10, 10, |_| 0), 10);
        assert_eq!(strat.sample(17, 10, |_| 0), 17);
    }

    #[test]
    fn each_bin_is_charged_to_the_wait_that_covers_its_point() {
        let mut strat = Strat::default();
        let weights: Vec<u64> = [4, 4, 4, 4].iter().map(|d| strat.sample(*d, 10, |_| 5)).collect();
        assert_eq!(weights, [0, 10, 0, 10]);
    }

    #[test]
    fn a_wait_that_covers_the_points_of_two_bins_is_charged_both() {
        let mut strat = Strat::default();
        let mut points = [9, 0].into_iter();
        let mut random = |_| points.next().unwrap();
        assert_eq!(strat.sample(8, 10, &mut random), 0);
        assert_eq!(strat.sample(4, 10, &mut random), 20);
    }

    #[test]
    fn a_period_of_zero_captures_every_wait() {
        let mut strat = Strat::default();
        assert_eq!(strat.sample(1, 0, |_| 0), 1);
        assert_eq!(strat.sample(0, 0, |_| 0), 0);
    }

    #[test]
    fn a_shorter_period_takes_effect_at_the_next_bin_without_leaving_the_axis() {
        let mut strat = Strat::default();
        strat.sample(99, 100, |_| 0);
        assert_eq!(strat.sample(9, 10, |_| 3), 10);
        assert_eq!((strat.position_ns, strat.bin_ns), (8, 10));
    }
}
