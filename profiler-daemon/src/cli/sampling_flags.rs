//! How to sample, as flags.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::naming_flags::NamingFlags;
use crate::settings::quantity::{parse_bytes, parse_duration, parse_number};
use crate::settings::sampling::{
    FREQUENCY_HZ, HISTORY, HISTORY_BYTES, MAX_THREADS, WAIT_BUDGET_HZ, WAIT_PERIOD, WINDOW,
};
use crate::settings::{SamplingSettings, SettingsError, SwitchInChoice, VariantChoice, WakerChoice};

/// The flags of every command that samples.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How to sample")]
pub(super) struct SamplingFlags {
    /// On-CPU samples per CPU and second, 1 to 1000 [default: 97]
    #[arg(long, value_name = "HZ")]
    frequency: Option<String>,
    /// Stacks captured for waits per CPU and second, on average; in a burst four times as many, and
    /// what is refused is counted [default: 200]
    #[arg(long, value_name = "HZ")]
    wait_budget: Option<String>,
    /// Waits at least this long always have their stack captured, shorter ones in proportion; 0
    /// captures every wait [default: what the budget allows, from 1ms to 10s]
    #[arg(long, value_name = "TIME")]
    wait_period: Option<String>,
    /// Threads accounted at once, at most [default: 65536]
    #[arg(long, value_name = "N")]
    max_threads: Option<String>,
    /// Do not look at the suspended tasks of asyncio event loops (Python 3.14 on) while these wait, to tell
    /// which lines with an await they waited for
    #[arg(long)]
    no_await: bool,
    /// Whether to tell who ended a wait: `ids` runs a small program each time a thread is woken
    /// [default: ids]
    #[arg(long, value_enum)]
    wakers: Option<WakersWord>,
    /// Where the kernel half keeps the state of a thread
    #[arg(long, hide = true, value_enum)]
    variant: Option<VariantWord>,
    /// Which hook sees a thread resume
    #[arg(long, hide = true, value_enum)]
    switch_in: Option<SwitchInWord>,
    /// Load this object instead of the built-in one
    #[arg(long, hide = true, value_name = "FILE")]
    object: Option<PathBuf>,
    #[command(flatten)]
    naming: NamingFlags,
}

/// The flags of the daemon's history.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to keep")]
pub(super) struct HistoryFlags {
    /// The length of a window, the step of the history [default: 10s]
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// How far back windows are kept [default: 1h]
    #[arg(long, value_name = "TIME")]
    history: Option<String>,
    /// Memory the windows may take; the oldest go first [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    history_memory: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum VariantWord {
    Auto,
    Storage,
    Hash,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SwitchInWord {
    Auto,
    #[value(name = "sched_exit_tp")]
    SchedExit,
    Kprobe,
    #[value(name = "sched_switch")]
    SchedSwitch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WakersWord {
    Off,
    Ids,
}

impl SamplingFlags {
    /// The settings the flags mean.
    pub(super) fn settings(&self, history: &HistoryFlags) -> Result<SamplingSettings, SettingsError> {
        let mut settings = SamplingSettings::default();
        self.set_rates(&mut settings)?;
        self.set_kernel_half(&mut settings);
        settings.awaits = !self.no_await;
        self.naming.set(&mut settings)?;
        history.set(&mut settings)?;
        settings.validate()?;
        Ok(settings)
    }

    fn set_rates(&self, settings: &mut SamplingSettings) -> Result<(), SettingsError> {
        if let Some(text) = &self.frequency {
            settings.frequency_hz = parse_number("--frequency", text, FREQUENCY_HZ)?;
        }
        if let Some(text) = &self.wait_period {
            settings.wait_period = Some(parse_duration("--wait-period", text, WAIT_PERIOD)?);
        }
        if let Some(text) = &self.wait_budget {
            settings.wait_budget_hz = parse_number("--wait-budget", text, WAIT_BUDGET_HZ)?;
        }
        if let Some(text) = &self.max_threads {
            settings.max_threads = parse_number("--max-threads", text, MAX_THREADS)?;
        }
        Ok(())
    }

    fn set_kernel_half(&self, settings: &mut SamplingSettings) {
        settings.variant = match self.variant {
            None | Some(VariantWord::Auto) => VariantChoice::Auto,
            Some(VariantWord::Storage) => VariantChoice::Storage,
            Some(VariantWord::Hash) => VariantChoice::Hash,
        };
        settings.switch_in = match self.switch_in {
            None | Some(SwitchInWord::Auto) => SwitchInChoice::Auto,
            Some(SwitchInWord::SchedExit) => SwitchInChoice::SchedExit,
            Some(SwitchInWord::Kprobe) => SwitchInChoice::Kprobe,
            Some(SwitchInWord::SchedSwitch) => SwitchInChoice::SchedSwitch,
        };
        settings.wakers = match self.wakers {
            None | Some(WakersWord::Ids) => WakerChoice::Ids,
            Some(WakersWord::Off) => WakerChoice::Off,
        };
        settings.object.clone_from(&self.object);
    }
}

impl HistoryFlags {
    fn set(&self, settings: &mut SamplingSettings) -> Result<(), SettingsError> {
        if let Some(text) = &self.window {
            settings.window = parse_duration("--window", text, WINDOW)?;
        }
        if let Some(text) = &self.history {
            settings.history = parse_duration("--history", text, HISTORY)?;
        }
        if let Some(text) = &self.history_memory {
            settings.history_bytes = parse_bytes("--history-memory", text, HISTORY_BYTES)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ServerUrl;
    use std::time::Duration;

    #[test]
    fn no_flags_mean_the_defaults() {
        let settings = SamplingFlags::default().settings(&HistoryFlags::default());
        assert_eq!(settings, Ok(SamplingSettings::default()));
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let text = |text: &str| Some(text.to_owned());
        let flags = SamplingFlags {
            frequency: text("199"),
            wait_period: text("1ms"),
            wait_budget: text("500"),
            max_threads: text("1000"),
            no_await: true,
            variant: Some(VariantWord::Hash),
            switch_in: Some(SwitchInWord::Kprobe),
            wakers: Some(WakersWord::Off),
            object: Some("x.o".into()),
            naming: NamingFlags {
                cache_dir: text("/x"),
                cache_limit: text("64MiB"),
                debuginfod: vec!["http://a".to_owned(), "https://b/c/".to_owned()],
                no_source: true,
            },
        };
        let history = HistoryFlags { window: text("1s"), history: text("2m"), history_memory: text("64MiB") };
        let expected = SamplingSettings {
            frequency_hz: 199,
            wait_period: Some(Duration::from_millis(1)),
            wait_budget_hz: 500,
            max_threads: 1000,
            variant: VariantChoice::Hash,
            switch_in: SwitchInChoice::Kprobe,
            wakers: WakerChoice::Off,
            object: Some("x.o".into()),
            window: Duration::from_secs(1),
            history: Duration::from_secs(120),
            history_bytes: 64 << 20,
            cache_dir: Some("/x".into()),
            cache_limit: 64 << 20,
            debuginfod: ["http://a", "https://b/c"].map(|url| ServerUrl::parse("x", url).unwrap()).to_vec(),
            source_text: false,
            awaits: false,
            stop_signal: 0,
        };
        assert_eq!(flags.settings(&history), Ok(expected));
    }

    #[test]
    fn no_cache_is_kept_where_none_is_wanted() {
        let mut flags = SamplingFlags::default();
        flags.naming.cache_dir = Some("none".to_owned());
        assert_eq!(flags.settings(&HistoryFlags::default()).unwrap().cache_dir, None);
        flags.naming.debuginfod = vec!["https://a".to_owned()];
        let message = flags.settings(&HistoryFlags::default()).unwrap_err().to_string();
        assert!(message.contains("--cache-dir"), "{message}");
    }

    #[test]
    fn a_bad_value_names_the_flag_and_the_range() {
        let flags = SamplingFlags { frequency: Some("5000".to_owned()), ..SamplingFlags::default() };
        let message = flags.settings(&HistoryFlags::default()).unwrap_err().to_string();
        assert_eq!(message, "--frequency `5000` is not valid: write a whole number from 1 to 1000");
    }
}
