//! The rounds in which the profilers take turns, and one longer look at each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::load::{Batch, Load, Running};
use super::profiler::{Finding, Kind, Profiler};
use super::stacks::Stacks;
use crate::meter::{
    Runs, bytes_written, children_cpu_time, cpu_time, difference, exact_cpu_time, map_bytes, peak_resident_bytes,
    runs_of, statistics,
};

/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 5;

/// Batches, of a second each, for which each profiler is watched.
const WATCHED: usize = 5;

/// One second right after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// Without a profiler.
    pub(super) without: Batch,
    /// Under one.
    pub(super) with: Batch,
}

/// What one profiler costs and finds.
pub(super) struct Cost {
    /// The profiler.
    pub(super) kind: Kind,
    /// One comparison per round.
    pub(super) pairs: Vec<Pair>,
    /// What was seen in the longer look.
    pub(super) watched: Option<Watched>,
}

/// A profiler over some seconds.
pub(super) struct Watched {
    /// How long.
    pub(super) lasted: Duration,
    /// Its CPU time until it sampled, meanwhile, and from then until its stacks were text.
    pub(super) cpu: [Duration; 3],
    /// Its memory at the most, and that of what walks stacks afterwards.
    pub(super) resident_bytes: [u64; 2],
    /// The memory of its BPF maps.
    pub(super) map_bytes: u64,
    /// What it wrote meanwhile.
    pub(super) written_bytes: u64,
    /// Its BPF programs in one more batch, with the kernel's statistics on.
    pub(super) programs: Vec<Runs>,
    /// What it says about the stacks.
    pub(super) stacks: Stacks,
}

/// Leaves the last CPU, where the load of one thread runs, to it: profilers inherit the choice. Returns its number.
pub(crate) fn leave_the_last_cpu() -> Result<usize> {
    let mut cpus = sched_getaffinity(None).context("failed to read the allowed CPUs")?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| cpus.is_set(*cpu)).context("no CPU is allowed")?;
    if cpus.count() > 1 {
        cpus.unset(last);
        sched_setaffinity(None, &cpus).context("failed to leave a CPU")?;
    }
    Ok(last)
}

/// What each profiler costs on this load. They take turns, round by round.
pub(super) fn costs(load: &Load, frequency_hz: u32) -> Result<Vec<Cost>> {
    let cost = |kind| Cost { kind, pairs: Vec::new(), watched: None };
    let mut costs: Vec<_> = Kind::all().into_iter().map(cost).collect();
    let mut running = load.start(frequency_hz)?;
    running.batch()?;
    for _ in 0..ROUNDS {
        costs.iter_mut().try_for_each(|cost| compare(cost, &mut running, frequency_hz))?;
    }
    let mut walking = costs.iter_mut().filter(|cost| cost.kind.has_stacks());
    walking.try_for_each(|cost| watch(cost, load, &mut running, frequency_hz))?;
    Ok(costs)
}

fn compare(cost: &mut Cost, running: &mut Running, frequency_hz: u32) -> Result<()> {
    let without = running.batch()?;
    let _profiler = cost.kind.start(running.pid(), frequency_hz)?;
    cost.pairs.push(Pair { without, with: running.batch()? });
    Ok(())
}

fn watch(cost: &mut Cost, load: &Load, running: &mut Running, frequency_hz: u32) -> Result<()> {
    let profiler = cost.kind.start(running.pid(), frequency_hz)?;
    let pid = profiler.pid();
    let (started, begin, written) = (exact_cpu_time(pid)?, Instant::now(), bytes_written(pid)?);
    for _ in 0..WATCHED {
        running.batch()?;
    }
    let (lasted, worked) = (begin.elapsed(), exact_cpu_time(pid)?);
    let written_bytes = bytes_written(pid)? - written;
    let (resident, map_bytes) = (peak_resident_bytes(pid)?, map_bytes(pid)?);
    let programs = timed_batch(&profiler, running)?;
    let (before, others) = (cpu_time(pid)?, children_cpu_time()?);
    let Finding { stacks, resident_bytes } = profiler.finish(running.pid(), load.roots())?;
    let after = (children_cpu_time()? - others).saturating_sub(before);
    let resident_bytes = [resident, resident_bytes];
    let cpu = [started, worked.saturating_sub(started), after];
    cost.watched = Some(Watched { lasted, cpu, resident_bytes, map_bytes, written_bytes, programs, stacks });
    Ok(())
}

/// The BPF statistics cost time, so they are on in a batch of their own.
fn timed_batch(profiler: &Profiler, running: &mut Running) -> Result<Vec<Runs>> {
    let _statistics = statistics()?;
    let before = runs_of(profiler.pid())?;
    running.batch()?;
    Ok(difference(&before, &runs_of(profiler.pid())?))
}
