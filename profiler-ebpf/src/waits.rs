//! Why a thread is about to block: gathers what the classification needs, and no more.

use profiler_common::classify::{Blocked, classify, with_frozen};
use profiler_common::record::{
    FLAG_IDLE, FLAG_INTERPRETER_LOCK, FLAG_INVOLUNTARY, FLAG_KERNEL_THREAD, FLAG_THROTTLED, account,
};
use profiler_common::{syscall, wait_class};

use crate::task::{Registers, Task};
use crate::threads::Thread;
use crate::{descriptors, maps, memory};

/// Why a thread is off CPU: the account of its books, and flags of the interval.
#[derive(Clone, Copy)]
pub struct Cause {
    /// A wait class, or [`account`].
    pub account: u8,
    /// Bits of `FLAG_*`.
    pub flags: u8,
}

/// Why `task` left the CPU with these state bits. Zero means that it is still runnable.
///
/// `current` says whether the task's own memory is at hand.
#[inline(always)]
pub fn cause(task: Task, thread: &mut Thread, state: u32, preempted: bool, current: bool) -> Cause {
    let kernel = if thread.kernel_thread != 0 { FLAG_KERNEL_THREAD } else { 0 };
    if preempted || state == 0 {
        if task.is_throttled() {
            return Cause { account: account::THROTTLED, flags: FLAG_INVOLUNTARY | FLAG_THROTTLED | kernel };
        }
        return Cause { account: account::RUNQ, flags: FLAG_INVOLUNTARY | kernel };
    }
    let state = with_frozen(state, || task.is_frozen());
    thread.left_state = state;
    let blocked = blocked(task, thread, state, current);
    let verdict = classify(&blocked);
    let lock = if blocked.interpreter_lock && verdict.class == wait_class::LOCK { FLAG_INTERPRETER_LOCK } else { 0 };
    Cause { account: verdict.class, flags: kernel | lock | if verdict.idle { FLAG_IDLE } else { 0 } }
}

#[inline(always)]
fn blocked(task: Task, thread: &mut Thread, state: u32, current: bool) -> Blocked {
    let mut blocked = Blocked {
        state,
        iowait: task.in_iowait(),
        memstall: task.in_memstall(),
        kernel_thread: thread.kernel_thread != 0,
        in_syscall: false,
        syscall: syscall::UNKNOWN,
        descriptor: 0,
        argument1: 0,
        argument2: 0,
        interpreter_lock: false,
    };
    if !blocked.kernel_thread {
        add_syscall(&mut blocked, task, thread, current);
    }
    blocked
}

#[inline(always)]
fn add_syscall(blocked: &mut Blocked, task: Task, thread: &mut Thread, current: bool) {
    let registers = task.registers();
    let number = registers.syscall();
    blocked.in_syscall = number >= 0;
    if number < 0 || task.in_compat_syscall() {
        return;
    }
    blocked.syscall = syscall::kind_of(maps::syscall(number));
    match blocked.syscall {
        syscall::DESCRIPTOR | syscall::TRANSFER => {
            blocked.descriptor = descriptors::kind_of(task, &mut thread.descriptor, registers.argument0() as u32);
        }
        syscall::FUTEX => {
            blocked.argument1 = registers.argument1();
            blocked.argument2 = registers.argument2();
            blocked.interpreter_lock = current && thread.python.waits_for_lock(registers.argument0());
        }
        syscall::SELECT => blocked.argument1 = registers.argument0(),
        syscall::POLL => add_poll(blocked, task, thread, registers, current),
        _ => {}
    }
}

/// A poll of one descriptor waits for that descriptor. Its number is in the task's own memory.
#[inline(always)]
fn add_poll(blocked: &mut Blocked, task: Task, thread: &mut Thread, registers: Registers, current: bool) {
    blocked.argument1 = registers.argument1();
    if blocked.argument1 != 1 {
        return;
    }
    if !current {
        blocked.argument1 = 2;
        return;
    }
    let number = memory::user::<u32>(registers.argument0());
    blocked.descriptor = descriptors::kind_of(task, &mut thread.descriptor, number);
}
