//! How to sample: rates, windows, bounds, and which variant of the kernel half to load.

use std::path::PathBuf;
use std::time::Duration;

/// Everything the pipeline needs to know, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// On-CPU samples per CPU and second.
    pub frequency_hz: u32,
    /// T: waits at least this long are always captured, shorter ones in proportion to their length.
    pub wait_period: Duration,
    /// The length of a window.
    pub window: Duration,
    /// How far back windows are kept.
    pub history: Duration,
    /// How much memory the kept windows may take, in bytes.
    pub history_bytes: usize,
    /// Stack walks per CPU and second for waits, at most.
    pub walk_cap_hz: u32,
    /// Threads that can be accounted at once, at most.
    pub max_threads: u32,
    /// Which variant of the kernel half to load.
    pub variant: VariantChoice,
    /// Which hook sees a thread resume.
    pub switch_in: SwitchInChoice,
    /// Load this object instead of the built-in one.
    pub object: Option<PathBuf>,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            frequency_hz: 97,
            wait_period: Duration::from_millis(10),
            window: Duration::from_secs(10),
            history: Duration::from_secs(3600),
            history_bytes: 256 << 20,
            walk_cap_hz: 2000,
            max_threads: 65_536,
            variant: VariantChoice::Auto,
            switch_in: SwitchInChoice::Auto,
            object: None,
        }
    }
}

/// Where the kernel half keeps the state of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantChoice {
    /// Task storage if the kernel has it, else the hash.
    Auto,
    /// Task-local storage (Linux 5.15 on).
    Storage,
    /// A hash with a permanent entry per thread (Linux 5.10 on).
    Hash,
}

/// Which hook sees a thread resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchInChoice {
    /// The best one the kernel has.
    Auto,
    /// The `sched_exit_tp` tracepoint (Linux 6.15 on).
    SchedExit,
    /// A kprobe on `finish_task_switch`.
    Kprobe,
    /// `sched_switch` alone: exact totals, but no stacks of waits.
    SchedSwitch,
}
