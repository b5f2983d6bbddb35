//! Which conditions are compared, and the rounds in which they take turns.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use profiler_tests::{Daemon, tell};

use crate::meter::{Runs, add, cpu_time, difference, runs_of, statistics};
use crate::peer::Peer;
use crate::ping_pong::PingPong;

/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 15;

/// How long each condition's profiler is watched at work: more than two windows of the daemon.
const WATCHED: Duration = Duration::from_secs(25);

/// What runs beside the workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// profilerd, about another process.
    Unselected,
    /// profilerd, about the workload, with T at its default of 10 ms.
    Selected,
    /// profilerd, about everything, which is its default.
    Everything,
    /// profilerd, about the workload, with the state of threads in a hash.
    Hash,
    /// profilerd, about the workload, seeing threads resume by a kprobe.
    Kprobe,
    /// `offcputime` on the workload.
    Peer(PathBuf),
}

impl Condition {
    /// What it is called in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unselected => "profilerd, another process",
            Self::Selected => "profilerd, this process",
            Self::Everything => "profilerd, the whole system",
            Self::Hash => "profilerd, this process, hash (as before 5.15)",
            Self::Kprobe => "profilerd, this process, kprobe (as before 6.15)",
            Self::Peer(_) => "offcputime (libbpf-tools), this process",
        }
    }
}

/// Nanoseconds per switch, one batch right after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// Without a profiler.
    pub(crate) without_ns: f64,
    /// Under a condition.
    pub(crate) with_ns: f64,
}

/// What one condition costs.
pub(crate) struct Cost {
    /// What ran beside the workload.
    pub(crate) condition: Condition,
    /// One comparison per round.
    pub(crate) pairs: Vec<Pair>,
    /// The runs of the profiler's BPF programs during one more batch per round.
    pub(crate) programs: Vec<Runs>,
    /// The profiler's own CPU time, as a part of the time it was watched.
    pub(crate) own_time: f64,
}

/// A profiler at work; it ends with the value.
enum Profiler {
    Daemon(Daemon),
    Peer(Peer),
}

impl Profiler {
    fn start(condition: &Condition, workload: &PingPong, other: &PingPong) -> Result<Self> {
        Ok(match condition {
            Condition::Unselected => Self::Daemon(Daemon::start_for(other.pid(), &[])?),
            Condition::Selected => Self::Daemon(Daemon::start_for(workload.pid(), &[])?),
            Condition::Everything => {
                let daemon = Daemon::start(&[])?;
                daemon.await_selected(workload.pid())?;
                Self::Daemon(daemon)
            }
            Condition::Hash => Self::Daemon(Daemon::start_for(workload.pid(), &["--variant", "hash"])?),
            Condition::Kprobe => Self::Daemon(Daemon::start_for(workload.pid(), &["--switch-in", "kprobe"])?),
            Condition::Peer(path) => Self::Peer(Peer::start(path, workload.pid())?),
        })
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Daemon(daemon) => daemon.pid(),
            Self::Peer(peer) => peer.pid(),
        }
    }
}

/// All conditions that can be had here.
fn conditions() -> Vec<Condition> {
    use Condition::{Everything, Hash, Kprobe, Selected, Unselected};
    let mut conditions = vec![Unselected, Selected, Everything, Hash];
    if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        conditions.push(Kprobe);
    } else {
        tell("this kernel has no kprobes, so the kprobe as before 6.15 is not measured");
    }
    match Peer::find() {
        Some(path) => conditions.push(Condition::Peer(path)),
        None => tell("offcputime is not installed (Debian: libbpf-tools), so there is no peer to compare with"),
    }
    conditions
}

/// What each condition costs. The conditions take turns, round by round.
pub(crate) fn costs() -> Result<Vec<Cost>> {
    let cost = |condition| Cost { condition, pairs: Vec::new(), programs: Vec::new(), own_time: 0.0 };
    let mut costs: Vec<_> = conditions().into_iter().map(cost).collect();
    let (mut workload, other) = (PingPong::start()?, PingPong::start()?);
    for _ in 0..ROUNDS {
        costs.iter_mut().try_for_each(|cost| compare(cost, &mut workload, &other))?;
    }
    costs.iter_mut().try_for_each(|cost| watch(cost, &mut workload, &other))?;
    Ok(costs)
}

/// One round of one condition. The BPF statistics cost time, so they are on only after the comparison.
fn compare(cost: &mut Cost, workload: &mut PingPong, other: &PingPong) -> Result<()> {
    let without_ns = warm_batch(workload)?;
    let profiler = Profiler::start(&cost.condition, workload, other)?;
    cost.pairs.push(Pair { without_ns, with_ns: warm_batch(workload)? });
    let _statistics = statistics()?;
    let before = runs_of(profiler.pid())?;
    workload.batch()?;
    add(&mut cost.programs, difference(&before, &runs_of(profiler.pid())?));
    Ok(())
}

/// Reads how much time the profiler itself takes while the workload runs.
fn watch(cost: &mut Cost, workload: &mut PingPong, other: &PingPong) -> Result<()> {
    let profiler = Profiler::start(&cost.condition, workload, other)?;
    workload.batch()?;
    let (cpu, begin) = (cpu_time(profiler.pid())?, Instant::now());
    while begin.elapsed() < WATCHED {
        workload.batch()?;
    }
    cost.own_time = (cpu_time(profiler.pid())? - cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    Ok(())
}

/// The second of two batches: the first one warms the caches and lets a change settle.
fn warm_batch(workload: &mut PingPong) -> Result<f64> {
    workload.batch()?;
    workload.batch()
}
