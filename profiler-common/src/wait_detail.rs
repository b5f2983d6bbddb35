//! What a wait is beyond its class: the closed list of details the kernel half tells, by number. The user half adds those that
//! only frames tell.

use crate::wait_class;

/// Not known beyond the class.
pub const NONE: u8 = 0;

/// Declares the details: a constant for each number, and the table of what they mean.
macro_rules! details {
    ($($number:literal $name:ident: $class:ident / $text:literal $($idle:ident)?, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: u8 = $number;)*

        /// Every detail, in the order of the numbers; that of [`NONE`] has no name.
        pub const DETAILS: &[Detail] = &[
            Detail { class: wait_class::OTHER, name: "", idle: false },
            $(Detail { class: wait_class::$class, name: $text, idle: details!(@idle $($idle)?) },)*
        ];

        const _: () = {
            let numbers = [$($number),*];
            let mut at = 0;
            while at < numbers.len() {
                assert!(numbers[at] == at + 1, "details are listed by number");
                at += 1;
            }
        };
    };
    (@idle idle) => { true };
    (@idle) => { false };
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// The class it belongs to.
    pub class: u8,
    /// Its name, which follows that of the class.
    pub name: &'static str,
    /// Whether a thread that waits so has nothing to do.
    pub idle: bool,
}

details! {
    1 DISK_READ: DISK / "read", "Reading a file.";
    2 DISK_WRITE: DISK / "write", "Writing a file.";
    3 DISK_SYNC: DISK / "sync", "Writing a file to disk.";
    4 DISK_METADATA: DISK / "metadata", "Looking up or changing files.";
    5 RECLAIM: KERNEL / "reclaim", "Reclaiming memory.";
    6 NET_RECEIVE: NET / "receive", "Receiving: on a connection the thread's side made, if it is one.";
    7 NET_REQUEST: NET / "request" idle, "Receiving on an accepted connection: the client's turn.";
    8 NET_SEND: NET / "send", "Room to send.";
    9 NET_ACCEPT: NET / "accept" idle, "The next connection.";
    10 NET_CONNECT: NET / "connect", "A connection being made.";
    11 PIPE_READ: IPC / "pipe read", "Reading a pipe.";
    12 PIPE_WRITE: IPC / "pipe write", "Room in a pipe.";
    13 LOCAL_RECEIVE: IPC / "receive", "Receiving on a local socket.";
    14 LOCAL_REQUEST: IPC / "request" idle, "Receiving on an accepted local connection: the client's turn.";
    15 LOCAL_SEND: IPC / "send", "Room in a local socket.";
    16 LOCAL_ACCEPT: IPC / "accept" idle, "The next local connection.";
    17 LOCAL_CONNECT: IPC / "connect", "A local connection being made.";
    18 EVENTFD: IPC / "eventfd", "An event counter.";
    19 SIGNAL: IPC / "signal" idle, "A signal: nothing to do until somebody sends one.";
    20 TERMINAL: IPC / "terminal", "A terminal.";
    21 DEVICE: IPC / "device", "Another character device.";
    22 MESSAGE_QUEUE: IPC / "message queue", "A message queue.";
    23 INOTIFY: IPC / "inotify", "A change of watched files.";
    24 MUTEX: LOCK / "mutex", "A lock with the signature of mutexes.";
    25 PRIORITY_MUTEX: LOCK / "priority mutex", "A mutex with priority inheritance.";
    26 RWLOCK: LOCK / "rwlock", "The C library's read-write lock.";
    27 FILE_LOCK: LOCK / "file lock", "A lock of a file.";
    28 JOIN: SYNC / "join", "The end of another thread.";
    29 PARK: SYNC / "park", "Being unparked, as the Rust library parks.";
    30 SEMAPHORE: SYNC / "semaphore", "A semaphore of System V.";
    31 POLL_LISTEN: POLL / "listen" idle, "An event loop until a new connection came.";
    32 POLL_REQUEST: POLL / "request" idle, "An event loop until a client sent on an accepted connection.";
    33 POLL_REPLY: POLL / "reply", "An event loop until a server replied on a connection made from here.";
    34 POLL_HANDOFF: POLL / "handoff", "An event loop until another thread or process woke it.";
    35 POLL_TIMER: POLL / "timer", "An event loop until its time was up.";
    36 IO_URING: POLL / "io_uring", "Completions of an io_uring.";
    37 NANOSLEEP: SLEEP / "nanosleep", "A sleep.";
    38 TIMER: SLEEP / "timer", "A timer's descriptor.";
    39 POLL_NOTHING: SLEEP / "poll", "A poll of no descriptor.";
    40 CHILD_EXIT: CHILD / "exit", "A child's end.";
    41 VFORK: CHILD / "vfork", "A child that borrows the memory.";
    42 PROCESS: CHILD / "process", "A process's descriptor.";
    43 STOPPED: OTHER / "stopped", "Stopped by a signal.";
    44 TRACED: OTHER / "traced", "Stopped by a tracer.";
    45 FROZEN: OTHER / "frozen", "Frozen with its cgroup.";
    46 PARKED: OTHER / "parked", "Parked by the kernel.";
    47 POLL_SIGNAL: POLL / "signal", "An event loop until a signal came.";
}
