//! What a system call can wait for: the closed list of kinds, and what it does there. The user half maps the numbers of its
//! architecture to them.

/// Not classified, or not in a system call.
pub const UNKNOWN: u8 = 0;
/// Reads or writes the descriptor in its first argument.
pub const DESCRIPTOR: u8 = 1;
/// Moves data between two descriptors, the first of which can block (`sendfile`, `splice`).
pub const TRANSFER: u8 = 2;
/// Changes or looks up files, or writes them to disk (`open`, `rename`, `fsync`).
pub const FILE_SYSTEM: u8 = 3;
/// `futex(address, operation, value, ...)`.
pub const FUTEX: u8 = 4;
/// Waits for other threads in other ways (`futex_waitv`, `semop`).
pub const SYNC: u8 = 5;
/// `poll(fds, count, ...)`.
pub const POLL: u8 = 6;
/// `select(count, ...)`.
pub const SELECT: u8 = 7;
/// Waits for events of many descriptors (`epoll_wait`, `io_getevents`).
pub const EVENTS: u8 = 8;
/// `io_uring_enter`: like the former, and it sets the iowait flag whatever it waits for.
pub const IO_URING: u8 = 9;
/// Waits for time to pass.
pub const SLEEP: u8 = 10;
/// Waits for a child.
pub const CHILD: u8 = 11;
/// Creates a process; blocks uninterruptibly only for a `vfork` child.
pub const FORK: u8 = 12;
/// Message queues and signals.
pub const IPC: u8 = 13;
/// `flock`.
pub const FILE_LOCK: u8 = 14;
/// `fcntl(fd, command, ...)`: waits only for a lock.
pub const FCNTL: u8 = 15;
/// Changes the address space (`mmap`, `munmap`, `madvise`).
pub const MEMORY: u8 = 16;

/// What a system call of a kind does, where that tells more about its wait.
pub mod operation {
    /// Nothing that matters.
    pub const NONE: u8 = 0;
    /// Reads or receives.
    pub const READ: u8 = 1;
    /// Writes or sends.
    pub const WRITE: u8 = 2;
    /// Accepts a connection.
    pub const ACCEPT: u8 = 3;
    /// Makes a connection.
    pub const CONNECT: u8 = 4;
    /// Writes the file in the first argument to disk.
    pub const SYNC: u8 = 5;
    /// Waits for a signal.
    pub const SIGNAL: u8 = 6;
    /// Waits for a semaphore.
    pub const SEMAPHORE: u8 = 7;
}

const KIND_BITS: u8 = 5;
const _: () = assert!(MEMORY < 1 << KIND_BITS && operation::SEMAPHORE < 1 << (8 - KIND_BITS));

/// Kind and operation in one byte.
pub const fn pack(kind: u8, operation: u8) -> u8 {
    kind | operation << KIND_BITS
}

/// The kind of a packed byte.
#[inline(always)]
pub const fn kind_of(packed: u8) -> u8 {
    packed & ((1 << KIND_BITS) - 1)
}

/// The operation of a packed byte.
#[inline(always)]
pub const fn operation_of(packed: u8) -> u8 {
    packed >> KIND_BITS
}
