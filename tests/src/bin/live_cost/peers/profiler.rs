//! The profilers that are compared: how each is found, started on a process, stopped, and asked for its stacks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use profiler_tests::workload::scratch;
use profiler_tests::{Daemon, Program, poll_until, tell};
use rustix::process::Signal;

use super::stacks::{Stacks, of_folded, of_perf_script};
use crate::meter::peak_resident_bytes;

const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(120);

/// What begins late, such as the first reading of a ring, has begun by then.
const SETTLE: Duration = Duration::from_millis(500);

/// How often a program's memory is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// Bytes of the stack that `perf record` copies for each sample: what it does by itself, and the most it can.
const COPIED_BYTES: [u32; 2] = [8192, 65528];

/// A profiler that is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// profilerd, about another process: the timer's interrupt, and a program that returns at once.
    Aside,
    /// `perf record` without stacks: the interrupt, and a record of some bytes.
    PerfAlone,
    /// profilerd, about the load alone.
    Profilerd,
    /// `perf record --call-graph dwarf`.
    Perf {
        /// Bytes of the stack it copies.
        copied_bytes: u32,
    },
    /// profile-bee with `--dwarf`.
    ProfileBee(PathBuf),
}

/// A profiler at work; it ends with the value.
pub(super) enum Profiler {
    Profilerd(Daemon),
    /// With the process it is about.
    Aside {
        daemon: Daemon,
        _idle: Program,
    },
    Perf(Program, PathBuf),
    ProfileBee(Program, PathBuf),
}

/// What a profiler says at its end.
pub(super) struct Finding {
    /// About stacks.
    pub(super) stacks: Stacks,
    /// The most memory of what walks them afterwards; 0 if nothing does.
    pub(super) resident_bytes: u64,
}

impl Kind {
    /// Whether it walks stacks of the load. The others tell what a sample costs without its stack.
    pub(super) fn has_stacks(&self) -> bool {
        !matches!(self, Self::Aside | Self::PerfAlone)
    }

    /// All that are installed; says of the others how to get them.
    pub(super) fn all() -> Vec<Self> {
        let mut kinds = vec![Self::Aside, Self::Profilerd];
        match find("perf") {
            Some(_) => {
                kinds.push(Self::PerfAlone);
                kinds.extend(COPIED_BYTES.map(|copied_bytes| Self::Perf { copied_bytes }));
            }
            None => tell("perf is not installed (Debian: linux-perf), so it is not compared"),
        }
        match find("probee") {
            Some(path) => kinds.push(Self::ProfileBee(path)),
            None => tell("profile-bee is not installed (cargo install --locked profile-bee), so it is not compared"),
        }
        kinds
    }

    /// What it is called in tables.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Aside => "profilerd, another process".to_owned(),
            Self::PerfAlone => "perf, no stacks".to_owned(),
            Self::Profilerd => "profilerd".to_owned(),
            Self::Perf { copied_bytes } => format!("perf, dwarf,{copied_bytes}"),
            Self::ProfileBee(_) => "profile-bee, dwarf".to_owned(),
        }
    }

    /// Starts it on a process; returns when it samples.
    pub(super) fn start(&self, pid: u32, frequency_hz: u32) -> Result<Profiler> {
        let (pid, hz) = (pid.to_string(), frequency_hz.to_string());
        let profiler = match self {
            Self::Aside => start_aside(&hz)?,
            Self::PerfAlone => start_perf(None, &pid, &hz)?,
            Self::Profilerd => Profiler::Profilerd(start_profilerd(&pid, &hz)?),
            Self::Perf { copied_bytes } => start_perf(Some(*copied_bytes), &pid, &hz)?,
            Self::ProfileBee(path) => start_profile_bee(path, &pid, &hz)?,
        };
        sleep(SETTLE);
        Ok(profiler)
    }
}

impl Profiler {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Profilerd(daemon) | Self::Aside { daemon, .. } => daemon.pid(),
            Self::Perf(program, _) | Self::ProfileBee(program, _) => program.pid(),
        }
    }

    /// Ends it; returns what it says about the stacks of the process, counting those that reach one of `roots` as complete.
    pub(super) fn finish(self, pid: u32, roots: &[&str]) -> Result<Finding> {
        let found = |stacks| Finding { stacks, resident_bytes: 0 };
        match self {
            Self::Profilerd(daemon) | Self::Aside { daemon, .. } => {
                let path = format!("/api/v1/profile.folded?last=1h&state=cpu&idle=show&pid={pid}");
                let folded = daemon.get_text(&path)?;
                ensure!(folded.status == 200, "the daemon answered {}: {}", folded.status, folded.text());
                daemon.stop()?;
                Ok(found(of_folded(&folded.text(), roots)))
            }
            Self::Perf(program, file) => {
                interrupt(program)?;
                perf_script(&file, roots)
            }
            Self::ProfileBee(program, file) => {
                interrupt(program)?;
                let text = std::fs::read_to_string(&file).context("profile-bee wrote no stacks")?;
                Ok(found(of_folded(&text, roots)))
            }
        }
    }
}

fn start_profilerd(pid: &str, hz: &str) -> Result<Daemon> {
    let pid = pid.parse().context("a pid is a number")?;
    Daemon::start_for(pid, &["--frequency", hz, "--cache-dir", "none"])
}

/// The other process may not be this one, whose children are its targets, too: the load is one.
fn start_aside(hz: &str) -> Result<Profiler> {
    let mut command = Command::new("sleep");
    command.arg("3600");
    let idle = Program::start(command)?;
    let daemon = start_profilerd(&idle.pid().to_string(), hz)?;
    Ok(Profiler::Aside { daemon, _idle: idle })
}

fn start_perf(copied_bytes: Option<u32>, pid: &str, hz: &str) -> Result<Profiler> {
    let file = scratch()?.join("peers.perf.data");
    let mut command = Command::new("perf");
    command.args(["record", "-e", "cpu-clock", "-F", hz, "-p", pid, "-o"]).arg(&file);
    if let Some(bytes) = copied_bytes {
        command.args(["--call-graph", &format!("dwarf,{bytes}")]);
    }
    let program = Program::start(command)?;
    let perf = program.pid();
    poll_until(START, || Ok(has_events(perf).then_some(()))).with_context(|| format!("no event: {program}"))?;
    Ok(Profiler::Perf(program, file))
}

fn start_profile_bee(path: &Path, pid: &str, hz: &str) -> Result<Profiler> {
    let file = scratch()?.join("peers.folded");
    let mut command = Command::new(path);
    command.args(["--dwarf", "-p", pid, "-f", hz, "-t", "3600000", "-o"]).arg(&file);
    let mut program = Program::start(command)?;
    program.await_line(START, |line| line.starts_with("Waiting for").then_some(()))?;
    Ok(Profiler::ProfileBee(program, file))
}

/// Whether a process has events of perf open.
pub(crate) fn has_events(pid: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target.to_string_lossy().contains("[perf_event]"))
}

/// Ends a program as the user would.
pub(crate) fn interrupt(program: Program) -> Result<()> {
    program.signal(Signal::INT)?;
    program.finish(END)?;
    Ok(())
}

/// Walks what perf has copied. Inlined functions are not asked for, which would take it much longer.
fn perf_script(file: &Path, roots: &[&str]) -> Result<Finding> {
    let mut command = Command::new("perf");
    command.args(["script", "--no-inline", "--max-stack", "1024", "-F", "comm,tid,ip,sym", "-i"]).arg(file);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("failed to run perf")?;
    let output = child.stdout.take().context("its output is piped")?;
    let reader = spawn(move || std::io::read_to_string(output));
    let mut resident_bytes = 0;
    let status = loop {
        // After its end there is nothing to read.
        resident_bytes = peak_resident_bytes(child.id()).unwrap_or(0).max(resident_bytes);
        match child.try_wait()? {
            Some(status) => break status,
            None => sleep(GLANCE),
        }
    };
    ensure!(status.success(), "`perf script` failed");
    let text = reader.join().map_err(|_| anyhow!("failed to read what `perf script` printed"))??;
    Ok(Finding { stacks: of_perf_script(&text, roots), resident_bytes })
}

/// The first file of this name where programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.exists())
}
