//! What happens when a thread leaves a CPU, regains it, or is interrupted on it.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use profiler_common::classify::state;
use profiler_common::ledger::{Interval, Opening, Reading, phase};
use profiler_common::record::{self, LIFECYCLE_EXIT, account, control};
use profiler_common::strat::Choice;
use profiler_common::wait_class;

use crate::selection::{self, Opener};
use crate::stacks::{self, Capture};
use crate::task::Task;
use crate::threads::{self, Thread};
use crate::waits::{self, Cause};
use crate::{lifecycle, maps, offsets};

/// `task` leaves its CPU.
#[inline(always)]
pub fn out(task: Task, state: u32, preempted: bool) {
    let Some(thread) = find_or_open(task) else { return };
    maps::count(record::COUNTER_SWITCHES);
    let at = task.reading();
    if state & state::DEAD != 0 {
        return end(task, thread, at);
    }
    let cause = waits::cause(task, thread, state, preempted, true);
    thread.write_ledger(|ledger| ledger.switch_out(at, cause.account, cause.flags));
}

#[inline(always)]
fn find_or_open(task: Task) -> Option<&'static mut Thread> {
    if let Some(thread) = threads::find(task) {
        return Some(thread);
    }
    if !maps::control(control::SELECT_ALL) || task.pid() == 0 {
        return None;
    }
    let opening = Opening { phase: phase::ON, account: account::RUNQ, flags: 0, at: task.reading() };
    selection::open(Opener::Switch, task, opening, 0)
}

/// The thread's last switch: nothing of it runs after this.
#[inline(always)]
fn end(task: Task, thread: &mut Thread, at: Reading) {
    thread.ledger.switch_out(at, account::RUNQ, 0);
    lifecycle::report_end(LIFECYCLE_EXIT, task, thread, at);
    threads::remove_ended(task);
}

/// The current task regained its CPU.
#[inline(always)]
pub fn resume(context: &impl EbpfContext) {
    let task = Task::current();
    let Some(thread) = threads::find(task) else { return };
    let at = task.reading();
    thread.take_waker();
    let Some(interval) = thread.write_ledger(|ledger| ledger.switch_in(at)) else { return };
    thread.lengths.add(thread.ledger.account, interval.duration_ns - interval.runq_ns);
    sample_interval(context, thread, at.now_ns, interval);
}

/// `task` regains its CPU, but it is not yet current: its stack cannot be walked.
#[inline(always)]
pub fn resume_without_stack(task: Task) {
    let Some(thread) = threads::find(task) else { return };
    let at = task.reading();
    if let Some(interval) = thread.write_ledger(|ledger| ledger.switch_in(at)) {
        thread.lengths.add(thread.ledger.account, interval.duration_ns - interval.runq_ns);
        thread.ledger.totals.unattributed_ns += interval.duration_ns;
    }
}

#[inline(always)]
fn sample_interval(context: &impl EbpfContext, thread: &mut Thread, at_ns: u64, interval: Interval) {
    let Some(cpu) = stacks::cpu_budget() else { return };
    let (budget, duration_ns) = (offsets::wait_budget(), interval.duration_ns);
    let Choice { weight_ns, period_ns } = thread.strat.sample(duration_ns, cpu.period(at_ns, &budget), random_below);
    cpu.add_wait(duration_ns);
    if weight_ns == 0 {
        return;
    }
    if !cpu.take(duration_ns >= period_ns, &budget) {
        thread.ledger.totals.unattributed_ns += weight_ns;
        maps::count(record::COUNTER_WALK_REFUSED);
        return;
    }
    let account = thread.ledger.account;
    let capture = Capture {
        kind: record::STACK_OFF_CPU,
        class: if account::is_wait(account) { account } else { wait_class::OTHER },
        flags: thread.ledger.flags,
        at_ns,
        duration_ns,
        runq_ns: interval.runq_ns,
        weight_ns,
        period_ns,
    };
    stacks::capture(context, thread, capture);
}

/// A uniform number below `bound`.
#[inline(always)]
fn random_below(bound: u64) -> u64 {
    // SAFETY: the helper has no preconditions.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    random * (bound >> 32) + ((random * (bound & 0xffff_ffff)) >> 32)
}

/// The timer interrupted the current task.
#[inline(always)]
pub fn sample(context: &impl EbpfContext) {
    let Some(thread) = threads::find(Task::current()) else { return };
    let period_ns = offsets::cpu_period_ns();
    let capture = Capture {
        kind: record::STACK_ON_CPU,
        class: wait_class::OTHER,
        flags: 0,
        // SAFETY: the helper has no preconditions.
        at_ns: unsafe { aya_ebpf::helpers::bpf_ktime_get_ns() },
        duration_ns: 0,
        runq_ns: 0,
        weight_ns: period_ns,
        period_ns,
    };
    stacks::capture(context, thread, capture);
}

/// Why a task that is off CPU, seen from outside, is so.
#[inline(always)]
pub fn cause_from_outside(task: Task, thread: &mut Thread) -> Cause {
    waits::cause(task, thread, task.state(), false, false)
}
