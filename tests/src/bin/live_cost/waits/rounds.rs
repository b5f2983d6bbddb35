//! The rounds in which the profilers take turns, and one longer look at each.

use std::time::Instant;

use anyhow::Result;

use super::load::{Batch, Load, Running};
use super::profiler::{Kind, Profiler};
use crate::meter::{Runs, difference, exact_cpu_time, map_bytes, peak_resident_bytes, runs_of, statistics};

/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 15;

/// Batches for which each profiler is watched at work.
const WATCHED: usize = 6;

/// A batch under a profiler, and those without one right before and after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comparison {
    /// Before it was started.
    pub(super) before: Batch,
    /// Under it.
    pub(super) with: Batch,
    /// After it had ended.
    pub(super) after: Batch,
}

/// What one profiler costs.
pub(super) struct Cost {
    /// The profiler.
    pub(super) kind: Kind,
    /// One comparison per round.
    pub(super) comparisons: Vec<Comparison>,
    /// What was seen in the longer look.
    pub(super) watched: Option<Watched>,
}

/// A profiler over some seconds.
pub(super) struct Watched {
    /// Its CPU time, as a part of the time it was watched.
    pub(super) own_time: f64,
    /// Its memory at the most.
    pub(super) resident_bytes: u64,
    /// The memory of its BPF maps.
    pub(super) map_bytes: u64,
    /// Its BPF programs in one more batch, with the kernel's statistics on.
    pub(super) programs: Vec<Runs>,
    /// What the load did in that batch.
    pub(super) batch: Batch,
}

/// What each profiler costs on this load, which runs on the last CPU; `None` where the load is not to be had.
pub(super) fn costs(load: Load, last_cpu: usize) -> Result<Option<Vec<Cost>>> {
    let Some(mut running) = load.start(last_cpu)? else { return Ok(None) };
    let cost = |kind| Cost { kind, comparisons: Vec::new(), watched: None };
    let mut costs: Vec<_> = Kind::all().into_iter().map(cost).collect();
    running.batch()?;
    let mut before = running.batch()?;
    for _ in 0..ROUNDS {
        for cost in &mut costs {
            let profiler = cost.kind.start(running.pid())?;
            // What it does once, after it has started, is not what it costs.
            running.batch()?;
            let with = running.batch()?;
            profiler.finish()?;
            let after = running.batch()?;
            cost.comparisons.push(Comparison { before, with, after });
            before = after;
        }
    }
    for cost in &mut costs {
        cost.watched = Some(watch(&cost.kind, &mut running)?);
    }
    Ok(Some(costs))
}

fn watch(kind: &Kind, running: &mut Running) -> Result<Watched> {
    let profiler = kind.start(running.pid())?;
    let pid = profiler.pid();
    running.batch()?;
    let (cpu, begin) = (exact_cpu_time(pid)?, Instant::now());
    for _ in 0..WATCHED {
        running.batch()?;
    }
    let own_time = (exact_cpu_time(pid)?.saturating_sub(cpu)).as_secs_f64() / begin.elapsed().as_secs_f64();
    let (resident_bytes, map_bytes) = (peak_resident_bytes(pid)?, map_bytes(pid)?);
    let (programs, batch) = timed_batch(&profiler, running)?;
    profiler.finish()?;
    Ok(Watched { own_time, resident_bytes, map_bytes, programs, batch })
}

/// The BPF statistics cost time, so they are on in a batch of their own.
fn timed_batch(profiler: &Profiler, running: &mut Running) -> Result<(Vec<Runs>, Batch)> {
    let _statistics = statistics()?;
    let before = runs_of(profiler.pid())?;
    let batch = running.batch()?;
    Ok((difference(&before, &runs_of(profiler.pid())?), batch))
}
