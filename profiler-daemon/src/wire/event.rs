//! What the kernel half reports, in the daemon's vocabulary.

use profiler_common::record::Totals;
use profiler_common::wait_lengths::Lengths;

use crate::profile::{
    AsyncEntry, Ending, ImageId, JavaFrame, ProcessId, PythonEnding, PythonFrame, ThreadId, WaitClass, WaitReason,
};

/// One captured stack. The addresses are borrowed from the ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StackEvent<'a> {
    /// The process.
    pub process: ProcessId,
    /// The thread.
    pub thread: ThreadId,
    /// The program image the user addresses belong to.
    pub image: ImageId,
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// What the thread was doing.
    pub kind: StackKind,
    /// The thread-nanoseconds this capture stands for.
    pub weight_ns: u64,
    /// The sampling period that was in force.
    pub period_ns: u64,
    /// Kernel addresses, leaf first.
    pub kernel: &'a [u64],
    /// The user part.
    pub user: UserStack<'a>,
    /// Those of the user addresses whose code a Java virtual machine made, leaf first.
    pub java: &'a [JavaFrame],
    /// The Python frames, leaf first.
    pub python: &'a [PythonFrame],
    /// Why they end where they do.
    pub python_ending: PythonEnding,
    /// The task of asyncio that runs, and those that await it, leaf first; nothing if none runs.
    pub tasks: &'a [AsyncEntry],
    /// How many of the Python frames run in that task.
    pub task_frames: u16,
    /// The thread's state in the Python interpreter, if it has one.
    pub python_thread: Option<u64>,
    /// If the thread waited for the lock around the interpreter: the state of the thread that held it then.
    pub lock_holder: Option<u64>,
    /// Whether the thread was collecting the interpreter's garbage.
    pub collecting: bool,
    /// When memory was last about to be mapped where code of the process was, on the monotonic clock, or zero.
    pub code_ns: u64,
    /// Of a wait, what it was for.
    pub reason: WaitReason,
}

/// Where stacks are decoded, one after the other.
#[derive(Debug, Default)]
pub struct Room {
    pub(super) words: Vec<u64>,
    pub(super) java: Vec<JavaFrame>,
    pub(super) python: Vec<PythonFrame>,
    pub(super) tasks: Vec<AsyncEntry>,
}

/// The user part of a captured stack, leaf first.
///
/// The first address is an instruction pointer, the others are return addresses: one byte less lies in the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct UserStack<'a> {
    /// The addresses of the frames.
    pub addresses: &'a [u64],
    /// The stack pointers of the frames; empty if they were not recorded.
    pub stack_pointers: &'a [u64],
    /// Whether frames are missing behind the first `LEAF_FRAMES`, because the stack was too deep to keep.
    pub has_gap: bool,
    /// Why it ends where it does.
    pub ending: Ending,
}

/// On or off CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackKind {
    /// The timer interrupted the thread on a CPU.
    OnCpu,
    /// The thread has just been off CPU.
    OffCpu {
        /// How long.
        duration_ns: u64,
        /// The part of it spent waiting for a CPU after the wait was over.
        runq_ns: u64,
        /// Why.
        cause: OffCpuCause,
        /// Whether the wait was idle.
        idle: bool,
    },
}

/// Why a thread was off CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffCpuCause {
    /// It was runnable, but not chosen by the scheduler.
    Runnable,
    /// Its cgroup's CPU quota held it back.
    Throttled,
    /// It was blocked.
    Blocked(WaitClass),
}

/// The identity of one account: a thread during one selection of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId {
    /// The thread.
    pub thread: ThreadId,
    /// When accounting began, on the monotonic clock.
    pub attach_ns: u64,
}

/// The books of one account at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Whose.
    pub id: AccountId,
    /// The process.
    pub process: ProcessId,
    /// The program image the process runs.
    pub image: ImageId,
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// Everything since the attach.
    pub totals: Totals,
    /// How long the waits since the attach were.
    pub lengths: Box<Lengths>,
    /// The thread's name. Untrusted text.
    pub thread_name: String,
    /// The name of the thread-group leader. Untrusted text.
    pub process_name: String,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// The wait in progress, if the thread is blocked.
    pub wait: Option<WaitInProgress>,
}

/// A wait that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitInProgress {
    /// Why.
    pub class: WaitClass,
    /// When it began, or the attach if that was later, on the monotonic clock.
    pub since_ns: u64,
    /// By which user space knows the thread.
    pub thread_pointer: u64,
    /// What it is for, as far as that can be told before it ends.
    pub reason: WaitReason,
    /// The first two kept registers with which it entered the kernel.
    pub kept: [u64; 2],
}

/// A change in the life of a thread.
#[derive(Debug, Clone, PartialEq)]
pub enum LifecycleEvent {
    /// An account is closed.
    Ended(Box<Ended>),
    /// A process, selected or not, has a new program or name.
    Executed(Executed),
    /// Memory is about to be mapped where code of a process was.
    Mapped(MappedCode),
}

/// The last books of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The books.
    pub account: Account,
    /// Whether the thread itself ended; otherwise it was deselected or changed its identity.
    pub exited: bool,
}

/// A process with a new program or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    /// The process.
    pub process: ProcessId,
    /// When, on the monotonic clock.
    pub at_ns: u64,
}

/// Memory is about to be mapped where code of a process is known to have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedCode {
    /// The program image.
    pub image: ImageId,
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// When that was the last time before, told or not; zero if it never was.
    pub before_ns: u64,
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
}
