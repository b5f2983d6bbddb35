//! What could not be recorded: a counter for each reason, shown in every report.

use std::collections::BTreeMap;

/// Why something was lost. The name is the key in JSON and the label in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossReason {
    /// The ring buffer of stacks was full.
    StackRingFull,
    /// The ring buffer of thread lifecycles was full: final totals of a thread are missing.
    LifecycleRingFull,
    /// The table of threads was full: the thread is not accounted.
    ThreadTableFull,
    /// The cap on stack walks per CPU refused a capture.
    WalkRefused,
    /// A user stack could not be read.
    UserStackUnreadable,
    /// A stack was deeper than the limit.
    StackTruncated,
    /// A user stack was cut: a return address lies in no known executable mapping.
    StackUnmapped,
    /// A user stack was cut: no unwind information, and no frame pointer.
    StackNoRule,
    /// A user stack was cut: an unwind rule that tables cannot express.
    StackRuleUnsupported,
    /// A user stack was cut: an unwind rule needs a register whose value is not known.
    StackRegisterLost,
    /// A user stack was cut: its memory could not be read.
    StackUnreadable,
    /// A user stack was cut: the caller's frame would not lie above its callee's.
    StackNoProgress,
    /// A user stack was followed by frame pointers alone, before the mappings of its process were known.
    StackUnprepared,
    /// There were more Python frames than are kept.
    PythonTooDeep,
    /// Python frames were cut: memory of the interpreter could not be read.
    PythonUnreadable,
    /// Python frames were cut: one of them was being changed.
    PythonNotAFrame,
    /// A thread's Python frames were not found among too many threads.
    PythonThreadNotFound,
    /// Not all tasks that await a running task of asyncio could be read, or there was no room for them.
    PythonTasksCut,
    /// A process ended before its mappings were read.
    ProcessGone,
    /// The user half's table of stacks was full for this window.
    WindowFull,
    /// A difference of run delay was longer than its interval and was clamped.
    RunDelayClamped,
    /// A record could not be decoded.
    Undecodable,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [Self; 22] = [
        Self::StackRingFull,
        Self::LifecycleRingFull,
        Self::ThreadTableFull,
        Self::WalkRefused,
        Self::UserStackUnreadable,
        Self::StackTruncated,
        Self::StackUnmapped,
        Self::StackNoRule,
        Self::StackRuleUnsupported,
        Self::StackRegisterLost,
        Self::StackUnreadable,
        Self::StackNoProgress,
        Self::StackUnprepared,
        Self::PythonTooDeep,
        Self::PythonUnreadable,
        Self::PythonNotAFrame,
        Self::PythonThreadNotFound,
        Self::PythonTasksCut,
        Self::ProcessGone,
        Self::WindowFull,
        Self::RunDelayClamped,
        Self::Undecodable,
    ];

    /// The key in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::StackRingFull => "stack_ring_full",
            Self::LifecycleRingFull => "lifecycle_ring_full",
            Self::ThreadTableFull => "thread_table_full",
            Self::WalkRefused => "walk_refused",
            Self::UserStackUnreadable => "user_stack_unreadable",
            Self::StackTruncated => "stack_truncated",
            Self::StackUnmapped => "stack_unmapped",
            Self::StackNoRule => "stack_no_rule",
            Self::StackRuleUnsupported => "stack_rule_unsupported",
            Self::StackRegisterLost => "stack_register_lost",
            Self::StackUnreadable => "stack_unreadable",
            Self::StackNoProgress => "stack_no_progress",
            Self::StackUnprepared => "stack_unprepared",
            Self::PythonTooDeep => "python_too_deep",
            Self::PythonUnreadable => "python_unreadable",
            Self::PythonNotAFrame => "python_not_a_frame",
            Self::PythonThreadNotFound => "python_thread_not_found",
            Self::PythonTasksCut => "python_tasks_cut",
            Self::ProcessGone => "process_gone",
            Self::WindowFull => "window_full",
            Self::RunDelayClamped => "run_delay_clamped",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Counts by reason; reasons with a count of zero are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loss(BTreeMap<LossReason, u64>);

impl Loss {
    /// Counts `count` more losses for the reason.
    pub fn add(&mut self, reason: LossReason, count: u64) {
        if count > 0 {
            *self.0.entry(reason).or_default() += count;
        }
    }

    /// The count of one reason.
    pub fn of(&self, reason: LossReason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(reason, count)| self.add(reason, count));
    }

    /// The reasons with a count, in their fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (LossReason, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
