//! The profilers that are compared: how each is found, and started on a process.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::workload::scratch;
use profiler_tests::{Daemon, Program, poll_until, tell};

use crate::peer::Peer;
use crate::peers::{find, has_events, interrupt};

const START: Duration = Duration::from_secs(30);

/// A profiler that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// profilerd, about another process.
    Unselected,
    /// profilerd, about the load.
    Selected,
    /// `offcputime` of libbpf-tools, about the load.
    OffCpuTime(PathBuf),
    /// `perf record` of the load's switches with their stacks, by frame pointers.
    Perf,
}

/// A profiler at work.
pub(super) enum Profiler {
    Unselected { daemon: Daemon, _idle: Program },
    Selected(Daemon),
    OffCpuTime(Peer),
    Perf(Program, PathBuf),
}

impl Kind {
    /// All that are installed; says of the others how to get them.
    pub(super) fn all() -> Vec<Self> {
        let mut kinds = vec![Self::Unselected, Self::Selected];
        match Peer::find() {
            Some(path) => kinds.push(Self::OffCpuTime(path)),
            None => tell("offcputime is not installed (Debian: libbpf-tools), so it is not compared"),
        }
        match find("perf") {
            Some(_) => kinds.push(Self::Perf),
            None => tell("perf is not installed (Debian: linux-perf), so it is not compared"),
        }
        kinds
    }

    /// What it is called in tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unselected => "profilerd, another process",
            Self::Selected => "profilerd",
            Self::OffCpuTime(_) => "offcputime",
            Self::Perf => "perf record, every switch",
        }
    }

    /// Starts it on a process; returns when it is attached.
    pub(super) fn start(&self, pid: u32) -> Result<Profiler> {
        match self {
            Self::Unselected => start_aside(),
            Self::Selected => Ok(Profiler::Selected(Daemon::start_for(pid, &[])?)),
            Self::OffCpuTime(path) => Ok(Profiler::OffCpuTime(Peer::start(path, pid)?)),
            Self::Perf => start_perf(pid),
        }
    }
}

impl Profiler {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Unselected { daemon, .. } | Self::Selected(daemon) => daemon.pid(),
            Self::OffCpuTime(peer) => peer.pid(),
            Self::Perf(program, _) => program.pid(),
        }
    }

    /// Ends it. What it found is not looked at.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Unselected { daemon, .. } | Self::Selected(daemon) => daemon.stop().map(drop),
            Self::OffCpuTime(_) => Ok(()),
            Self::Perf(program, file) => {
                interrupt(program)?;
                std::fs::remove_file(&file).with_context(|| format!("failed to remove `{}`", file.display()))
            }
        }
    }
}

/// The other process may not be this one, whose children are its targets, too: the load is one.
fn start_aside() -> Result<Profiler> {
    let mut command = Command::new("sleep");
    command.arg("3600");
    let idle = Program::start(command)?;
    let daemon = Daemon::start_for(idle.pid(), &[])?;
    Ok(Profiler::Unselected { daemon, _idle: idle })
}

fn start_perf(pid: u32) -> Result<Profiler> {
    let file = scratch()?.join("waits.perf.data");
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-e", "sched:sched_switch", "-g", "-p", &pid.to_string(), "-o"]).arg(&file);
    let program = Program::start(command)?;
    let perf = program.pid();
    poll_until(START, || Ok(has_events(perf).then_some(()))).with_context(|| format!("no event: {program}"))?;
    Ok(Profiler::Perf(program, file))
}
