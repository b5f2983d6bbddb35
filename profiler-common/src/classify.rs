//! Why a thread blocks, told by what the kernel knows at the moment it leaves the CPU.
//!
//! The rules are ordered; the first that matches wins. The kernel half runs this very code.

use crate::{syscall, wait_class};

/// Bits of a task's state, as the scheduler defines them.
pub mod state {
    /// Sleeping until an event or a signal.
    pub const INTERRUPTIBLE: u32 = 0x1;
    /// Sleeping until an event, whatever signal comes.
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    /// Stopped by a signal.
    pub const STOPPED: u32 = 0x4;
    /// Stopped by a tracer.
    pub const TRACED: u32 = 0x8;
    /// Parked.
    pub const PARKED: u32 = 0x40;
    /// Frozen.
    pub const FROZEN: u32 = 0x8000;
    /// One of these.
    pub const HELD: u32 = STOPPED | TRACED | PARKED | FROZEN;
    /// The last switch of an exiting thread.
    pub const DEAD: u32 = 0x80;
    /// Uninterruptible, but not counted as load: an idle kernel thread.
    pub const NO_LOAD: u32 = 0x400;
}

/// The state bits of a task that may be frozen by version 2 of cgroups, whose freezer puts it into an interruptible sleep like
/// any other. Who is stopped, traced or waits for a child that borrows its memory counts as frozen as well, but is held by that:
/// only of who sleeps so it is asked.
#[inline(always)]
pub fn with_frozen(bits: u32, is_frozen: impl FnOnce() -> bool) -> u32 {
    match bits & (state::HELD | state::UNINTERRUPTIBLE | state::INTERRUPTIBLE) == state::INTERRUPTIBLE {
        true => bits | (u32::from(is_frozen()) * state::FROZEN),
        false => bits,
    }
}

/// What a descriptor refers to.
pub mod descriptor {
    /// Not known, or no descriptor.
    pub const UNKNOWN: u8 = 0;
    /// A regular file, a directory or a block device.
    pub const FILE: u8 = 1;
    /// A socket to another host or to the kernel: any family but the local one.
    pub const SOCKET: u8 = 2;
    /// A local socket (`AF_UNIX`).
    pub const LOCAL_SOCKET: u8 = 3;
    /// A pipe or named pipe.
    pub const PIPE: u8 = 4;
    /// A character device other than a terminal.
    pub const CHARACTER: u8 = 5;
    /// A timer.
    pub const TIMER: u8 = 6;
    /// A process.
    pub const PROCESS: u8 = 7;
    /// An epoll instance.
    pub const EVENTS: u8 = 8;
    /// Another anonymous descriptor.
    pub const ANONYMOUS: u8 = 9;
    /// A counter of events (`eventfd`).
    pub const EVENT_COUNTER: u8 = 10;
    /// Signals (`signalfd`).
    pub const SIGNALS: u8 = 11;
    /// Changes of files (`inotify`).
    pub const FILE_CHANGES: u8 = 12;
    /// A terminal.
    pub const TERMINAL: u8 = 13;
}

/// What is known of a thread that leaves the CPU voluntarily.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blocked {
    /// The task state bits.
    pub state: u32,
    /// The scheduler counts the wait as waiting for a block device.
    pub iowait: bool,
    /// The thread is reclaiming memory.
    pub memstall: bool,
    /// It is a thread of the kernel.
    pub kernel_thread: bool,
    /// It is inside a system call; otherwise a page fault or an interrupt.
    pub in_syscall: bool,
    /// The kind of the system call, of [`crate::syscall`].
    pub syscall: u8,
    /// What the descriptor waited on refers to, of [`descriptor`].
    pub descriptor: u8,
    /// The second argument of the system call; of `select`, the first.
    pub argument1: u64,
    /// The third argument of the system call.
    pub argument2: u64,
    /// It waits for the lock around an interpreter.
    pub interpreter_lock: bool,
}

/// The class of a wait, and whether it is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// A number of [`crate::wait_class`].
    pub class: u8,
    /// The thread is parked with nothing to do.
    pub idle: bool,
}

impl Verdict {
    const fn busy(class: u8) -> Self {
        Self { class, idle: false }
    }
}

/// Classifies a wait as it begins.
#[inline(always)]
pub fn classify(blocked: &Blocked) -> Verdict {
    if blocked.kernel_thread {
        return classify_kernel_thread(blocked);
    }
    if blocked.state & state::HELD != 0 {
        return Verdict::busy(wait_class::OTHER);
    }
    if blocked.syscall == syscall::IO_URING {
        return Verdict::busy(wait_class::POLL);
    }
    if blocked.iowait {
        return Verdict::busy(if reads_disk(blocked) { wait_class::DISK } else { wait_class::FAULT });
    }
    if blocked.memstall {
        return Verdict::busy(wait_class::KERNEL);
    }
    if blocked.state & state::UNINTERRUPTIBLE != 0 {
        return Verdict::busy(classify_uninterruptible(blocked));
    }
    Verdict::busy(classify_interruptible(blocked))
}

#[inline(always)]
fn classify_kernel_thread(blocked: &Blocked) -> Verdict {
    let at_work = blocked.state & state::UNINTERRUPTIBLE != 0 && blocked.state & state::NO_LOAD == 0;
    match (blocked.iowait, at_work) {
        (true, _) => Verdict::busy(wait_class::DISK),
        (false, true) => Verdict::busy(wait_class::KERNEL),
        (false, false) => Verdict { class: wait_class::OTHER, idle: true },
    }
}

/// A wait for a block device is a read or write of a file, unless the descriptor cannot have caused it:
/// then a page of the buffer is being read in.
#[inline(always)]
fn reads_disk(blocked: &Blocked) -> bool {
    match blocked.syscall {
        syscall::DESCRIPTOR | syscall::POLL | syscall::FCNTL => {
            blocked.descriptor == descriptor::FILE || blocked.descriptor == descriptor::UNKNOWN && blocked.in_syscall
        }
        syscall::FUTEX | syscall::MEMORY | syscall::SELECT | syscall::EVENTS => false,
        _ => blocked.in_syscall,
    }
}

#[inline(always)]
fn classify_uninterruptible(blocked: &Blocked) -> u8 {
    match blocked.syscall {
        syscall::FILE_SYSTEM => wait_class::DISK,
        syscall::FORK => wait_class::CHILD,
        _ => wait_class::KERNEL,
    }
}

#[inline(always)]
fn classify_interruptible(blocked: &Blocked) -> u8 {
    match blocked.syscall {
        syscall::DESCRIPTOR | syscall::TRANSFER => classify_descriptor(blocked.descriptor),
        syscall::FUTEX if blocked.interpreter_lock => wait_class::LOCK,
        syscall::FUTEX => classify_futex(blocked.argument1, blocked.argument2),
        syscall::SYNC => wait_class::SYNC,
        syscall::POLL => classify_poll(blocked),
        syscall::SELECT if blocked.argument1 == 0 => wait_class::SLEEP,
        syscall::SELECT | syscall::EVENTS => wait_class::POLL,
        syscall::SLEEP => wait_class::SLEEP,
        syscall::CHILD | syscall::FORK => wait_class::CHILD,
        syscall::IPC => wait_class::IPC,
        syscall::FILE_LOCK | syscall::FCNTL => wait_class::LOCK,
        _ => wait_class::OTHER,
    }
}

#[inline(always)]
fn classify_poll(blocked: &Blocked) -> u8 {
    match blocked.argument1 {
        0 => wait_class::SLEEP,
        1 => classify_descriptor(blocked.descriptor),
        _ => wait_class::POLL,
    }
}

#[inline(always)]
fn classify_descriptor(kind: u8) -> u8 {
    match kind {
        descriptor::FILE => wait_class::DISK,
        descriptor::SOCKET => wait_class::NET,
        descriptor::LOCAL_SOCKET
        | descriptor::PIPE
        | descriptor::CHARACTER
        | descriptor::TERMINAL
        | descriptor::ANONYMOUS
        | descriptor::EVENT_COUNTER
        | descriptor::SIGNALS
        | descriptor::FILE_CHANGES => wait_class::IPC,
        descriptor::TIMER => wait_class::SLEEP,
        descriptor::PROCESS => wait_class::CHILD,
        descriptor::EVENTS => wait_class::POLL,
        _ => wait_class::OTHER,
    }
}

/// The signatures of locks: the priority-inheritance operations; an expected value of 2, which every common mutex uses
/// for "locked, with waiters"; and glibc's read-write lock.
#[inline(always)]
fn classify_futex(operation: u64, expected: u64) -> u8 {
    const COMMAND: u64 = 0x7f;
    const LOCK_PI: u64 = 6;
    const LOCK_PI2: u64 = 13;
    const GLIBC_RWLOCK: (u64, u64) = (0x189, 3);
    let operation = operation & 0xffff_ffff;
    let expected = expected & 0xffff_ffff;
    match operation & COMMAND {
        LOCK_PI | LOCK_PI2 => wait_class::LOCK,
        _ if expected == 2 || (operation, expected) == GLIBC_RWLOCK => wait_class::LOCK,
        _ => wait_class::SYNC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_class::*;

    const S: u32 = state::INTERRUPTIBLE;
    const D: u32 = state::UNINTERRUPTIBLE;

    fn class(state: u32, iowait: bool, syscall: u8, descriptor: u8, argument1: u64, argument2: u64) -> u8 {
        let blocked = Blocked {
            state,
            iowait,
            in_syscall: true,
            syscall,
            descriptor,
            argument1,
            argument2,
            ..Default::default()
        };
        classify(&blocked).class
    }

    #[test]
    fn every_row_of_the_taxonomy_gets_its_class() {
        let rows = [
            (D, true, syscall::DESCRIPTOR, descriptor::FILE, 0, 0, DISK),
            (0x102, true, syscall::DESCRIPTOR, descriptor::FILE, 0, 0, DISK),
            (D, true, syscall::FILE_SYSTEM, 0, 0, 0, DISK),
            (D, false, syscall::FILE_SYSTEM, 0, 0, 0, DISK),
            (D, true, syscall::DESCRIPTOR, descriptor::PIPE, 0, 0, FAULT),
            (D, true, syscall::FUTEX, 0, 0, 0, FAULT),
            (D, true, syscall::IO_URING, 0, 0, 0, POLL),
            (0x102, false, syscall::MEMORY, 0, 0, 0, KERNEL),
            (D, false, syscall::DESCRIPTOR, descriptor::FILE, 0, 0, KERNEL),
            (0x2102, false, syscall::FORK, 0, 0, 0, CHILD),
            (S, false, syscall::DESCRIPTOR, descriptor::SOCKET, 0, 0, NET),
            (S, false, syscall::DESCRIPTOR, descriptor::LOCAL_SOCKET, 0, 0, IPC),
            (S, false, syscall::DESCRIPTOR, descriptor::PIPE, 0, 0, IPC),
            (S, false, syscall::DESCRIPTOR, descriptor::TIMER, 0, 0, SLEEP),
            (S, false, syscall::DESCRIPTOR, descriptor::UNKNOWN, 0, 0, OTHER),
            (S, false, syscall::TRANSFER, descriptor::SOCKET, 0, 0, NET),
            (0x2001, false, syscall::FUTEX, 0, 0x80, 2, LOCK),
            (S, false, syscall::FUTEX, 0, 0x86, 0, LOCK),
            (S, false, syscall::FUTEX, 0, 0x89, 2, LOCK),
            (S, false, syscall::FUTEX, 0, 0x189, 3, LOCK),
            (S, false, syscall::FUTEX, 0, 0x189, 0, SYNC),
            (S, false, syscall::FUTEX, 0, 0x89, 0xffff_ffff, SYNC),
            (S, false, syscall::SYNC, 0, 0, 0, SYNC),
            (S, false, syscall::FILE_LOCK, descriptor::FILE, 0, 0, LOCK),
            (S, false, syscall::FCNTL, descriptor::FILE, 7, 0, LOCK),
            (S, false, syscall::POLL, 0, 0, 0, SLEEP),
            (S, false, syscall::POLL, descriptor::SOCKET, 1, 0, NET),
            (S, false, syscall::POLL, descriptor::PROCESS, 1, 0, CHILD),
            (S, false, syscall::POLL, 0, 2, 0, POLL),
            (S, false, syscall::EVENTS, descriptor::EVENTS, 0, 0, POLL),
            (0x2001, false, syscall::SLEEP, 0, 0, 0, SLEEP),
            (S, false, syscall::CHILD, 0, 0, 0, CHILD),
            (S, false, syscall::IPC, 0, 0, 0, IPC),
            (0x104, false, syscall::SLEEP, 0, 0, 0, OTHER),
            (0x8000, false, syscall::SLEEP, 0, 0, 0, OTHER),
            (S, false, syscall::UNKNOWN, 0, 0, 0, OTHER),
        ];
        for (state, iowait, syscall, descriptor, argument1, argument2, expected) in rows {
            assert_eq!(
                NAMES[class(state, iowait, syscall, descriptor, argument1, argument2) as usize],
                NAMES[expected as usize],
                "state {state:#x} iowait {iowait} syscall {syscall} descriptor {descriptor} ({argument1:#x}, {argument2:#x})"
            );
        }
    }

    #[test]
    fn only_a_sleep_that_nothing_else_explains_is_the_freezers() {
        assert_eq!((with_frozen(0x2001, || true), with_frozen(0x2001, || false)), (0xa001, 0x2001));
        for bits in [0x104, 0x8, 0x2102, 0] {
            assert_eq!(with_frozen(bits, || panic!("nobody has to ask")), bits, "{bits:#x}");
        }
    }

    #[test]
    fn a_wait_for_a_device_outside_a_system_call_is_a_page_fault() {
        let blocked = Blocked { state: D, iowait: true, ..Default::default() };
        assert_eq!(classify(&blocked).class, FAULT);
    }

    #[test]
    fn a_futex_of_the_lock_around_an_interpreter_is_a_lock_whatever_its_value() {
        let futex =
            Blocked { state: S, syscall: syscall::FUTEX, argument1: 0x189, in_syscall: true, ..Default::default() };
        assert_eq!(classify(&futex).class, SYNC);
        assert_eq!(classify(&Blocked { interpreter_lock: true, ..futex }).class, LOCK);
    }

    #[test]
    fn memory_reclaim_is_the_kernels() {
        let blocked = Blocked { state: D, memstall: true, in_syscall: true, ..Default::default() };
        assert_eq!(classify(&blocked).class, KERNEL);
    }

    #[test]
    fn only_sleeping_kernel_threads_are_idle() {
        let kernel = |state, iowait| classify(&Blocked { state, iowait, kernel_thread: true, ..Default::default() });
        assert_eq!(kernel(S, false), Verdict { class: OTHER, idle: true });
        assert_eq!(kernel(D | state::NO_LOAD, false), Verdict { class: OTHER, idle: true });
        assert_eq!(kernel(D, false), Verdict { class: KERNEL, idle: false });
        assert_eq!(kernel(D, true), Verdict { class: DISK, idle: false });
    }
}
