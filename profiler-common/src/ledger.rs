//! The books of one thread: a state machine over the moments it leaves and regains a CPU.
//!
//! Every nanosecond since `attach_ns` is in exactly one account. Three clocks meet here: the monotonic clock measures
//! intervals; the scheduler's CPU clock says how much of an on-CPU interval really ran; its run delay says how much of an
//! off-CPU interval was queueing. Where they disagree, the scheduler is believed for CPU and queueing:
//! * ran less than the interval: a gap shorter than [`SWITCH_GAP_NS`] is the switch itself and joins the wait that
//!   follows, a longer one is `steal`;
//! * queued for less than an involuntary interval: the rest is `steal`, too, if it is longer than a switch takes;
//! * queued for more than an interval: the excess is taken back from the `steal` right before it, as the scheduler's clock
//!   of queueing starts before the switch-out hook;
//! * ran more than the interval (its clock starts before the switch-in hook): the excess is taken back from the interval before.

use crate::limits::{SWITCH_GAP_NS, TICK_NS};
use crate::record::{self, Totals, account};

/// What the thread was doing since `since_ns`.
pub mod phase {
    /// Forked, and not seen to run yet.
    pub const NEW: u8 = 0;
    /// On a CPU.
    pub const ON: u8 = 1;
    /// Off CPU.
    pub const OFF: u8 = 2;
}

/// The scheduler's books of a thread at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// The monotonic clock.
    pub now_ns: u64,
    /// The thread's CPU clock; up to [`TICK_NS`] old if the thread is running.
    pub cpu_ns: u64,
    /// The thread's run delay so far.
    pub run_delay_ns: u64,
}

/// An off-CPU interval that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interval {
    /// Its length.
    pub duration_ns: u64,
    /// The part spent waiting for a CPU.
    pub runq_ns: u64,
}

/// How the books of a thread begin. `account` and `flags` matter in [`phase::OFF`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening {
    /// One of [`phase`].
    pub phase: u8,
    /// The account, of [`account`].
    pub account: u8,
    /// Bits of `record::FLAG_*`.
    pub flags: u8,
    /// When.
    pub at: Reading,
}

/// The books of one thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// When the current phase began.
    pub since_ns: u64,
    /// The thread's CPU clock at the last switch.
    pub cpu_seen_ns: u64,
    /// The thread's run delay at the last switch.
    pub run_delay_seen_ns: u64,
    /// The length of the last off-CPU interval: what can still be taken back from it.
    pub last_off_ns: u64,
    /// What the last on-CPU interval added to `steal`.
    pub last_steal_ns: u64,
    /// One of [`phase`].
    pub phase: u8,
    /// The account of the current or last off-CPU interval, of [`account`].
    pub account: u8,
    /// Bits of `record::FLAG_*` of that interval.
    pub flags: u8,
    /// The account from which `last_off_ns` can be taken back.
    pub last_off_account: u8,
    /// Zero.
    pub padding: [u8; 4],
    /// The sums.
    pub totals: Totals,
}

impl Ledger {
    /// Opens the books, in place: they are too large for the kernel half's stack.
    #[inline(always)]
    pub fn open(&mut self, opening: Opening) {
        self.since_ns = opening.at.now_ns;
        self.cpu_seen_ns = opening.at.cpu_ns;
        self.run_delay_seen_ns = opening.at.run_delay_ns;
        self.last_off_ns = 0;
        self.last_steal_ns = 0;
        self.last_off_account = opening.account;
        self.phase = opening.phase;
        self.account = opening.account;
        self.flags = opening.flags;
        self.padding = [0; 4];
        self.totals = Totals::ZERO;
    }

    /// The thread leaves the CPU, for `account`.
    #[inline(always)]
    pub fn switch_out(&mut self, at: Reading, account: u8, flags: u8) {
        let gap = self.settle(at);
        self.since_ns = at.now_ns - gap;
        self.cpu_seen_ns = at.cpu_ns;
        self.run_delay_seen_ns = at.run_delay_ns;
        self.phase = phase::OFF;
        self.account = account;
        self.flags = flags;
    }

    /// The thread is on a CPU again. Returns the interval that ended; `None` if it was not off CPU.
    #[inline(always)]
    pub fn switch_in(&mut self, at: Reading) -> Option<Interval> {
        if self.phase == phase::ON {
            return None;
        }
        let duration_ns = at.now_ns.saturating_sub(self.since_ns);
        let runq_ns = self.close_off(duration_ns, at.run_delay_ns);
        self.since_ns = at.now_ns;
        self.run_delay_seen_ns = at.run_delay_ns;
        self.phase = phase::ON;
        Some(Interval { duration_ns, runq_ns })
    }

    /// Adds the phase in progress to the sums. Only for a copy that is read and thrown away.
    ///
    /// For a running thread the CPU clock is stale; what it lags within one tick counts as CPU, and the next
    /// snapshot corrects it.
    #[inline(always)]
    pub fn add_in_progress(&mut self, at: Reading) {
        match self.phase {
            phase::ON => self.add_running(at),
            phase::NEW => {
                self.settle(at);
            }
            _ => {
                let duration_ns = at.now_ns.saturating_sub(self.since_ns);
                self.add_off(duration_ns, 0);
            }
        }
    }

    /// Books the on-CPU interval that ends at `at`; returns the gap that belongs to the wait that follows.
    #[inline(always)]
    fn settle(&mut self, at: Reading) -> u64 {
        if self.phase != phase::ON {
            self.infer_switch_in(at);
        } else {
            self.take_back_late_run_delay(at.run_delay_ns);
        }
        let interval = at.now_ns.saturating_sub(self.since_ns);
        let mut ran = at.cpu_ns.saturating_sub(self.cpu_seen_ns);
        if ran > interval {
            ran = interval + self.take_back(ran - interval);
        }
        self.add(account::CPU, ran);
        let gap = interval.saturating_sub(ran);
        if gap < SWITCH_GAP_NS {
            self.last_steal_ns = 0;
            return gap;
        }
        self.last_steal_ns = gap;
        self.add(account::STEAL, gap);
        0
    }

    /// The switch-in was not seen (a new thread's first run has no hook): the scheduler tells where it was.
    #[inline(always)]
    fn infer_switch_in(&mut self, at: Reading) {
        let span = at.now_ns.saturating_sub(self.since_ns);
        let ran = min(at.cpu_ns.saturating_sub(self.cpu_seen_ns), span);
        let off = span - ran;
        self.close_off(off, at.run_delay_ns);
        self.since_ns += off;
        self.run_delay_seen_ns = at.run_delay_ns;
    }

    /// Books an off-CPU interval that ended and returns its run queue part.
    #[inline(always)]
    fn close_off(&mut self, duration_ns: u64, run_delay_ns: u64) -> u64 {
        let delay = run_delay_ns.saturating_sub(self.run_delay_seen_ns);
        let queued = min(delay, duration_ns);
        self.totals.intervals[account::slot(self.account)] += 1;
        self.last_off_account = self.account;
        self.claim_steal(delay - queued);
        if account::is_wait(self.account) {
            self.add_off(duration_ns, queued);
            self.last_off_ns = duration_ns - queued;
            return queued;
        }
        self.close_involuntary(duration_ns, queued);
        duration_ns
    }

    /// All of the interval was queueing, but for what the hypervisor took after the scheduler had ended it. A scheduler that
    /// has booked nothing yet will do so after the hook.
    #[inline(always)]
    fn close_involuntary(&mut self, duration_ns: u64, queued_ns: u64) {
        let stolen = if queued_ns == 0 { 0 } else { duration_ns - queued_ns };
        if stolen < SWITCH_GAP_NS {
            self.add_off(duration_ns, 0);
            self.last_off_ns = duration_ns;
            return;
        }
        self.add_off(queued_ns, 0);
        self.add(account::STEAL, stolen);
        self.last_off_ns = stolen;
        self.last_off_account = account::STEAL;
    }

    /// The scheduler counted `excess_ns` more of queueing than there was off the CPU: that was booked as steal. What is left,
    /// and is more than a switch takes, is counted as clamped.
    #[inline(always)]
    fn claim_steal(&mut self, excess_ns: u64) {
        let claimed = min(min(excess_ns, self.last_steal_ns), self.totals.times_ns[account::slot(account::STEAL)]);
        self.last_steal_ns -= claimed;
        self.totals.times_ns[account::slot(account::STEAL)] -= claimed;
        let queue = if account::is_wait(self.account) { account::RUNQ } else { self.account };
        self.add(queue, claimed);
        if excess_ns - claimed >= SWITCH_GAP_NS {
            self.totals.clamped += 1;
        }
    }

    #[inline(always)]
    fn add_off(&mut self, duration_ns: u64, runq_ns: u64) {
        let blocked = duration_ns - runq_ns;
        self.add(account::RUNQ, runq_ns);
        self.add(self.account, blocked);
        self.add_marks(blocked);
    }

    #[inline(always)]
    fn add(&mut self, account: u8, ns: u64) {
        self.totals.times_ns[account::slot(account)] += ns;
    }

    #[inline(always)]
    fn add_marks(&mut self, blocked: u64) {
        if self.flags & record::FLAG_IDLE != 0 {
            self.totals.idle_ns += blocked;
        }
        if self.flags & record::FLAG_BEFORE_ATTACH != 0 {
            self.totals.before_attach_ns += blocked;
        }
    }

    #[inline(always)]
    fn add_running(&mut self, at: Reading) {
        let interval = at.now_ns.saturating_sub(self.since_ns);
        let ran = at.cpu_ns.saturating_sub(self.cpu_seen_ns);
        let steal = interval.saturating_sub(ran).saturating_sub(TICK_NS);
        self.add(account::STEAL, steal);
        self.add(account::CPU, interval - steal);
    }

    /// Run delay that was booked only after the switch-in was seen says now what the interval before was.
    #[inline(always)]
    fn take_back_late_run_delay(&mut self, run_delay_ns: u64) {
        let late = run_delay_ns.saturating_sub(self.run_delay_seen_ns);
        if late == 0 {
            return;
        }
        if account::is_wait(self.account) {
            let taken = self.take_back(late);
            self.add(account::RUNQ, taken);
            return self.claim_steal(late - taken);
        }
        let stolen = self.last_off_ns.saturating_sub(late);
        self.claim_steal(late.saturating_sub(self.last_off_ns));
        if stolen >= SWITCH_GAP_NS {
            let taken = self.take_back(stolen);
            self.add(account::STEAL, taken);
        }
    }

    /// Takes up to `amount` back from the last off-CPU interval; returns how much that was.
    #[inline(always)]
    fn take_back(&mut self, amount: u64) -> u64 {
        let slot = account::slot(self.last_off_account);
        // The pass over all tasks may have judged the interval anew while it ended: no account may fall below zero.
        let taken = min(min(amount, self.last_off_ns), self.totals.times_ns[slot]);
        self.last_off_ns -= taken;
        self.totals.times_ns[slot] -= taken;
        if self.last_off_account == self.account {
            self.take_back_marks(taken);
        }
        taken
    }

    #[inline(always)]
    fn take_back_marks(&mut self, taken: u64) {
        if self.flags & record::FLAG_IDLE != 0 {
            self.totals.idle_ns = self.totals.idle_ns.saturating_sub(taken);
        }
        if self.flags & record::FLAG_BEFORE_ATTACH != 0 {
            self.totals.before_attach_ns = self.totals.before_attach_ns.saturating_sub(taken);
        }
    }
}

/// `core::cmp::min`, inlined for the kernel half.
#[inline(always)]
fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_class;

    fn reading(now_ns: u64, cpu_ns: u64, run_delay_ns: u64) -> Reading {
        Reading { now_ns, cpu_ns, run_delay_ns }
    }

    fn sum(totals: &Totals) -> u64 {
        totals.times_ns.iter().sum()
    }

    const MS: u64 = 1_000_000;

    fn opened_at_zero(phase: u8) -> Ledger {
        let mut ledger = Ledger {
            since_ns: 0,
            cpu_seen_ns: 0,
            run_delay_seen_ns: 0,
            last_off_ns: 0,
            phase: 0,
            account: 0,
            flags: 0,
            last_steal_ns: 0,
            last_off_account: 0,
            padding: [0; 4],
            totals: Totals::ZERO,
        };
        ledger.open(Opening { phase, account: account::RUNQ, ..Default::default() });
        ledger
    }

    fn running_since_zero() -> Ledger {
        opened_at_zero(phase::ON)
    }

    fn totals_at(ledger: &Ledger, at: Reading) -> Totals {
        let mut copy = *ledger;
        copy.add_in_progress(at);
        copy.totals
    }

    #[test]
    fn a_wait_is_split_into_blocked_and_queueing_time() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(5 * MS, 5 * MS, 0), wait_class::NET, 0);
        let interval = ledger.switch_in(reading(25 * MS, 5 * MS, 3 * MS)).unwrap();
        assert_eq!(interval, Interval { duration_ns: 20 * MS, runq_ns: 3 * MS });
        assert_eq!(ledger.totals.of(wait_class::NET), 17 * MS);
        assert_eq!(ledger.totals.of(account::RUNQ), 3 * MS);
        assert_eq!(ledger.totals.intervals[account::slot(wait_class::NET)], 1);
    }

    #[test]
    fn an_involuntary_interval_is_queueing_and_what_the_scheduler_counts_less_was_stolen() {
        let interval_with_delay = |run_delay_ns| {
            let mut ledger = running_since_zero();
            ledger.switch_out(reading(MS, MS, 0), account::RUNQ, record::FLAG_INVOLUNTARY);
            ledger.switch_in(reading(3 * MS, MS, run_delay_ns));
            (ledger.totals.of(account::RUNQ), ledger.totals.of(account::STEAL), ledger.totals.clamped)
        };
        assert_eq!(interval_with_delay(MS), (MS, MS, 0));
        assert_eq!(interval_with_delay(2 * MS - 1000), (2 * MS, 0, 0));
        assert_eq!(interval_with_delay(2 * MS + 1000), (2 * MS, 0, 0));
        assert_eq!(interval_with_delay(3 * MS), (2 * MS, 0, 1));
        // The scheduler books the delay only after the hook.
        assert_eq!(interval_with_delay(0), (2 * MS, 0, 0));
    }

    #[test]
    fn a_scheduler_that_books_after_the_hook_is_believed_at_the_next_switch() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(10 * MS, 8 * MS, 0), account::RUNQ, record::FLAG_INVOLUNTARY);
        ledger.switch_in(reading(14 * MS, 8 * MS, 0));
        ledger.switch_out(reading(20 * MS, 14 * MS, MS), account::RUNQ, record::FLAG_INVOLUNTARY);
        assert_eq!((ledger.totals.of(account::RUNQ), ledger.totals.of(account::STEAL)), (MS, 5 * MS));
        ledger.switch_in(reading(21 * MS, 14 * MS, MS));
        ledger.switch_out(reading(30 * MS, 23 * MS, 3 * MS), account::RUNQ, record::FLAG_INVOLUNTARY);
        assert_eq!(
            ledger.totals.of(account::RUNQ),
            2 * MS,
            "there was no steal before it: {:?}",
            ledger.totals.times_ns
        );
        assert_eq!((sum(&ledger.totals), ledger.totals.clamped), (30 * MS, 1));
    }

    #[test]
    fn queueing_that_began_before_the_switch_out_was_seen_is_taken_from_the_steal_before_it() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(10 * MS, 5 * MS, 0), account::RUNQ, record::FLAG_INVOLUNTARY);
        ledger.switch_in(reading(12 * MS, 5 * MS, 6 * MS));
        assert_eq!((ledger.totals.of(account::RUNQ), ledger.totals.of(account::STEAL)), (6 * MS, MS));
        assert_eq!((sum(&ledger.totals), ledger.totals.clamped), (12 * MS, 0));
    }

    #[test]
    fn a_long_gap_on_cpu_is_steal_and_a_short_one_joins_the_wait_that_follows() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(10 * MS, 7 * MS, 0), wait_class::SLEEP, 0);
        ledger.switch_in(reading(20 * MS, 7 * MS, 0));
        ledger.switch_out(reading(30 * MS, 17 * MS - 1000, 0), wait_class::SLEEP, 0);
        let interval = ledger.switch_in(reading(40 * MS, 17 * MS - 1000, 0)).unwrap();
        assert_eq!(ledger.totals.of(account::STEAL), 3 * MS);
        assert_eq!(interval.duration_ns, 10 * MS + 1000);
        assert_eq!(sum(&ledger.totals), 40 * MS);
    }

    #[test]
    fn cpu_time_the_scheduler_counted_before_the_hook_is_taken_back_from_the_wait() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(MS, MS, 0), wait_class::IPC, 0);
        ledger.switch_in(reading(2 * MS, MS, 0));
        ledger.switch_out(reading(3 * MS, 2 * MS + 2000, 0), wait_class::IPC, 0);
        assert_eq!(ledger.totals.of(account::CPU), 2 * MS + 2000);
        assert_eq!(ledger.totals.of(wait_class::IPC), MS - 2000);
        assert_eq!(sum(&ledger.totals), 3 * MS);
    }

    #[test]
    fn a_new_threads_first_run_is_split_by_the_schedulers_books() {
        let mut ledger = opened_at_zero(phase::NEW);
        ledger.switch_out(reading(10 * MS, 8 * MS, 2 * MS), wait_class::SLEEP, 0);
        assert_eq!((ledger.totals.of(account::CPU), ledger.totals.of(account::RUNQ)), (8 * MS, 2 * MS));
    }

    #[test]
    fn run_delay_booked_after_the_switch_in_moves_from_the_wait_to_the_run_queue() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(MS, MS, 0), wait_class::DISK, 0);
        ledger.switch_in(reading(11 * MS, MS, 0));
        ledger.switch_out(reading(12 * MS, 2 * MS, 4 * MS), wait_class::DISK, 0);
        assert_eq!(ledger.totals.of(wait_class::DISK), 6 * MS);
        assert_eq!(ledger.totals.of(account::RUNQ), 4 * MS);
    }

    #[test]
    fn a_lost_switch_in_loses_no_time() {
        let mut ledger = running_since_zero();
        ledger.switch_out(reading(MS, MS, 0), wait_class::POLL, 0);
        ledger.switch_out(reading(10 * MS, 3 * MS, MS), wait_class::POLL, 0);
        assert_eq!(ledger.totals.of(account::CPU), 3 * MS);
        assert_eq!(ledger.totals.of(account::RUNQ), MS);
        assert_eq!(ledger.totals.of(wait_class::POLL), 6 * MS);
    }

    #[test]
    fn a_snapshot_counts_what_is_in_progress_and_changes_nothing() {
        let mut ledger = running_since_zero();
        assert_eq!(totals_at(&ledger, reading(7 * MS, 4 * MS, 0)).of(account::CPU), 7 * MS);
        assert_eq!(totals_at(&ledger, reading(70 * MS, 4 * MS, 0)).of(account::STEAL), 56 * MS);
        ledger.switch_out(reading(80 * MS, 80 * MS, 0), wait_class::LOCK, record::FLAG_BEFORE_ATTACH);
        let totals = totals_at(&ledger, reading(100 * MS, 80 * MS, 0));
        assert_eq!(totals.of(wait_class::LOCK), 20 * MS);
        assert_eq!(totals.before_attach_ns, 20 * MS);
        assert_eq!(ledger.totals.of(wait_class::LOCK), 0);
    }

    #[test]
    fn the_books_always_sum_to_the_wall_time() {
        let mut seed = 1u64;
        let mut random = move |bound: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % bound
        };
        let (mut now, mut cpu, mut delay) = (0, 0, 0);
        let mut ledger = running_since_zero();
        for _ in 0..20_000 {
            let on = random(2 * MS);
            now += on;
            cpu += on + random(2000) * u64::from(random(2) == 0) - random(on.min(30_000) + 1);
            ledger.switch_out(reading(now, cpu, delay), random(12) as u8, 0);
            let off = 3000 + random(MS);
            now += off;
            delay += random(off + 100);
            ledger.switch_in(reading(now, cpu, delay));
            let booked = sum(&ledger.totals);
            assert_eq!(booked, now, "after {now} ns");
        }
    }
}
