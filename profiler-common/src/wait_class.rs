//! The closed list of wait classes, by number. The names are keys of JSON, labels and documents.

/// A disk or a file system.
pub const DISK: u8 = 0;
/// A page of memory being read in.
pub const FAULT: u8 = 1;
/// The kernel's own locks, memory reclaim and drivers.
pub const KERNEL: u8 = 2;
/// A network socket.
pub const NET: u8 = 3;
/// Another process or thread, through a pipe, local socket, eventfd or message queue.
pub const IPC: u8 = 4;
/// A lock held by another thread.
pub const LOCK: u8 = 5;
/// A condition, semaphore, join or park.
pub const SYNC: u8 = 6;
/// One of several descriptors of an event loop.
pub const POLL: u8 = 7;
/// Time to pass.
pub const SLEEP: u8 = 8;
/// A child process.
pub const CHILD: u8 = 9;
/// Stopped, traced, frozen, or a system call that is not classified.
pub const OTHER: u8 = 10;
/// How many classes there are.
pub const COUNT: usize = 11;

/// The names, by number.
pub const NAMES: [&str; COUNT] =
    ["disk", "fault", "kernel", "net", "ipc", "lock", "sync", "poll", "sleep", "child", "other"];
