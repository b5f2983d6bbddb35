//! One sampling from start to profile: the progress on the terminal, and Ctrl-C.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::sampling_flags::{HistoryFlags, SamplingFlags};
use super::selection::SelectionFlags;
use crate::pipeline::Session;
use crate::process::{ProcWorld, resolve};
use crate::profile::Profile;
use crate::settings::quantity::parse_duration;
use crate::settings::{SamplingSettings, Selector};

/// What a command exits with when a second Ctrl-C aborts it: 128 and the number of the signal, as shells say it.
const ABORTED: i32 = 128 + SIGINT;

/// The flags of every one-shot command.
#[derive(Debug, Args)]
pub(super) struct SessionFlags {
    #[command(flatten)]
    selection: SelectionFlags,
    /// How long to sample; Ctrl-C ends it early and keeps what was gathered
    #[arg(long, short, value_name = "TIME", default_value = "10s", help_heading = "Options")]
    duration: String,
    #[command(flatten)]
    sampling: SamplingFlags,
}

/// A sampling that is ready to start: everything that was typed is understood.
pub(super) struct Plan {
    selectors: Vec<Selector>,
    settings: SamplingSettings,
    duration: Duration,
}

impl SessionFlags {
    /// What the flags mean. Nothing is loaded yet.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
        let duration = parse_duration("--duration", &self.duration, allowed).context("failed to read the flags")?;
        let settings = self.sampling.settings(&HistoryFlags::default()).context("failed to read the flags")?;
        Ok(Plan { selectors: self.selection.selectors()?, settings, duration })
    }
}

impl Plan {
    /// The same without reading source files, for results that do not show them.
    pub(super) fn without_source_text(mut self) -> Self {
        self.settings.source_text = false;
        self
    }

    /// Samples for the planned time or until Ctrl-C; a second Ctrl-C aborts.
    pub(super) fn sample(&self) -> anyhow::Result<Profile> {
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(&stop).context("failed to watch for Ctrl-C")?;
        self.tell_if_nobody_is_meant();
        let session = Session::start(&self.settings, &self.selectors).context("failed to start sampling")?;
        let bar = progress_bar(self.duration);
        let profile = session.wait(self.duration, &stop, &mut |elapsed| bar.set_position(milliseconds(elapsed)));
        bar.finish_and_clear();
        let profile = profile.context("failed to sample")?;
        if profile.tasks.is_empty() && !self.selectors.is_empty() {
            anyhow::bail!(
                "failed to find anything: no process was {} while it sampled; `profilerd breakdown --all` shows what runs",
                self.meant()
            );
        }
        Ok(profile)
    }

    /// Says at once, not only when the time is over, that nothing runs that is to be sampled: it may start yet, or be misspelled.
    fn tell_if_nobody_is_meant(&self) {
        let is_nobody = |selector: &Selector| resolve(selector, &ProcWorld).is_ok_and(|pids| pids.is_empty());
        if !self.selectors.is_empty() && self.selectors.iter().all(is_nobody) {
            let seconds = self.duration.as_secs_f64();
            eprintln!("no process is {} now; watching for one to start, for {seconds} s", self.meant());
        }
    }

    /// The selectors as text.
    fn meant(&self) -> String {
        self.selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
    }
}

/// The first signal sets the flag, a second one ends the program.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, ABORTED, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(())
}

/// A bar on standard error if that is a terminal, else nothing.
fn progress_bar(duration: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("sampling {wide_bar} {elapsed}, Ctrl-C ends early");
    let bar = ProgressBar::with_draw_target(Some(milliseconds(duration)), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
