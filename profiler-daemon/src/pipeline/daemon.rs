//! What a running daemon can be asked and told: the one door of `http` and `cli` into the pipeline.

use std::collections::BTreeSet;
use std::time::Duration;

use super::unwinder::{UnwindStatus, UnwindTotals};
use crate::aggregate::LifetimeLengths;
use crate::profile::{Place, ProcessNow, Profile, TaskTotals, TimeRange, Timestamp, WaitPeriods};
use crate::settings::Selector;

/// A running daemon. Methods may block for some milliseconds; call them off the async executor.
pub trait Daemon: Send + Sync + 'static {
    /// Now, by the clock that stamps windows; the system's may have been set since. Never blocks.
    fn now(&self) -> Timestamp;
    /// What runs, since when, and which fallbacks were chosen.
    fn status(&self) -> Result<Status, DaemonError>;
    /// The processes selected now.
    fn processes(&self) -> Result<Vec<ProcessStatus>, DaemonError>;
    /// The selections in force.
    fn targets(&self) -> Result<Vec<Target>, DaemonError>;
    /// Selects processes, for `lifetime` if given. Returns when the kernel half accounts them.
    fn add_target(&self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, DaemonError>;
    /// Ends a selection. The history stays.
    fn remove_target(&self, id: TargetId) -> Result<(), DaemonError>;
    /// The windows that overlap the range, merged; includes the open window if the range reaches it.
    fn profile(&self, range: QueryRange) -> Result<Profile, DaemonError>;
    /// The pids of the processes alive now that the selector means, whether selected or not.
    fn resolve(&self, selector: &Selector) -> Result<BTreeSet<u32>, DaemonError>;
    /// What all threads of a process do now, whether it is selected or not.
    fn threads(&self, pid: u32) -> Result<ProcessNow<Place>, DaemonError>;
    /// Exact totals since the start of the daemon, by the name of the process.
    fn lifetime_totals(&self) -> Result<Vec<(String, TaskTotals)>, DaemonError>;
}

/// The identity of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// A selection in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its identity.
    pub id: TargetId,
    /// What it selects.
    pub selector: Selector,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// How many processes it selects now.
    pub processes: usize,
}

/// A range of time as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryRange {
    /// The given time until now.
    Last(Duration),
    /// The given range.
    Between(TimeRange),
}

/// What the daemon is and does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// When the daemon started.
    pub started: Timestamp,
    /// Whether the kernel half is loaded and attached.
    pub attached: bool,
    /// The kernel's release.
    pub kernel: String,
    /// Which object is loaded: `storage` or `hash`.
    pub variant: String,
    /// Which hook sees a thread resume: `sched_exit_tp`, `kprobe` or `sched_switch`.
    pub switch_in: String,
    /// Each fallback in words: what is missing, and what it costs. Empty on a kernel that has everything.
    pub fallbacks: Vec<String>,
    /// On-CPU samples per CPU and second.
    pub frequency_hz: u32,
    /// Stacks captured for waits per CPU and second, on average.
    pub wait_budget_hz: u32,
    /// T of the CPUs now.
    pub wait_periods: WaitPeriods,
    /// The length of a window.
    pub window_ns: u64,
    /// Threads accounted now.
    pub threads: u64,
    /// Windows in memory.
    pub windows: u64,
    /// Memory the windows take, in bytes.
    pub history_bytes: u64,
    /// The most memory they may take.
    pub history_limit_bytes: u64,
    /// How the walking of user stacks is prepared.
    pub unwind: UnwindTotals,
    /// Lifetime counters by the name of the metric without `profilerd_` and `_total`, e.g. `stack_walks`.
    pub counters: Vec<(&'static str, u64)>,
    /// How long waits were since the start, of all processes.
    pub wait_lengths: LifetimeLengths,
    /// Everything lost since the start.
    pub loss: crate::profile::Loss,
    /// The longest time the collector was away from its rings while something was sampled, in nanoseconds.
    pub longest_absence_ns: u64,
    /// The daemon's own CPU time in nanoseconds.
    pub self_cpu_ns: u64,
    /// The daemon's resident memory in bytes.
    pub self_rss_bytes: u64,
}

/// A selected process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The pid in the initial PID namespace.
    pub pid: u32,
    /// The name of the thread-group leader. Untrusted text.
    pub comm: String,
    /// The path of the executable in the process's own root, if readable. Untrusted text.
    pub exe: Option<String>,
    /// Threads accounted now.
    pub threads: u64,
    /// The targets that select it.
    pub targets: Vec<TargetId>,
    /// How far walking its stacks is prepared; `None` if that has not begun.
    pub unwind: Option<UnwindStatus>,
}

/// Why the daemon could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DaemonError {
    /// There is no such process.
    #[error("no process has pid {0}; pids are those of the host's initial PID namespace")]
    NoSuchProcess(u32),
    /// The process exists but is not selected.
    #[error("process {0} is not selected; select it with POST /api/v1/targets {{\"select\":\"pid:{0}\"}}")]
    NotSelected(u32),
    /// No process matches what was asked for; named in text that is safe to print.
    #[error("no process alive now matches {0}; GET /api/v1/processes lists the selected ones")]
    NothingMatches(String),
    /// Processes match a selector, but none of them is selected; the selector in text that is safe to print.
    #[error("no process that matches {0} is selected; select with POST /api/v1/targets {{\"select\":\"{0}\"}}")]
    NothingSelected(String),
    /// There is no such target.
    #[error("no target has id {0}; GET /api/v1/targets lists them")]
    NoSuchTarget(u32),
    /// All target slots are taken.
    #[error("{0} targets are in force, which is the most; DELETE one first")]
    TooManyTargets(usize),
    /// The range lies before the history or in the future.
    #[error("no window covers that time; the history begins at {0}")]
    NoHistory(String),
    /// The kernel refused something.
    #[error("{0}")]
    Kernel(String),
    /// The daemon is shutting down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// A thread it cannot do without ended.
    #[error("a thread of the daemon ended unexpectedly, so the daemon ends; its log says why")]
    ThreadLost,
}
