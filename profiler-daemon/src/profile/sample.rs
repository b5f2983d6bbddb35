//! An estimate: how long one task was in one state on one stack.

use super::{LengthEstimate, State};

/// All captures of one task in one state on one stack, added up.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Index into [`super::Profile::tasks`].
    pub task: u32,
    /// What the thread was doing.
    pub state: State,
    /// Whether the time is idle: parked with nothing to do.
    pub idle: bool,
    /// Index into [`super::Profile::stacks`].
    pub stack: u32,
    /// The unbiased estimate in nanoseconds, before calibration to the exact totals.
    pub weight_ns: u64,
    /// How many captures stand behind it.
    pub count: u64,
    /// The variance of `weight_ns`, in square nanoseconds.
    pub variance_ns2: f64,
    /// Of a wait, how long those were that ended here.
    pub lengths: Option<Box<LengthEstimate>>,
}
