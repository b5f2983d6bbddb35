//! What a captured wait is beyond its class, told by what the kernel knows when the thread is back: its system call is still
//! that it waited in, and what ended the wait of an event loop is at the head of its list of ready files.
//!
//! The kernel half runs this very code.

use crate::classify::{descriptor, state};
use crate::syscall::{self, operation};
use crate::wait_detail::*;
use crate::{wait_class, wait_detail};

/// Which side of a connection a socket is.
pub mod side {
    /// Not known, or no connection.
    pub const UNKNOWN: u8 = 0;
    /// It connected.
    pub const CLIENT: u8 = 1;
    /// It was accepted, or its port or path was chosen.
    pub const SERVER: u8 = 2;
    /// Both ends belong to this process.
    pub const OWN: u8 = 3;
}

/// States of sockets, as TCP counts them; local sockets use the same numbers.
pub mod socket_state {
    /// A connection is being made.
    pub const CONNECTING: u8 = 2;
    /// Connections are accepted.
    pub const LISTENING: u8 = 10;
}

/// What is known of a socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Socket {
    /// One of [`socket_state`], or another.
    pub state: u8,
    /// One of [`side`].
    pub side: u8,
}

/// What is known of a thread that waited.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Facts {
    /// The class of the wait.
    pub class: u8,
    /// The task state bits it slept with.
    pub state: u32,
    /// It is reclaiming memory.
    pub memstall: bool,
    /// The kind of the system call, of [`crate::syscall`]; [`syscall::UNKNOWN`] outside of one.
    pub syscall: u8,
    /// What the system call does, of [`operation`].
    pub operation: u8,
    /// What the descriptor waited on refers to, of [`descriptor`]; of an event loop, the first that was ready.
    pub descriptor: u8,
    /// That descriptor's socket, if it is one.
    pub socket: Socket,
    /// An event loop's time was up: no descriptor was ready.
    pub timed_out: bool,
    /// The second argument of the system call.
    pub argument1: u64,
    /// The third argument of the system call.
    pub argument2: u64,
}

/// The detail of the wait, of [`wait_detail`].
#[inline(always)]
pub fn tell(facts: &Facts) -> u8 {
    match facts.class {
        wait_class::DISK => tell_disk(facts),
        wait_class::KERNEL if facts.memstall => RECLAIM,
        wait_class::NET => tell_socket(facts, NET),
        wait_class::IPC => tell_ipc(facts),
        wait_class::LOCK => tell_lock(facts),
        wait_class::SYNC => tell_sync(facts),
        wait_class::POLL => tell_events(facts),
        wait_class::SLEEP => tell_sleep(facts),
        wait_class::CHILD => tell_child(facts),
        wait_class::OTHER => tell_held(facts.state),
        _ => wait_detail::NONE,
    }
}

#[inline(always)]
fn tell_disk(facts: &Facts) -> u8 {
    match (facts.syscall, facts.operation) {
        (syscall::FILE_SYSTEM, operation::SYNC | operation::WRITE) => DISK_SYNC,
        (syscall::FILE_SYSTEM, _) => DISK_METADATA,
        (_, operation::READ) => DISK_READ,
        (_, operation::WRITE) => DISK_WRITE,
        _ => wait_detail::NONE,
    }
}

/// The details of sockets of one class.
struct OfSocket {
    receive: u8,
    request: u8,
    send: u8,
    accept: u8,
    connect: u8,
}

const NET: OfSocket =
    OfSocket { receive: NET_RECEIVE, request: NET_REQUEST, send: NET_SEND, accept: NET_ACCEPT, connect: NET_CONNECT };

const LOCAL: OfSocket = OfSocket {
    receive: LOCAL_RECEIVE,
    request: LOCAL_REQUEST,
    send: LOCAL_SEND,
    accept: LOCAL_ACCEPT,
    connect: LOCAL_CONNECT,
};

#[inline(always)]
fn tell_socket(facts: &Facts, of: OfSocket) -> u8 {
    let Socket { state, side } = facts.socket;
    match facts.operation {
        operation::ACCEPT => of.accept,
        operation::CONNECT => of.connect,
        operation::WRITE if state == socket_state::CONNECTING => of.connect,
        operation::WRITE => of.send,
        operation::READ if state == socket_state::LISTENING => of.accept,
        operation::READ if side == side::SERVER => of.request,
        operation::READ => of.receive,
        _ => wait_detail::NONE,
    }
}

#[inline(always)]
fn tell_ipc(facts: &Facts) -> u8 {
    if facts.syscall == syscall::IPC {
        return if facts.operation == operation::SIGNAL { SIGNAL } else { MESSAGE_QUEUE };
    }
    match facts.descriptor {
        descriptor::LOCAL_SOCKET => tell_socket(facts, LOCAL),
        descriptor::PIPE if facts.operation == operation::WRITE => PIPE_WRITE,
        descriptor::PIPE => PIPE_READ,
        descriptor::EVENT_COUNTER => EVENTFD,
        descriptor::SIGNALS => SIGNAL,
        descriptor::FILE_CHANGES => INOTIFY,
        descriptor::TERMINAL => TERMINAL,
        descriptor::CHARACTER => DEVICE,
        _ => wait_detail::NONE,
    }
}

#[inline(always)]
fn tell_lock(facts: &Facts) -> u8 {
    const COMMAND: u64 = 0x7f;
    const LOCK_PI: u64 = 6;
    const LOCK_PI2: u64 = 13;
    match facts.syscall {
        syscall::FILE_LOCK | syscall::FCNTL => FILE_LOCK,
        syscall::FUTEX => match (facts.argument1 & COMMAND, facts.argument2 & 0xffff_ffff) {
            (LOCK_PI | LOCK_PI2, _) => PRIORITY_MUTEX,
            (_, 2) => MUTEX,
            (_, 3) => RWLOCK,
            _ => wait_detail::NONE,
        },
        _ => wait_detail::NONE,
    }
}

/// Joining waits on a word that is not private to the process, because the kernel wakes it; its value is a thread's number.
#[inline(always)]
fn tell_sync(facts: &Facts) -> u8 {
    const WAIT_BITSET_SHARED_REALTIME: u64 = 0x109;
    const PARKED: u64 = 0xffff_ffff;
    if facts.operation == operation::SEMAPHORE {
        return SEMAPHORE;
    }
    if facts.syscall != syscall::FUTEX {
        return wait_detail::NONE;
    }
    let value = facts.argument2 & 0xffff_ffff;
    if facts.argument1 & 0xffff_ffff == WAIT_BITSET_SHARED_REALTIME && value != 0 {
        return JOIN;
    }
    if value == PARKED { PARK } else { wait_detail::NONE }
}

#[inline(always)]
fn tell_events(facts: &Facts) -> u8 {
    if facts.syscall == syscall::IO_URING {
        return IO_URING;
    }
    if facts.syscall != syscall::EVENTS {
        return wait_detail::NONE;
    }
    if facts.timed_out {
        return POLL_TIMER;
    }
    match facts.descriptor {
        descriptor::SOCKET | descriptor::LOCAL_SOCKET => match facts.socket {
            Socket { state: socket_state::LISTENING, .. } => POLL_LISTEN,
            Socket { side: side::SERVER, .. } => POLL_REQUEST,
            Socket { side: side::OWN, .. } => POLL_HANDOFF,
            _ => POLL_REPLY,
        },
        descriptor::PIPE | descriptor::EVENT_COUNTER => POLL_HANDOFF,
        descriptor::TIMER => POLL_TIMER,
        descriptor::SIGNALS => POLL_SIGNAL,
        _ => wait_detail::NONE,
    }
}

#[inline(always)]
fn tell_sleep(facts: &Facts) -> u8 {
    match facts.syscall {
        _ if facts.descriptor == descriptor::TIMER => TIMER,
        syscall::SLEEP => NANOSLEEP,
        syscall::POLL | syscall::SELECT => POLL_NOTHING,
        _ => wait_detail::NONE,
    }
}

#[inline(always)]
fn tell_child(facts: &Facts) -> u8 {
    match facts.syscall {
        syscall::CHILD => CHILD_EXIT,
        syscall::FORK => VFORK,
        _ => PROCESS,
    }
}

#[inline(always)]
fn tell_held(bits: u32) -> u8 {
    const DETAILS: [(u32, u8); 4] =
        [(state::FROZEN, FROZEN), (state::TRACED, TRACED), (state::STOPPED, STOPPED), (state::PARKED, PARKED)];
    let mut detail = wait_detail::NONE;
    for (bit, named) in DETAILS {
        if detail == wait_detail::NONE && bits & bit != 0 {
            detail = named;
        }
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(facts: &Facts) -> String {
        let detail = &DETAILS[usize::from(tell(facts))];
        assert!(detail.name.is_empty() || detail.class == facts.class, "{facts:?} is {detail:?}");
        detail.name.to_owned()
    }

    fn call(class: u8, syscall: u8, operation: u8) -> Facts {
        Facts { class, syscall, operation, ..Facts::default() }
    }

    fn on(class: u8, operation: u8, descriptor: u8, state: u8, side: u8) -> Facts {
        Facts { descriptor, socket: Socket { state, side }, ..call(class, syscall::DESCRIPTOR, operation) }
    }

    fn ended(descriptor: u8, state: u8, side: u8) -> Facts {
        Facts { syscall: syscall::EVENTS, ..on(wait_class::POLL, operation::NONE, descriptor, state, side) }
    }

    fn futex(class: u8, operation: u64, value: u64) -> Facts {
        Facts { argument1: operation, argument2: value, ..call(class, syscall::FUTEX, operation::NONE) }
    }

    fn held(state: u32) -> Facts {
        Facts { state, ..call(wait_class::OTHER, syscall::SLEEP, operation::NONE) }
    }

    #[test]
    fn every_kind_of_wait_is_told() {
        use descriptor::*;
        use operation::{ACCEPT, CONNECT, NONE, READ, SEMAPHORE, SIGNAL, WRITE};
        use side::{CLIENT, OWN, SERVER, UNKNOWN as UNSURE};
        use socket_state::{CONNECTING, LISTENING};
        use wait_class::{CHILD, DISK, IPC, KERNEL, LOCK, NET, POLL, SLEEP, SYNC};
        const UP: u8 = 1;
        let rows = [
            (call(DISK, syscall::DESCRIPTOR, READ), "read"),
            (call(DISK, syscall::DESCRIPTOR, WRITE), "write"),
            (call(DISK, syscall::FILE_SYSTEM, operation::SYNC), "sync"),
            (call(DISK, syscall::FILE_SYSTEM, NONE), "metadata"),
            (Facts { memstall: true, ..call(KERNEL, syscall::MEMORY, NONE) }, "reclaim"),
            (call(KERNEL, syscall::MEMORY, NONE), ""),
            (on(NET, READ, SOCKET, UP, CLIENT), "receive"),
            (on(NET, READ, SOCKET, UP, SERVER), "request"),
            (on(NET, WRITE, SOCKET, UP, CLIENT), "send"),
            (on(NET, WRITE, SOCKET, CONNECTING, CLIENT), "connect"),
            (on(NET, READ, SOCKET, LISTENING, SERVER), "accept"),
            (on(NET, ACCEPT, SOCKET, LISTENING, SERVER), "accept"),
            (on(NET, CONNECT, SOCKET, CONNECTING, CLIENT), "connect"),
            (on(IPC, READ, LOCAL_SOCKET, UP, SERVER), "request"),
            (on(IPC, READ, LOCAL_SOCKET, UP, OWN), "receive"),
            (on(IPC, READ, PIPE, 0, 0), "pipe read"),
            (on(IPC, WRITE, PIPE, 0, 0), "pipe write"),
            (on(IPC, READ, EVENT_COUNTER, 0, 0), "eventfd"),
            (on(IPC, READ, TERMINAL, 0, 0), "terminal"),
            (call(IPC, syscall::IPC, NONE), "message queue"),
            (call(IPC, syscall::IPC, SIGNAL), "signal"),
            (futex(LOCK, 0x80, 2), "mutex"),
            (futex(LOCK, 0x86, 0), "priority mutex"),
            (futex(LOCK, 0x189, 3), "rwlock"),
            (futex(LOCK, 0x189, 0), ""),
            (call(LOCK, syscall::FCNTL, NONE), "file lock"),
            (futex(SYNC, 0x109, 4711), "join"),
            (futex(SYNC, 0x189, 0xffff_ffff), "park"),
            (futex(SYNC, 0x189, 0), ""),
            (call(SYNC, syscall::SYNC, SEMAPHORE), "semaphore"),
            (ended(SOCKET, LISTENING, SERVER), "listen"),
            (ended(SOCKET, UP, SERVER), "request"),
            (ended(SOCKET, UP, CLIENT), "reply"),
            (ended(LOCAL_SOCKET, UP, UNSURE), "reply"),
            (ended(LOCAL_SOCKET, UP, OWN), "handoff"),
            (ended(EVENT_COUNTER, 0, 0), "handoff"),
            (ended(TIMER, 0, 0), "timer"),
            (ended(SIGNALS, 0, 0), "signal"),
            (Facts { timed_out: true, ..ended(UNKNOWN, 0, 0) }, "timer"),
            (ended(UNKNOWN, 0, 0), ""),
            (call(POLL, syscall::POLL, NONE), ""),
            (call(POLL, syscall::IO_URING, NONE), "io_uring"),
            (call(SLEEP, syscall::SLEEP, NONE), "nanosleep"),
            (on(SLEEP, READ, TIMER, 0, 0), "timer"),
            (call(SLEEP, syscall::SELECT, NONE), "poll"),
            (call(CHILD, syscall::CHILD, NONE), "exit"),
            (call(CHILD, syscall::FORK, NONE), "vfork"),
            (call(CHILD, syscall::POLL, NONE), "process"),
            (held(0x104), "stopped"),
            (held(0x8), "traced"),
            (held(0x8000), "frozen"),
            (held(0x40), "parked"),
        ];
        for (facts, expected) in rows {
            assert_eq!(label(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn only_who_waits_for_clients_or_signals_is_idle() {
        let idle: Vec<&str> = DETAILS.iter().filter(|detail| detail.idle).map(|detail| detail.name).collect();
        assert_eq!(idle, ["request", "accept", "request", "accept", "signal", "listen", "request"]);
    }
}
