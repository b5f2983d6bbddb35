//! What a system call can wait for: the closed list of kinds. The user half maps the numbers of its architecture to them.

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
