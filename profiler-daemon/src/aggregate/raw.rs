//! One window before symbolization: counted stacks of addresses.

use std::collections::HashMap;
use std::sync::Arc;

use crate::profile::{
    AsyncEntry, Ending, ImageId, JavaFrame, LengthEstimate, Loss, ProcessId, PythonEnding, PythonFrame, Subject, Task,
    TaskTotals, TimeRange, WaitClass, WaitLengths, WaitPeriods, WaitReason,
};

/// One window of measurement whose stacks are still addresses. Indices mean what they mean in a `Profile`.
#[derive(Debug, Clone, Default)]
pub struct RawWindow {
    /// The wall-clock time covered.
    pub range: TimeRange,
    /// Every thread that has a sample or a total here.
    pub tasks: Vec<Arc<Task>>,
    /// Every distinct raw stack.
    pub stacks: Vec<RawStack>,
    /// Weighted estimates, one per (task, state, stack).
    pub samples: Vec<RawSample>,
    /// Exact nanoseconds per task and state.
    pub totals: Vec<TaskTotals>,
    /// What files, processes and other ends of connections that were waited for are called, by who waited. Untrusted text.
    pub subjects: SubjectNames,
    /// How long the waits that ended were, one per (task, class).
    pub wait_lengths: Vec<WaitLengths>,
    /// What tasks awaited while event loops waited, one per (task, program image, what ended the waits).
    pub loops: Vec<RawLoop>,
    /// The mean on-CPU time between two on-CPU samples of one CPU.
    pub cpu_period_ns: u64,
    /// T, the mean off-CPU time between two captured waits of one thread.
    pub wait_periods: WaitPeriods,
    /// What could not be recorded.
    pub loss: Loss,
}

/// What is called how, by who waited for it.
pub type SubjectNames = HashMap<(ProcessId, Subject), Arc<str>>;

/// A stack as the kernel half recorded it: leaf first, kernel part and user part.
///
/// The first address of each part is an instruction pointer, the others are return addresses,
/// except that the kernel part of a wait consists of return addresses only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawStack {
    /// The program image the user addresses belong to.
    pub image: ImageId,
    /// Whether the thread was on a CPU: then the leaf is an interrupted instruction.
    pub on_cpu: bool,
    /// Kernel addresses; shared with the open window, so that a copy of it costs little.
    pub kernel: Arc<[u64]>,
    /// User addresses; empty for kernel threads and where the stack could not be read.
    pub user: Arc<[u64]>,
    /// Whether user frames are missing behind the first `LEAF_FRAMES`.
    pub has_gap: bool,
    /// Why the user part ends where it does.
    pub ending: Ending,
    /// Those of the user addresses whose code a Java virtual machine made, leaf first.
    pub java: Arc<[JavaFrame]>,
    /// Python frames, leaf first.
    pub python: Arc<[PythonFrame]>,
    /// Why they end where they do.
    pub python_ending: PythonEnding,
    /// The task of asyncio that runs, and those that await it, leaf first.
    pub tasks: Arc<[AsyncEntry]>,
    /// How many of the Python frames run in that task.
    pub task_frames: u16,
    /// Whether the thread was collecting the Python interpreter's garbage.
    pub collecting: bool,
    /// When code was last mapped into the process where other code may have been, on the monotonic clock, or zero: what its
    /// addresses mean.
    pub code_ns: u64,
    /// If the thread waited for the lock around the Python interpreter: the state of the thread that held it.
    pub lock_holder: Option<u64>,
    /// Of a wait, what it was for.
    pub reason: WaitReason,
}

/// What looks at the tasks of one loop found in its waits of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct RawLoop {
    /// Index into [`RawWindow::tasks`].
    pub task: u32,
    /// What ended the waits.
    pub detail: &'static str,
    /// How many looks fell into them.
    pub looks: u64,
    /// The weight of looks that found no task to charge.
    pub empty_ns: u64,
    /// The program image the places belong to.
    pub image: ImageId,
    /// Where the loop waited in one of these waits; an index into [`RawWindow::stacks`].
    pub stack: Option<u32>,
    /// Each place where tasks awaited something, leaf first, and its weight.
    pub places: Vec<(Arc<[AsyncEntry]>, u64)>,
}

/// What a raw sample's thread was doing; the kind of code is known only after symbolization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawState {
    /// On a CPU.
    OnCpu,
    /// Waiting for a CPU.
    RunQueue,
    /// Held back by a CPU quota.
    Throttled,
    /// Blocked.
    Wait(WaitClass),
}

/// All captures of one task in one state on one raw stack.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSample {
    /// Index into [`RawWindow::tasks`].
    pub task: u32,
    /// What the thread was doing.
    pub state: RawState,
    /// Whether the time is idle.
    pub idle: bool,
    /// Index into [`RawWindow::stacks`].
    pub stack: u32,
    /// The unbiased estimate in nanoseconds.
    pub weight_ns: u64,
    /// How many captures stand behind it.
    pub count: u64,
    /// The variance of `weight_ns`.
    pub variance_ns2: f64,
    /// Of a wait, how long those were that ended here.
    pub lengths: Option<Box<LengthEstimate>>,
}
