//! How to sample: rates, windows, bounds, and which variant of the kernel half to load.

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use profiler_common::limits::{WAIT_PERIOD_LEAST_NS, WAIT_PERIOD_MOST_NS, WAIT_PERIOD_START_NS};
use profiler_common::wait_budget::WaitBudget;

use super::quantity::friendly;
use super::{ServerUrl, SettingsError};

/// The allowed [`SamplingSettings::frequency_hz`].
pub const FREQUENCY_HZ: RangeInclusive<u32> = 1..=1000;
/// The allowed [`SamplingSettings::wait_period`]. Zero captures every wait.
pub const WAIT_PERIOD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_nanos(WAIT_PERIOD_MOST_NS);
/// The allowed [`SamplingSettings::window`].
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// The allowed [`SamplingSettings::history`].
pub const HISTORY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
/// The allowed [`SamplingSettings::history_bytes`].
pub const HISTORY_BYTES: RangeInclusive<usize> = (1 << 20)..=(64 << 30);
/// The allowed [`SamplingSettings::wait_budget_hz`].
pub const WAIT_BUDGET_HZ: RangeInclusive<u32> = 1..=1_000_000;
/// The allowed [`SamplingSettings::max_threads`]: the kernel gives out no more thread ids.
pub const MAX_THREADS: RangeInclusive<u32> = 16..=4_194_304;

/// The allowed [`SamplingSettings::cache_limit`].
pub const CACHE_LIMIT: RangeInclusive<usize> = (16 << 20)..=(1 << 40);

/// Everything the pipeline needs to know, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// On-CPU samples per CPU and second.
    pub frequency_hz: u32,
    /// T: waits at least this long are always captured, shorter ones in proportion to their length.
    /// Zero captures every wait. If absent, each CPU sets its own, so that it keeps to the budget.
    pub wait_period: Option<Duration>,
    /// The length of a window.
    pub window: Duration,
    /// How far back windows are kept.
    pub history: Duration,
    /// How much memory the kept windows may take, in bytes.
    pub history_bytes: usize,
    /// Stacks captured for waits per CPU and second, on average. In a tenth of a second there are four times as many at most.
    pub wait_budget_hz: u32,
    /// Threads that can be accounted at once, at most.
    pub max_threads: u32,
    /// Which variant of the kernel half to load.
    pub variant: VariantChoice,
    /// Which hook sees a thread resume.
    pub switch_in: SwitchInChoice,
    /// Whether to tell who ended a wait.
    pub wakers: WakerChoice,
    /// Load the objects of this folder instead of the built-in ones.
    pub object: Option<PathBuf>,
    /// The signal each captured thread is sent, so that a test can look at the very stack that was captured; zero, and not
    /// to be had by any flag, otherwise.
    pub stop_signal: u32,
    /// Where files are kept from run to run that are slow to make or to fetch; `None` keeps nothing.
    pub cache_dir: Option<PathBuf>,
    /// How much each kind of these files may take, in bytes.
    pub cache_limit: u64,
    /// Servers asked for debug information that this host does not have, in their order.
    pub debuginfod: Vec<ServerUrl>,
    /// Whether to read the source text of lines, in the roots of the processes.
    pub source_text: bool,
    /// Whether to look at the suspended tasks of event loops.
    pub awaits: bool,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            frequency_hz: 97,
            wait_period: None,
            window: Duration::from_secs(10),
            history: Duration::from_secs(3600),
            history_bytes: 256 << 20,
            wait_budget_hz: 200,
            max_threads: 65_536,
            variant: VariantChoice::Auto,
            switch_in: SwitchInChoice::Auto,
            wakers: WakerChoice::Ids,
            object: None,
            stop_signal: 0,
            cache_dir: Some("/var/cache/profilerd".into()),
            cache_limit: 2 << 30,
            debuginfod: Vec::new(),
            source_text: true,
            awaits: true,
        }
    }
}

impl SamplingSettings {
    /// What each CPU makes of the budget and the period.
    pub fn wait_budget(&self) -> WaitBudget {
        let fixed_ns = self.wait_period.map(|period| period.as_nanos() as u64);
        WaitBudget {
            captures_hz: self.wait_budget_hz.into(),
            start_ns: fixed_ns.unwrap_or(WAIT_PERIOD_START_NS),
            least_ns: fixed_ns.unwrap_or(WAIT_PERIOD_LEAST_NS),
            most_ns: fixed_ns.unwrap_or(WAIT_PERIOD_MOST_NS),
        }
    }

    /// Checks every bound, and that the history holds a window. The error names the setting as on the command line.
    pub fn validate(&self) -> Result<(), SettingsError> {
        check("frequency", self.frequency_hz, FREQUENCY_HZ, |hz| format!("{hz}"))?;
        check("wait-period", self.wait_period.unwrap_or_default(), WAIT_PERIOD, friendly)?;
        check("window", self.window, WINDOW, friendly)?;
        check("history", self.history, HISTORY, friendly)?;
        check("history-memory", self.history_bytes, HISTORY_BYTES, |bytes| format!("{}MiB", bytes >> 20))?;
        check("wait-budget", self.wait_budget_hz, WAIT_BUDGET_HZ, |hz| format!("{hz}"))?;
        check("max-threads", self.max_threads, MAX_THREADS, |threads| format!("{threads}"))?;
        if self.history < self.window {
            return Err(SettingsError::Conflict("history is shorter than window; lengthen it or shorten window"));
        }
        if self.cache_dir.is_none() && !self.debuginfod.is_empty() {
            return Err(SettingsError::Conflict(
                "what --debuginfod fetches is kept on disk; name a directory with --cache-dir",
            ));
        }
        Ok(())
    }
}

fn check<T: PartialOrd + Copy + Debug, S: Display>(
    name: &'static str,
    value: T,
    allowed: RangeInclusive<T>,
    show: impl Fn(T) -> S,
) -> Result<(), SettingsError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let expected = format!("write a value from {} to {}", show(*allowed.start()), show(*allowed.end()));
    Err(SettingsError::value(name, &show(value).to_string(), expected))
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

/// Whether to tell who ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakerChoice {
    /// Not at all: no program runs when threads are woken.
    Off,
    /// By thread, process and context.
    Ids,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(SamplingSettings::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_names_the_setting_and_the_bounds() {
        let faster = SamplingSettings { frequency_hz: 1001, ..SamplingSettings::default() };
        assert_eq!(
            faster.validate().unwrap_err().to_string(),
            "frequency `1001` is not valid: write a value from 1 to 1000"
        );
        let window = SamplingSettings { window: Duration::ZERO, ..SamplingSettings::default() };
        assert_eq!(
            window.validate().unwrap_err().to_string(),
            "window `0s` is not valid: write a value from 100ms to 1h"
        );
    }

    #[test]
    fn a_history_shorter_than_one_window_is_refused() {
        let short = SamplingSettings {
            history: Duration::from_secs(5),
            window: Duration::from_secs(10),
            ..SamplingSettings::default()
        };
        assert!(short.validate().unwrap_err().to_string().contains("shorter than window"));
    }
}
