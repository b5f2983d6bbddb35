//! `bench`: what the daemon's hot paths cost, and what profiling costs the profiled program.
use super::live::build_daemon;
use crate::command::Command;
use crate::host;
use anyhow::{Result, bail};
use clap::Args;

/// Run the benchmarks.
///
/// Without --live: the daemon's hot paths, without privileges, in half a minute. With --live: CPU time per context
/// switch of a program that does nothing else, without, beside and under profilerd, time per run of each BPF program,
/// and the daemon's own time; this needs root, a quiet machine and six minutes. With --peers: unwinding beside `perf
/// record --call-graph dwarf` and profile-bee's DWARF mode, as far as they are installed, on a C program without frame
/// pointers at several depths and on python3.11, also with 200 executables mapped: what the program loses, what the
/// profilers take, and how many stacks are complete; root, a quiet machine, and two to three minutes for each of six
/// loads. With --python: the lines of a Python program beside py-spy, Austin and Scalene, as far as they are installed
/// in `peers-python` below the target folder: how far each is from the truth, and what it costs; root, a quiet machine
/// and three minutes. With --python-cost: what Python's stacks cost in the kernel, by their shape, and how much slower a
/// profiled program becomes; root, a quiet machine and eight minutes. With --waits: telling waits beside `offcputime` and
/// `perf record` of every switch, as far as they are installed, on `perf bench sched pipe`, `redis-benchmark` and a program
/// that computes: what they lose, time per run of each BPF program, and what the profilers take; root, a quiet machine and
/// eight minutes. The tables of `docs/cost.md` come from here.
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure what profiling costs on this machine's kernel instead.
    #[arg(long, conflicts_with_all = ["filter", "peers", "python", "waits"])]
    live: bool,
    /// Measure unwinding beside other profilers instead.
    #[arg(long)]
    peers: bool,
    /// Compare the lines of a Python program with other profilers instead; on this interpreter, or Debian's.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["filter", "peers"])]
    python: Option<String>,
    /// Measure what Python's stacks cost, and how much slower a program becomes, instead; on this version, such as 3.14, or on
    /// 3.11 and 3.14.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["peers", "python", "live"])]
    python_cost: Option<String>,
    /// Measure telling waits beside other profilers instead.
    #[arg(long, conflicts_with_all = ["peers", "python", "python_cost"])]
    waits: bool,
    /// Samples per second and CPU, for --peers.
    #[arg(long, value_name = "HZ", default_value_t = 997, requires = "peers")]
    frequency: u32,
    /// Only benchmarks, or loads, whose names contain this.
    filter: Option<String>,
}

impl Bench {
    /// Runs them.
    ///
    /// # Errors
    /// When one fails, and when --live, --peers, --python, --python-cost or --waits cannot run here.
    pub(crate) fn run(self) -> Result<()> {
        if self.live {
            return measure_live(&[]);
        }
        if let Some(interpreter) = self.python {
            return measure_live(&["python", &interpreter]);
        }
        if let Some(version) = self.python_cost {
            return measure_live(&["python-cost", &version, self.filter.as_deref().unwrap_or_default()]);
        }
        if self.waits {
            return measure_live(&["waits", self.filter.as_deref().unwrap_or_default()]);
        }
        if self.peers {
            let hz = self.frequency.to_string();
            return measure_live(&["peers", self.filter.as_deref().unwrap_or_default(), hz.as_str()]);
        }
        Command::cargo()
            .args(["bench", "-p", "profiler-daemon", "--bench", "hot_paths", "--"])
            .args(self.filter)
            .advice("mend the complaints above")
            .run()
    }
}

fn measure_live(arguments: &[&str]) -> Result<()> {
    if let Some(why) = host::live_obstacle() {
        bail!("the cost of profiling cannot be measured here: {why}");
    }
    let daemon = build_daemon()?;
    Command::cargo()
        .args(["run", "--release", "-p", "profiler-tests", "--bin", "live_cost", "--"])
        .args(arguments)
        .env("PROFILERD_BIN", daemon)
        .env("PROFILERD_LIVE", "required")
        .advice("the message above says what is wrong")
        .run()
}
