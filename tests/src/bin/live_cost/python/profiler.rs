//! The profilers that are compared: where each is, how it is started on the program, ended, and asked for its lines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::host::target_dir;
use profiler_tests::workload::scratch;
use profiler_tests::{Daemon, Program, tell};
use rustix::process::Signal;

use super::lines::{Lines, of_folded, of_hotspots, of_scalene};

const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(60);

/// What begins late, such as Austin's first sample, has begun by then.
const SETTLE: Duration = Duration::from_millis(700);

/// A profiler with the options it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// profilerd, at so many samples per second.
    Profilerd { hz: u32 },
    /// `py-spy record`, with waits or without.
    PySpy { idle: bool },
    /// Austin, with waits or without.
    Austin { idle: bool },
    /// Scalene, without its accounts of memory.
    Scalene,
}

/// A profiler at work beside the program; it ends with the value.
pub(super) enum Profiler {
    Profilerd(Daemon),
    Folding(Program, PathBuf, Kind),
}

/// What a profiler says: CPU time, and time, by line. One that cannot tell says nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Finding {
    pub(super) cpu: Option<Lines>,
    pub(super) wall: Option<Lines>,
}

impl Kind {
    /// All that are there and run; says of the others how to get them.
    pub(super) fn all() -> Vec<Self> {
        let profilerd = [97, 997].map(|hz| Self::Profilerd { hz });
        let spies = [false, true].map(|idle| Self::PySpy { idle });
        let austins = [false, true].map(|idle| Self::Austin { idle });
        let peers = spies.into_iter().chain(austins).chain([Self::Scalene]).filter(Self::runs);
        profilerd.into_iter().chain(peers).collect()
    }

    /// What it is called in tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Profilerd { hz: 97 } => "profilerd",
            Self::Profilerd { .. } => "profilerd, 997 Hz",
            Self::PySpy { idle: false } => "py-spy",
            Self::PySpy { idle: true } => "py-spy, `--idle`",
            Self::Austin { idle: false } => "Austin, `-s`",
            Self::Austin { idle: true } => "Austin",
            Self::Scalene => "Scalene, `--cpu-only`",
        }
    }

    fn program(&self) -> Option<&'static str> {
        match self {
            Self::Profilerd { .. } => None,
            Self::PySpy { .. } => Some("py-spy"),
            Self::Austin { .. } => Some("austin"),
            Self::Scalene => Some("scalene"),
        }
    }

    /// Whether it is installed, and can be executed here.
    fn runs(&self) -> bool {
        let Some(program) = self.program() else { return true };
        let path = folder().join(program);
        let runs = Command::new(&path).arg("--version").output().is_ok_and(|output| output.status.success());
        if !runs {
            let advice = "pip install py-spy 'austin-dist<4' scalene, into an environment there";
            tell(&format!("`{}` does not run ({advice}), so it is not compared", path.display()));
        }
        runs
    }

    /// Starts it on a process; returns when it samples.
    pub(super) fn start(&self, pid: u32) -> Result<Profiler> {
        let pid_text = pid.to_string();
        let profiler = match self {
            Self::Profilerd { hz } => {
                Profiler::Profilerd(Daemon::start_for(pid, &["--frequency", &hz.to_string(), "--cache-dir", "none"])?)
            }
            Self::PySpy { idle } => {
                let waits: &[&str] = if *idle { &["--idle"] } else { &[] };
                self.start_folding(&[&["record", "-f", "raw", "-p", &pid_text], waits].concat())?
            }
            Self::Austin { idle } => {
                let waits: &[&str] = if *idle { &[] } else { &["-s"] };
                self.start_folding(&[&["-p", &pid_text], waits].concat())?
            }
            Self::Scalene => anyhow::bail!("Scalene starts the program itself"),
        };
        sleep(SETTLE);
        Ok(profiler)
    }

    fn start_folding(&self, arguments: &[&str]) -> Result<Profiler> {
        let file = scratch()?.join("python.folded");
        let mut command = Command::new(folder().join(self.program().context("a peer is a program")?));
        command.args(arguments).arg("-o").arg(&file);
        let mut program = Program::start(command)?;
        // The first words of either come when it has found the interpreter.
        program
            .await_line(START, |line| (line.contains("Sampling process") || line.contains("version")).then_some(()))?;
        Ok(Profiler::Folding(program, file, self.clone()))
    }
}

impl Profiler {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Profilerd(daemon) => daemon.pid(),
            Self::Folding(program, ..) => program.pid(),
        }
    }

    /// Ends it; returns what it says about the process.
    pub(super) fn finish(self, pid: u32) -> Result<Finding> {
        match self {
            Self::Profilerd(daemon) => {
                let path = format!("/api/v1/hotspots?last=1h&by=line&idle=show&limit=100000&pid={pid}");
                let [cpu, wall] = of_hotspots(&daemon.json(&path)?);
                daemon.stop()?;
                Ok(Finding { cpu: Some(cpu), wall: Some(wall) })
            }
            Self::Folding(program, file, kind) => {
                program.signal(Signal::INT)?;
                program.finish(END)?;
                Ok(folded_finding(&kind, &read(&file)?))
            }
        }
    }
}

/// Without waits the samples stand for CPU time, with them for time.
fn folded_finding(kind: &Kind, text: &str) -> Finding {
    let lines = Some(of_folded(text));
    match kind {
        Kind::PySpy { idle: true } | Kind::Austin { idle: true } => Finding { cpu: None, wall: lines },
        _ => Finding { cpu: lines, wall: None },
    }
}

/// What Scalene wrote.
pub(super) fn scalene_finding(file: &Path) -> Result<Finding> {
    let answer = serde_json::from_str(&read(file)?).context("Scalene's file is not JSON")?;
    let [cpu, wall] = of_scalene(&answer);
    Ok(Finding { cpu: Some(cpu), wall: Some(wall) })
}

/// Scalene's program.
pub(super) fn scalene() -> PathBuf {
    folder().join("scalene")
}

/// Where the peers are installed: an environment of Python below the target folder.
fn folder() -> PathBuf {
    target_dir().join("peers-python/bin")
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("a profiler wrote no `{}`", file.display()))
}
