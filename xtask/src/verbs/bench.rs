//! `bench`: what the daemon's hot paths cost, and what profiling costs the profiled program.
use super::live::build_daemon;
use crate::command::Command;
use crate::host;
use anyhow::{Result, bail};
use clap::Args;

/// Run the benchmarks.
///
/// Without --live: the daemon's hot paths, without privileges, in half a minute. With --live: CPU time per context switch
/// of a program that does nothing else, without, beside and under profilerd, time per run of each BPF program, and the
/// daemon's own time; this needs root, a quiet machine and six minutes. The tables of `docs/cost.md` come from here.
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure what profiling costs on this machine's kernel instead.
    #[arg(long, conflicts_with = "filter")]
    live: bool,
    /// Only benchmarks whose names contain this.
    filter: Option<String>,
}

impl Bench {
    /// Runs them.
    ///
    /// # Errors
    /// When one fails, and when --live cannot run here.
    pub(crate) fn run(self) -> Result<()> {
        if self.live {
            return measure_live();
        }
        Command::cargo()
            .args(["bench", "-p", "profiler-daemon", "--bench", "hot_paths", "--"])
            .args(self.filter)
            .advice("mend the complaints above")
            .run()
    }
}

fn measure_live() -> Result<()> {
    if let Some(why) = host::live_obstacle() {
        bail!("the cost of profiling cannot be measured here: {why}");
    }
    let daemon = build_daemon()?;
    Command::cargo()
        .args(["run", "--release", "-p", "profiler-tests", "--bin", "live_cost"])
        .env("PROFILERD_BIN", daemon)
        .env("PROFILERD_LIVE", "required")
        .advice("the message above says what is wrong")
        .run()
}
