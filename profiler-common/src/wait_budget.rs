//! How many waits get a stack: each CPU sets its own T, so that its captures stay near a budget.
//!
//! A wait of length d is captured with chance min(1, d/T). So the waits that end within a slice of time lead to as many
//! captures as the sum of min(d, T), divided by T: what is *to be expected* of them, whichever of them are then captured. At the
//! end of a slice T grows or shrinks in the proportion of that to the budget, by a factor between 0.7 and 4.
//!
//! T follows from the lengths of waits that have ended, and from nothing else: not from the wait under decision, and not from
//! the random points of [`crate::strat`]. Whatever T does, every wait still stands for its own length on average.
//!
//! What comes in a burst before T has grown is bounded by two caps, each twice the budget of a slice: one for waits of at least
//! T, one for shorter ones. Thousands of threads that wake at once do not take the captures of the others.

use crate::limits::BUDGET_SLICE_NS;

/// How many slices a second has.
const SLICES_PER_SECOND: u64 = 1_000_000_000 / BUDGET_SLICE_NS;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitBudget {
    /// Captures per second of one CPU.
    pub captures_hz: u64,
    /// T before anything is known.
    pub start_ns: u64,
    /// The shortest T.
    pub least_ns: u64,
    /// The longest T; if it is the shortest, too, T does not change.
    pub most_ns: u64,
}

impl WaitBudget {
    /// The most captures of one kind in a slice.
    #[inline(always)]
    fn cap(&self) -> u64 {
        let cap = 2 * self.captures_hz / SLICES_PER_SECOND;
        if cap == 0 { 1 } else { cap }
    }
}

/// The books of one CPU. All zero is a valid start.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct CpuBudget {
    /// When the slice ends, on the monotonic clock; zero before the first.
    slice_ends_ns: u64,
    /// T in this slice.
    period_ns: u64,
    /// The sum of min(d, T) over the waits that ended in this slice.
    demand_ns: u64,
    /// Captures in this slice of waits of at least T.
    certain: u32,
    /// Captures in this slice of shorter waits.
    short: u32,
}

impl CpuBudget {
    /// T for a wait that ends at `now_ns`.
    #[inline(always)]
    pub fn period(&mut self, now_ns: u64, budget: &WaitBudget) -> u64 {
        if now_ns >= self.slice_ends_ns {
            self.begin_slice(now_ns, budget);
        }
        self.period_ns
    }

    /// T at `now_ns`, as seen from outside; `None` if no wait has ended on this CPU.
    pub fn period_at(mut self, now_ns: u64, budget: &WaitBudget) -> Option<u64> {
        (self.slice_ends_ns != 0).then(|| self.period(now_ns, budget))
    }

    /// Counts a wait, after its [`Self::period`] was asked for.
    #[inline(always)]
    pub fn add_wait(&mut self, duration_ns: u64) {
        self.demand_ns += if duration_ns < self.period_ns { duration_ns } else { self.period_ns };
    }

    /// Whether one more wait may be captured in this slice.
    #[inline(always)]
    pub fn take(&mut self, is_certain: bool, budget: &WaitBudget) -> bool {
        let taken = if is_certain { &mut self.certain } else { &mut self.short };
        let is_within = u64::from(*taken) < budget.cap();
        *taken += u32::from(is_within);
        is_within
    }

    #[inline(always)]
    fn begin_slice(&mut self, now_ns: u64, budget: &WaitBudget) {
        let late_ns = now_ns - self.slice_ends_ns;
        self.period_ns = if self.slice_ends_ns == 0 {
            budget.start_ns
        } else {
            clamp(self.next_period(late_ns / BUDGET_SLICE_NS, budget), budget.least_ns, budget.most_ns)
        };
        self.slice_ends_ns = now_ns - late_ns % BUDGET_SLICE_NS + BUDGET_SLICE_NS;
        self.demand_ns = 0;
        self.certain = 0;
        self.short = 0;
    }

    /// T after this slice and `empty` further ones, in which no wait ended.
    #[inline(always)]
    fn next_period(&self, empty: u64, budget: &WaitBudget) -> u64 {
        // T times the expected captures over the budget; T cancels out.
        let wanted = (self.demand_ns * SLICES_PER_SECOND).checked_div(budget.captures_hz).unwrap_or(u64::MAX);
        let next = clamp(wanted, shrink(self.period_ns), self.period_ns * 4);
        let next = if empty & 1 == 1 { shrink(next) } else { next };
        // Two slices shrink it to 0.49, which is a half.
        if empty < 128 { next >> (empty / 2) } else { 0 }
    }
}

#[inline(always)]
fn shrink(period_ns: u64) -> u64 {
    period_ns * 7 / 10
}

/// [`Ord::clamp`], inlined for the kernel half and without its panic.
#[inline(always)]
fn clamp(value: u64, least: u64, most: u64) -> u64 {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const BUDGET: WaitBudget = WaitBudget { captures_hz: 200, start_ns: 10 * MS, least_ns: MS, most_ns: 10_000 * MS };

    /// T after each of `slices`, in which so many waits of the same length end.
    fn periods(cpu: &mut CpuBudget, slices: &[(u64, u64)]) -> Vec<u64> {
        let from = cpu.slice_ends_ns;
        let slices = slices.iter().zip(1..);
        let after = slices.map(|((waits, duration_ns), slice)| {
            (0..*waits).for_each(|_| cpu.add_wait(*duration_ns));
            cpu.period(from + slice * BUDGET_SLICE_NS - 1, &BUDGET)
        });
        after.collect()
    }

    fn started() -> CpuBudget {
        let mut cpu = CpuBudget::default();
        assert_eq!(cpu.period(5 * BUDGET_SLICE_NS, &BUDGET), 10 * MS);
        cpu
    }

    #[test]
    fn as_many_captures_as_the_budget_keep_the_period() {
        assert_eq!(periods(&mut started(), &[(20, 20 * MS); 3]), [10 * MS; 3]);
        assert_eq!(periods(&mut started(), &[(10_000, 20_000); 3]), [10 * MS; 3]);
    }

    #[test]
    fn more_captures_lengthen_it_at_most_fourfold_and_fewer_shorten_it_to_seven_tenths_at_least() {
        assert_eq!(periods(&mut started(), &[(30, 20 * MS)]), [15 * MS]);
        assert_eq!(periods(&mut started(), &[(1000, 20 * MS)]), [40 * MS]);
        assert_eq!(periods(&mut started(), &[(18, 20 * MS)]), [9 * MS]);
        assert_eq!(periods(&mut started(), &[(0, 0), (0, 0)]), [7 * MS, 4_900_000]);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let up = periods(&mut started(), &[(100_000, 1000 * MS); 8]);
        assert_eq!(up.last(), Some(&(10_000 * MS)));
        assert_eq!(periods(&mut started(), &[(0, 0); 8]).last(), Some(&MS));
        let fixed = WaitBudget { least_ns: 10 * MS, most_ns: 10 * MS, ..BUDGET };
        let mut cpu = started();
        (0..1000).for_each(|_| cpu.add_wait(MS));
        assert_eq!(cpu.period(8 * BUDGET_SLICE_NS, &fixed), 10 * MS);
    }

    #[test]
    fn slices_without_waits_shorten_it_as_well() {
        let mut cpu = started();
        assert_eq!(cpu.period_at(8 * BUDGET_SLICE_NS, &BUDGET), Some(3_500_000));
        assert_eq!(cpu.period(6000 * BUDGET_SLICE_NS, &BUDGET), MS);
        assert_eq!(CpuBudget::default().period_at(5, &BUDGET), None);
    }

    #[test]
    fn each_kind_of_wait_has_twice_the_budget_of_a_slice() {
        let mut cpu = started();
        let taken = |cpu: &mut CpuBudget, is_certain| (0..1000).filter(|_| cpu.take(is_certain, &BUDGET)).count();
        assert_eq!((taken(&mut cpu, true), taken(&mut cpu, false)), (40, 40));
        cpu.period(6 * BUDGET_SLICE_NS, &BUDGET);
        assert_eq!(taken(&mut cpu, true), 40);
        let one = WaitBudget { captures_hz: 1, ..BUDGET };
        assert!(CpuBudget::default().take(true, &one));
    }
}
