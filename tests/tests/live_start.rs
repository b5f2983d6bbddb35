//! How soon the first complete sample stands: half a second after `hotspots` is started.
//!
//! The bound is checked from outside and on the whole command: everything it takes beyond the time it was told to sample
//! (loading, attaching, symbolizing, printing). That is more than the time to the first sample, so it proves the promise
//! wherever it holds. The best of five runs counts: other work on the machine can only add.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::daemon::command;
use profiler_tests::{Hotspots, Program, Workload, live_host, tell};

const SAMPLED: Duration = Duration::from_millis(200);
const PROMISED: Duration = Duration::from_millis(500);

#[test]
fn the_first_complete_sample_stands_within_half_a_second() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["spin_forever"])?;
    workload.go()?;
    let mut beyond = Vec::new();
    for _ in 0..5 {
        beyond.push(time_beyond_sampling(workload.pid())?);
    }
    tell(&format!("hotspots takes beyond its {SAMPLED:?} of sampling: {beyond:?}"));
    let best = beyond.iter().min().context("nothing was measured")?;
    ensure!(*best <= PROMISED, "{best:?} beyond the sampling");
    Ok(())
}

fn time_beyond_sampling(pid: u32) -> Result<Duration> {
    let arguments = ["hotspots", "--pid", &pid.to_string(), "--duration", "200ms", "--json"];
    let start = Instant::now();
    let ended = Program::start(command(&arguments))?.finish(Duration::from_secs(30))?;
    let took = start.elapsed();
    let text = ended.lines.iter().skip_while(|line| !line.starts_with('{')).cloned().collect::<Vec<_>>().join("\n");
    let answer = serde_json::from_str(&text).with_context(|| format!("no JSON in {:?}", ended.lines))?;
    let hotspots = Hotspots::parse(&answer)?;
    ensure!(hotspots.row("never_stop").is_some_and(|row| row.samples > 0), "no sample in {hotspots:?}");
    Ok(took.saturating_sub(SAMPLED))
}
