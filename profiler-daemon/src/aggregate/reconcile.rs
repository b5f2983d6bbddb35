//! What an account gained since it was last reported: never negative, and always exactly the time that passed.
//!
//! The kernel half counts what is in progress by the best knowledge at hand: a running thread's clock is up to a tick
//! old, and a wait in progress may turn out to have ended with queueing. When the truth comes in, one account can shrink
//! while another grows by more. The shrinkage is taken from what grew most, and what was reported is remembered, so that
//! the sums of all windows agree with the kernel's.

use profiler_common::record::{Totals, account};
use profiler_common::wait_class;

use crate::profile::TaskTotals;

/// The accounts that add up to wall time.
const ACCOUNTS: usize = account::SLOTS;

/// What was reported of one account so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Reported {
    times: [u64; ACCOUNTS],
    intervals: [u64; ACCOUNTS],
    idle_ns: u64,
    before_attach_ns: u64,
    unattributed_ns: u64,
    clamped: u64,
}

/// What an account gained.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Gain {
    /// The totals to report; `task` is not set.
    pub(super) totals: TaskTotals,
    /// Differences of run delay that had to be clamped.
    pub(super) clamped: u64,
}

impl Reported {
    /// Reports everything up to `now`.
    pub(super) fn advance(&mut self, now: &Totals) -> Gain {
        let gains = gained(&self.times, &now.times_ns);
        for (reported, gain) in self.times.iter_mut().zip(gains) {
            *reported += gain;
        }
        let mut totals = TaskTotals {
            cpu_ns: gains[account::slot(account::CPU)],
            steal_ns: gains[account::slot(account::STEAL)],
            runq_ns: gains[account::slot(account::RUNQ)],
            throttled_ns: gains[account::slot(account::THROTTLED)],
            idle_ns: take(&mut self.idle_ns, now.idle_ns),
            began_before_attach_ns: take(&mut self.before_attach_ns, now.before_attach_ns),
            unattributed_ns: take(&mut self.unattributed_ns, now.unattributed_ns),
            ..TaskTotals::default()
        };
        totals.wait_ns.copy_from_slice(&gains[..wait_class::COUNT]);
        for (class, count) in totals.waits.iter_mut().enumerate() {
            *count = take(&mut self.intervals[class], now.intervals[class]);
        }
        totals.idle_ns = totals.idle_ns.min(totals.blocked_ns());
        Gain { totals, clamped: take(&mut self.clamped, now.clamped) }
    }
}

fn gained(before: &[u64; ACCOUNTS], now: &[u64; ACCOUNTS]) -> [u64; ACCOUNTS] {
    let mut gains: [u64; ACCOUNTS] = std::array::from_fn(|account| now[account].saturating_sub(before[account]));
    let mut deficit: u64 = (0..ACCOUNTS).map(|account| before[account].saturating_sub(now[account])).sum();
    while deficit > 0 {
        let largest = (0..ACCOUNTS).max_by_key(|account| gains[*account]).unwrap_or(0);
        let taken = deficit.min(gains[largest]);
        if taken == 0 {
            break;
        }
        gains[largest] -= taken;
        deficit -= taken;
    }
    gains
}

/// How much a counter grew since `reported`, which is brought up to date. A counter that shrank reports nothing until it
/// has caught up.
fn take(reported: &mut u64, now: u64) -> u64 {
    let gain = now.saturating_sub(*reported);
    *reported += gain;
    gain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(cpu_ns: u64, steal_ns: u64, runq_ns: u64, net_ns: u64) -> Totals {
        let mut totals = Totals::ZERO;
        let accounts = [account::CPU, account::STEAL, account::RUNQ, wait_class::NET];
        for (account, ns) in accounts.into_iter().zip([cpu_ns, steal_ns, runq_ns, net_ns]) {
            totals.times_ns[account::slot(account)] = ns;
        }
        totals
    }

    #[test]
    fn gains_are_differences() {
        let mut reported = Reported::default();
        reported.advance(&totals(10, 0, 5, 100));
        let gain = reported.advance(&totals(15, 0, 5, 120)).totals;
        assert_eq!((gain.cpu_ns, gain.runq_ns, gain.wait_ns[wait_class::NET as usize]), (5, 0, 20));
    }

    #[test]
    fn an_account_that_shrank_takes_from_the_one_that_grew_and_is_settled_later() {
        let mut reported = Reported::default();
        reported.advance(&totals(100, 0, 0, 50));
        let gain = reported.advance(&totals(97, 3, 0, 60)).totals;
        assert_eq!((gain.cpu_ns, gain.steal_ns, gain.wall_ns()), (0, 3, 10));
        let gain = reported.advance(&totals(117, 3, 0, 60)).totals;
        assert_eq!(gain.wall_ns(), 20);
        let sums = reported.times;
        assert_eq!(sums.iter().sum::<u64>(), 180);
    }

    #[test]
    fn the_gains_of_any_history_add_up_to_the_last_totals() {
        let mut reported = Reported::default();
        let mut wall = 0;
        for (cpu, steal, runq, net) in [(5, 0, 0, 5), (4, 3, 2, 9), (20, 3, 2, 9), (18, 6, 10, 1)] {
            wall += reported.advance(&totals(cpu, steal, runq, net)).totals.wall_ns();
            assert_eq!(wall, cpu + steal + runq + net);
        }
    }
}
