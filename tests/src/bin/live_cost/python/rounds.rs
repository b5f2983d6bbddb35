//! The rounds in which the profilers take turns. Each run is a new process that does the same work.

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
    /// The program's time, and CPU time, under it, of those without, by round.
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
    own: Option<Own>,
    resident_bytes: f64,
}

/// What each profiler costs. They take turns, round by round, each after a run without one.
pub(super) fn costs(interpreter: &str, rounds: usize) -> Result<Vec<Cost>> {
    let mut costs: Vec<_> = Kind::all().into_iter().map(Cost::new).collect();
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for cost in &mut costs {
            let without = run_alone(interpreter)?;
            let with = match cost.kind {
                Kind::Scalene => run_under_scalene()?,
                _ => run_beside(interpreter, &cost.kind)?,
            };
            cost.add(&without, with);
        }
    }
    Ok(costs)
}

impl Cost {
    fn new(kind: Kind) -> Self {
        let (slowed, own, added_bytes) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, slowed, found: Finding::default(), truth: Default::default(), own, added_bytes }
    }

    fn add(&mut self, without: &Run, with: Run) {
        let (then, now) = (&without.truth, &with.truth);
        self.slowed.push([now.wall_ns / then.wall_ns, now.cpu_ns / then.cpu_ns]);
        self.truth[0].add_all(&now.cpu);
        self.truth[1].add_all(&now.wall);
        let found = [(&mut self.found.cpu, with.found.cpu), (&mut self.found.wall, with.found.wall)];
        for (sum, lines) in found {
            let Some(lines) = lines else { continue };
            sum.get_or_insert_default().add_all(&lines.without(&now.waiting));
        }
        match with.own {
            Some(own) => self.own.push(own),
            None => self.added_bytes.push(with.resident_bytes - without.resident_bytes),
        }
    }
}

fn run_alone(interpreter: &str) -> Result<Run> {
    let mut running = Running::start(interpreter)?;
    let truth = running.work()?;
    let resident_bytes = peak_resident_bytes(running.pid())? as f64;
    Ok(Run { truth, found: Finding::default(), own: None, resident_bytes })
}

fn run_beside(interpreter: &str, kind: &Kind) -> Result<Run> {
    let mut running = Running::start(interpreter)?;
    let others = children_cpu_time()?;
    let profiler = kind.start(running.pid())?;
    let start = cpu_time(profiler.pid())?;
    let truth = running.work()?;
    let resident_bytes = peak_resident_bytes(profiler.pid())? as f64;
    let found = profiler.finish(running.pid())?;
    let all = children_cpu_time()?.saturating_sub(others);
    let per_second = all.saturating_sub(start).as_secs_f64() / (truth.wall_ns / 1e9);
    Ok(Run { truth, found, own: Some(Own { start, per_second, resident_bytes }), resident_bytes: 0.0 })
}

fn run_under_scalene() -> Result<Run> {
    let file = scratch()?.join("python.scalene.json");
    let mut running = Running::start_under_scalene(&scalene(), &file)?;
    let truth = running.work()?;
    let resident_bytes = peak_resident_bytes(running.pid())? as f64;
    running.end()?;
    Ok(Run { truth, found: scalene_finding(&file)?, own: None, resident_bytes })
}
