//! The ground-truth run: a workload that keeps its own books phase by phase, beside the daemon's books of it.
//!
//! The workload stops before and after each phase until it is told to go on. There its thread is blocked, so the kernel's
//! books of it stand still and three books can be compared: the program's clocks, the scheduler's figures, the daemon's answer.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::books::{Books, Hotspots};
use crate::daemon::Daemon;
use crate::kernel_books::{Asked, KernelBooks, monotonic_ns};
use crate::program::poll_until;
use crate::workload::Workload;

const PHASE: Duration = Duration::from_secs(120);
const FRESH: Duration = Duration::from_secs(20);

/// Everything one run showed.
#[derive(Debug)]
pub struct Run {
    /// The workload's process.
    pub pid: u32,
    /// The processes on the other side of its waits, one thread each.
    pub helpers: Vec<u32>,
    /// One per phase, in order.
    pub phases: Vec<Phase>,
    /// The books before and after each phase.
    pub edges: Vec<(Edge, Edge)>,
    /// The functions of the process at the end.
    pub functions: Hotspots,
}

/// What the program says about one of its phases.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// The function in which all of it happens.
    pub function: String,
    /// The state that it provokes: `cpu`, `runq` or a wait class.
    pub class: String,
    /// Its length.
    pub mono: u64,
    /// The thread's CPU clock.
    pub cpu: u64,
    /// The scheduler's run delay.
    pub run_delay: u64,
}

/// The state of all books between two phases.
#[derive(Debug)]
pub struct Edge {
    /// When the daemon was asked.
    pub asked: Asked,
    /// The scheduler's books of the blocked thread.
    pub kernel: KernelBooks,
    /// The daemon's books of every process it follows here.
    pub rows: Vec<Books>,
}

impl Edge {
    /// The daemon's books of a process.
    pub fn books(&self, pid: u32) -> Result<&Books> {
        self.rows.iter().find(|row| row.pid == pid).with_context(|| format!("the breakdown has no row for {pid}"))
    }
}

impl Run {
    /// Runs every phase of the workload under the daemon, which has it selected.
    pub fn record(workload: &mut Workload, daemon: &Daemon) -> Result<Self> {
        let pid = workload.pid();
        let helpers = workload.numbers().get(2..).unwrap_or_default().to_vec();
        let attached = monotonic_ns();
        let (mut edges, mut phases) = (Vec::new(), Vec::new());
        workload.go()?;
        while workload.await_json(PHASE)?.is_some() {
            let before = read_edge(workload, daemon, attached)?;
            workload.go()?;
            let line = workload.await_json(PHASE)?.context("a phase was not reported")?;
            phases.push(parse_phase(&line).with_context(|| line.to_string())?);
            edges.push((before, read_edge(workload, daemon, attached)?));
            workload.go()?;
        }
        Ok(Self { pid, helpers, phases, edges, functions: daemon.functions(pid)? })
    }

    /// What the daemon counted for the thread during a phase, from before its first edge to after its last one.
    pub fn during(&self, phase: usize) -> Result<Books> {
        let (before, after) = &self.edges[phase];
        Ok(after.books(self.pid)?.since(before.books(self.pid)?))
    }

    /// How much of the time on a CPU was not stolen, over all phases.
    pub fn part_not_stolen(&self) -> Result<f64> {
        let (first, last) = self.ends()?;
        let counted = last.books(self.pid)?.since(first.books(self.pid)?);
        Ok(counted.cpu as f64 / (counted.cpu + counted.steal).max(1) as f64)
    }

    /// The very first and the very last edge.
    fn ends(&self) -> Result<(&Edge, &Edge)> {
        let first = self.edges.first().context("no phase ran")?;
        let last = self.edges.last().context("no phase ran")?;
        Ok((&first.0, &last.1))
    }

    /// What the scheduler counted for the thread in the same time.
    pub fn scheduled(&self, phase: usize) -> KernelBooks {
        let (before, after) = &self.edges[phase];
        after.kernel.since(before.kernel)
    }

    /// Where the daemon saw the time of a phase, in one line for the reader of a failure.
    pub fn describe(&self, phase: usize) -> Result<String> {
        let (counted, kernel) = (self.during(phase)?, self.scheduled(phase));
        let ms = |ns: u64| ns as f64 / 1e6;
        let waits = counted.wait.iter().filter(|(_, ns)| **ns > 0);
        let waits: Vec<String> = waits.map(|(class, ns)| format!("{class} {:.3}", ms(*ns))).collect();
        Ok(format!(
            "{:<10} cpu {:.3} (scheduler {:.3}) runq {:.3} (scheduler {:.3}) throttled {:.3} steal {:.3} {} ms",
            self.phases[phase].name,
            ms(counted.cpu),
            ms(kernel.cpu),
            ms(counted.runq),
            ms(kernel.run_delay),
            ms(counted.throttled),
            ms(counted.steal),
            waits.join(" ")
        ))
    }
}

/// Reads the books once the thread is blocked and the daemon has counted everything up to now.
fn read_edge(workload: &Workload, daemon: &Daemon, attached: u64) -> Result<Edge> {
    workload.await_blocked()?;
    let kernel = KernelBooks::read(workload.pid(), workload.pid())?;
    let least = monotonic_ns() - attached;
    poll_until(FRESH, || {
        let before_ns = monotonic_ns();
        let rows = daemon.breakdown("")?;
        let fresh = rows.iter().any(|row| row.pid == workload.pid() && row.wall >= least);
        Ok(fresh.then(|| Edge { asked: Asked { before_ns, after_ns: monotonic_ns() }, kernel, rows }))
    })
    .context("the books of the workload are not up to date")
}

fn parse_phase(line: &Value) -> Result<Phase> {
    let text = |key: &str| line[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"));
    let number = |key: &str| line[key].as_u64().with_context(|| format!("no `{key}`"));
    Ok(Phase {
        name: text("phase")?,
        function: text("function")?,
        class: text("class")?,
        mono: number("mono_ns")?,
        cpu: number("cpu_ns")?,
        run_delay: number("run_delay_ns")?,
    })
}

/// One comparison: what it is about, what the reference says, what the daemon says, and how far they may be apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What is compared.
    pub what: String,
    /// The reference, in nanoseconds.
    pub expected: u64,
    /// The daemon's figure, in nanoseconds.
    pub found: u64,
    /// The greatest difference that passes.
    pub tolerance: u64,
}

impl Check {
    /// A comparison with a tolerance in parts of the reference, but not below `floor` nanoseconds.
    pub fn new(what: impl Into<String>, expected: u64, found: u64, part: f64, floor: u64) -> Self {
        let tolerance = ((expected as f64 * part) as u64).max(floor);
        Self { what: what.into(), expected, found, tolerance }
    }

    /// Whether the two are close enough.
    pub fn passes(&self) -> bool {
        self.expected.abs_diff(self.found) <= self.tolerance
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |ns: u64| ns as f64 / 1e6;
        let off = (self.found as f64 - self.expected as f64) / (self.expected.max(1) as f64) * 100.0;
        let verdict = if self.passes() { "ok" } else { "WRONG" };
        write!(
            f,
            "{:<34} {:>13.3} ms {:>13.3} ms {:>+9.3} %  (± {:.3} ms) {verdict}",
            self.what,
            ms(self.expected),
            ms(self.found),
            off,
            ms(self.tolerance)
        )
    }
}

/// Each phase's own class, against the program's clocks: monotonic time less CPU, run delay and steal.
///
/// While the hypervisor holds a CPU the scheduler's clocks and the hooks part, so `part` of what was stolen passes, too.
pub fn class_checks(run: &Run, part: f64) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (at, phase) in run.phases.iter().enumerate() {
        let counted = run.during(at)?;
        let name = |state: &str| format!("{} in phase {}", state, phase.name);
        match phase.class.as_str() {
            "cpu" => checks.push(Check::new(name("cpu"), phase.cpu, counted.cpu, part, 0)),
            "runq" => {
                checks.push(Check::new(name("cpu"), phase.cpu, counted.cpu, part, 0));
                let queued = counted.runq + counted.throttled;
                checks.push(Check::new(name("runq"), run.scheduled(at).run_delay, queued, part, 0));
            }
            // The harness speaks to the program through a pipe too, so this phase's total is not its own.
            "ipc" => {}
            class => {
                let blocked = phase.mono.saturating_sub(phase.cpu + phase.run_delay + counted.steal);
                let parted = (counted.steal as f64 * part) as u64;
                checks.push(Check::new(name(class), blocked, counted.waited(class), part, parted));
            }
        }
    }
    Ok(checks)
}

/// CPU and run queue since the first edge, at the last one, against the scheduler's own books of the blocked thread.
///
/// `switching_ns` is for the moments between the scheduler's clock reads and the hooks, over all switches of the run.
pub fn scheduler_checks(run: &Run, part: f64, switching_ns: u64) -> Result<Vec<Check>> {
    let (first, last) = run.ends()?;
    let counted = last.books(run.pid)?.since(first.books(run.pid)?);
    let kernel = last.kernel.since(first.kernel);
    Ok(vec![
        Check::new("cpu, all phases, by schedstat", kernel.cpu, counted.cpu, part, 0),
        Check::new(
            "runq, all phases, by schedstat",
            kernel.run_delay,
            counted.runq + counted.throttled,
            part,
            switching_ns,
        ),
    ])
}

/// The sum of all states of each single-threaded process from the first edge to the last, against the time that passed.
///
/// The daemon looks at its books at some moment while it is asked, so the time that passed is known to that request's length:
/// the nearest end of that interval is the reference.
pub fn wall_checks(run: &Run) -> Result<Vec<Check>> {
    let (first, last) = run.ends()?;
    std::iter::once(&run.pid)
        .chain(&run.helpers)
        .map(|pid| {
            let counted = last.books(*pid)?.since(first.books(*pid)?).sum();
            let passed = last.asked.passed_since(first.asked, counted);
            Ok(Check::new(format!("sum of states of process {pid}"), passed, counted, 0.002, 100_000))
        })
        .collect()
}
