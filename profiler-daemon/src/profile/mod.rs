//! The vocabulary of the user half: what was measured, for whom, in which state, on which stack.
//!
//! Nothing here does IO or knows a format. A [`Profile`] is one window, or several merged.

pub mod asyncio;
pub mod c_library;
pub mod ending;
mod frame;
pub mod java;
pub mod leaf;
mod length_estimate;
pub mod loop_waits;
pub mod loss;
pub mod merge;
pub mod now;
pub mod python;
pub mod sample;
pub mod source;
pub mod stack;
pub mod state;
pub mod subject;
pub mod task;
pub mod time;
pub mod totals;
pub mod wait_detail;
pub mod wait_lengths;
pub mod wait_periods;
pub mod waker;

pub use asyncio::{AsyncEntry, AsyncName, AsyncTask};
pub use ending::Ending;
pub use frame::{Activity, Frame, FrameKind, Name, Reason};
pub use java::{JavaCode, JavaFrame};
pub use leaf::Leaf;
pub use length_estimate::LengthEstimate;
pub use loop_waits::{Awaited, LoopWaits};
pub use loss::{Loss, LossReason};
pub use now::{Doing, Lasted, Place, ProcessNow, ThreadNow, WaitNow};
pub use python::{PythonEnding, PythonFrame};
pub use sample::Sample;
pub use source::SourceLine;
pub use stack::Stack;
pub use state::{CodeKind, State, WaitClass};
pub use subject::{Subject, WaitReason};
pub use task::{ImageId, ProcessId, Task, ThreadId};
pub use time::{TimeRange, Timestamp};
pub use totals::TaskTotals;
pub use wait_detail::WaitDetail;
pub use wait_lengths::{LengthCounts, WaitLengths};
pub use wait_periods::WaitPeriods;
pub use waker::{NamedWaker, Waker};

use std::sync::Arc;

/// One window of measurement, or several merged: exact totals per task, and samples that attribute them to stacks.
///
/// `samples[i].task` and `totals[i].task` index `tasks`; `samples[i].stack` indexes `stacks`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The wall-clock time covered.
    pub range: TimeRange,
    /// Every thread that has a sample or a total here.
    pub tasks: Vec<Arc<Task>>,
    /// Every distinct stack the samples refer to.
    pub stacks: Vec<Stack>,
    /// Weighted estimates, one per (task, state, stack).
    pub samples: Vec<Sample>,
    /// Exact nanoseconds per task and state.
    pub totals: Vec<TaskTotals>,
    /// How long the waits that ended were, one per (task, class).
    pub wait_lengths: Vec<WaitLengths>,
    /// What tasks awaited while event loops waited, one per (task, what ended the waits).
    pub loop_waits: Vec<LoopWaits>,
    /// The mean on-CPU time between two on-CPU samples of one CPU, in nanoseconds.
    pub cpu_period_ns: u64,
    /// T, the mean off-CPU time between two captured waits of one thread.
    pub wait_periods: WaitPeriods,
    /// What could not be recorded, by reason.
    pub loss: Loss,
}
