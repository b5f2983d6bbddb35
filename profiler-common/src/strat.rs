//! STRAT: which waits get their stack captured, decided when the wait ends, by its length alone.
//!
//! Waits of at least T are always chosen. Shorter ones are laid end to end on the thread's own off-CPU time axis; the
//! axis is cut into bins of T, and each bin holds one uniformly random point. The wait that covers the point is chosen,
//! with weight T. Every nanosecond of waiting has the same chance to be represented, so the estimate is unbiased for any
//! set of stacks, and periodic waits cannot resonate with the bins.
//!
//! T may differ from wait to wait, as each CPU sets its own and changes it, as long as it does not depend on the points or on the
//! wait under decision. The bin in progress keeps its length and its point, a shorter one included; one of more than twice T is
//! abandoned. As the point plays no part in that, what was laid in the bin before has been represented as it should.

/// What becomes of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The thread-nanoseconds its stack stands for; zero if it is not chosen.
    pub weight_ns: u64,
    /// The T by which it was chosen: that of the bins it lies in. A wait that is as long was certain to be chosen.
    pub period_ns: u64,
}

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
    /// What becomes of a wait of `duration_ns`.
    ///
    /// `period_ns` is T. Zero chooses every wait with its own length. `random(bound)` must return a uniform number below `bound`.
    #[inline(always)]
    pub fn sample(&mut self, duration_ns: u64, period_ns: u64, mut random: impl FnMut(u64) -> u64) -> Choice {
        if duration_ns >= period_ns {
            return Choice { weight_ns: duration_ns, period_ns };
        }
        if self.bin_ns == 0 || self.bin_ns > 2 * period_ns {
            self.start_bin(period_ns, &mut random);
        }
        let longest_ns = if self.bin_ns > period_ns { self.bin_ns } else { period_ns };
        Choice { weight_ns: self.lay(duration_ns, period_ns, random), period_ns: longest_ns }
    }

    /// Lays a wait shorter than T behind the others. It reaches into one further bin at most, which is as long as T.
    #[inline(always)]
    fn lay(&mut self, duration_ns: u64, period_ns: u64, mut random: impl FnMut(u64) -> u64) -> u64 {
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
        assert_eq!(strat.sample(10, 10, |_| 0), Choice { weight_ns: 10, period_ns: 10 });
        assert_eq!(strat.sample(17, 10, |_| 0), Choice { weight_ns: 17, period_ns: 10 });
    }

    #[test]
    fn each_bin_is_charged_to_the_wait_that_covers_its_point() {
        let mut strat = Strat::default();
        let weights: Vec<u64> = [4, 4, 4, 4].iter().map(|d| strat.sample(*d, 10, |_| 5).weight_ns).collect();
        assert_eq!(weights, [0, 10, 0, 10]);
    }

    #[test]
    fn a_wait_that_covers_the_points_of_two_bins_is_charged_both() {
        let mut strat = Strat::default();
        let mut points = [9, 0].into_iter();
        let mut random = |_| points.next().unwrap();
        assert_eq!(strat.sample(8, 10, &mut random).weight_ns, 0);
        assert_eq!(strat.sample(4, 10, &mut random).weight_ns, 20);
    }

    #[test]
    fn a_period_of_zero_captures_every_wait() {
        let mut strat = Strat::default();
        assert_eq!(strat.sample(1, 0, |_| 0).weight_ns, 1);
        assert_eq!(strat.sample(0, 0, |_| 0).weight_ns, 0);
    }

    #[test]
    fn a_bin_in_progress_keeps_its_length_and_the_next_has_the_new_one() {
        let mut strat = Strat::default();
        strat.sample(18, 20, |_| 0);
        assert_eq!(strat.sample(9, 10, |_| 3), Choice { weight_ns: 10, period_ns: 20 });
        assert_eq!((strat.position_ns, strat.bin_ns), (7, 10));
        assert_eq!(strat.sample(50, 100, |_| 46), Choice { weight_ns: 100, period_ns: 100 });
        assert_eq!((strat.position_ns, strat.bin_ns), (47, 100));
    }

    #[test]
    fn a_bin_of_more_than_twice_the_period_is_abandoned() {
        let mut strat = Strat::default();
        assert_eq!(strat.sample(9, 100, |_| 50).weight_ns, 0);
        assert_eq!(strat.sample(9, 10, |_| 8), Choice { weight_ns: 10, period_ns: 10 });
        assert_eq!((strat.position_ns, strat.bin_ns), (9, 10));
    }
}
