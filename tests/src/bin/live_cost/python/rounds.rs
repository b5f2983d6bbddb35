//! The rounds in which the profilers take turns. Each run is a new process; each batch of its work is the same.

use std::time::Duration;

use anyhow::Result;
use profiler_tests::tell;
use profiler_tests::workload::scratch;

use super::lines::Lines;
use super::profiler::{Finding, Kind, scalene, scalene_finding};
use super::program::{Running, Truth};
use crate::meter::{children_cpu_time, cpu_time, peak_resident_bytes};

/// What one profiler costs and finds, over all rounds.
pub(super) struct Cost {
    /// The profiler.
    pub(super) kind: Kind,
    /// The program's time, and CPU time, under it, as parts of those without, by round.
    pub(super) slowed: Vec<[f64; 2]>,
    /// What it said, all rounds added up.
    pub(super) found: Finding,
    /// The truth of the same runs: CPU time, and time.
    pub(super) truth: [Lines; 2],
    /// What it took for itself, by round; nothing for one that is a part of the program.
    pub(super) own: Vec<Own>,
    /// Memory of the program at the most, beyond that without a profiler; only for one that is a part of it.
    pub(super) added_bytes: Vec<f64>,
}

/// What a profiler takes in one run.
pub(super) struct Own {
    /// CPU time until it sampled.
    pub(super) start: Duration,
    /// From then to its end, for each second of the program's work.
    pub(super) per_second: f64,
    /// Its memory at the most.
    pub(super) resident_bytes: f64,
}

/// One run of the program.
struct Run {
    truth: Truth,
    found: Finding,
    slowed: [f64; 2],
    own: Option<Own>,
    added_bytes: Option<f64>,
}

/// What each profiler costs. They take turns, round by round.
pub(super) fn costs(interpreter: &str, rounds: usize) -> Result<Vec<Cost>> {
    let mut costs: Vec<_> = Kind::all().into_iter().map(Cost::new).collect();
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for cost in &mut costs {
            cost.add(match cost.kind {
                Kind::Scalene => run_under_scalene(interpreter)?,
                _ => run_beside(interpreter, &cost.kind)?,
            });
        }
    }
    Ok(costs)
}

impl Cost {
    fn new(kind: Kind) -> Self {
        let (slowed, own, added_bytes) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, slowed, found: Finding::default(), truth: Default::default(), own, added_bytes }
    }

    fn add(&mut self, run: Run) {
        let now = &run.truth;
        self.slowed.push(run.slowed);
        self.truth[0].add_all(&now.cpu);
        self.truth[1].add_all(&now.wall);
        let found = [(&mut self.found.cpu, run.found.cpu), (&mut self.found.wall, run.found.wall)];
        for (sum, lines) in found {
            let Some(lines) = lines else { continue };
            sum.get_or_insert_default().add_all(&lines.without(&now.waiting));
        }
        self.own.extend(run.own);
        self.added_bytes.extend(run.added_bytes);
    }
}

/// The batch before and the one after, in the same process, are those without the profiler.
fn run_beside(interpreter: &str, kind: &Kind) -> Result<Run> {
    let mut running = Running::start(interpreter, 3)?;
    let before = running.work()?;
    let others = children_cpu_time()?;
    let profiler = kind.start(running.pid())?;
    let start = cpu_time(profiler.pid())?;
    let truth = running.work()?;
    let resident_bytes = peak_resident_bytes(profiler.pid())? as f64;
    let found = profiler.finish(running.pid())?;
    let all = children_cpu_time()?.saturating_sub(others);
    let per_second = all.saturating_sub(start).as_secs_f64() / (truth.wall_ns / 1e9);
    let slowed = slowed(&truth, [&before, &running.work()?]);
    Ok(Run { truth, found, slowed, own: Some(Own { start, per_second, resident_bytes }), added_bytes: None })
}

/// Scalene is there from the beginning: another process, of two batches, is without it.
fn run_under_scalene(interpreter: &str) -> Result<Run> {
    let file = scratch()?.join("python.scalene.json");
    let mut alone = Running::start(interpreter, 2)?;
    let before = alone.work()?;
    let mut running = Running::start_under_scalene(&scalene(), &file)?;
    let truth = running.work()?;
    let slowed = slowed(&truth, [&before, &alone.work()?]);
    let added_bytes = peak_resident_bytes(running.pid())? as f64 - peak_resident_bytes(alone.pid())? as f64;
    running.end()?;
    Ok(Run { truth, found: scalene_finding(&file)?, slowed, own: None, added_bytes: Some(added_bytes) })
}

/// Time, and CPU time, of those in the middle between two batches without a profiler.
fn slowed(with: &Truth, without: [&Truth; 2]) -> [f64; 2] {
    let ratio = |value: fn(&Truth) -> f64| 2.0 * value(with) / without.into_iter().map(value).sum::<f64>();
    [ratio(|truth| truth.wall_ns), ratio(|truth| truth.cpu_ns)]
}
