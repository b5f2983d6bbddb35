//! Who was measured: one thread with its process. Start times are part of the identity because pids are reused.

use std::sync::Arc;

/// A process: its pid in the initial PID namespace and its start since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The thread group id, which user space calls pid.
    pub pid: u32,
    /// Start time since boot, in nanoseconds.
    pub start_ns: u64,
}

/// A thread: its tid in the initial PID namespace and its start since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId {
    /// The thread id.
    pub tid: u32,
    /// Start time since boot, in nanoseconds.
    pub start_ns: u64,
}

/// A program image of a process: an exec replaces the image and keeps the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId {
    /// The process.
    pub process: ProcessId,
    /// When the image was executed, on the monotonic clock; zero if that was before the attach.
    pub exec_ns: u64,
}

/// One thread and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Task {
    /// The process.
    pub process: ProcessId,
    /// The thread.
    pub thread: ThreadId,
    /// The name of the thread-group leader. Untrusted text.
    pub process_name: Arc<str>,
    /// The thread's own name. Untrusted text.
    pub thread_name: Arc<str>,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
}
