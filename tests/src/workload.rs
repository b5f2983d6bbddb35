//! A program of `workloads/`: compiled once, started, and spoken to by its lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host::target_dir;
use crate::kernel_books::reads_input;
use crate::program::{Program, poll_until};

const STEP: Duration = Duration::from_secs(60);

/// A running workload that has printed `ready`.
pub struct Workload {
    program: Program,
    pid: u32,
    numbers: Vec<u32>,
}

impl Workload {
    /// Compiles `workloads/NAME.c` if needed and starts it with the arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(compile(name)?);
        command.args(arguments);
        Self::start_command(command)
    }

    /// Starts any program that prints `ready PID...` and waits for lines.
    pub fn start_command(command: Command) -> Result<Self> {
        let mut program = Program::start(command)?;
        let numbers = program.await_line(STEP, ready_numbers)?;
        let pid = *numbers.first().context("`ready` is not followed by a pid")?;
        Ok(Self { program, pid, numbers })
    }

    /// The pid it printed, in the initial PID namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Every number after `ready`.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The program, for signals and waiting.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Lets it go on to its next step.
    pub fn go(&mut self) -> Result<()> {
        self.program.send_line()
    }

    /// Waits for its next line of JSON; `None` when it prints `done`.
    pub fn await_json(&mut self, within: Duration) -> Result<Option<Value>> {
        self.program.await_line(within, |line| match line {
            "done" => Some(None),
            line => serde_json::from_str(line).ok().map(Some),
        })
    }

    /// Every line of JSON until `done`.
    pub fn await_all(&mut self, within: Duration) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        while let Some(line) = self.await_json(within)? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Waits until its main thread is blocked on its input, so that the kernel's books of it stand still.
    pub fn await_blocked(&self) -> Result<()> {
        poll_until(STEP, || Ok(reads_input(self.pid, self.pid)?.then_some(())))
    }
}

fn ready_numbers(line: &str) -> Option<Vec<u32>> {
    let rest = line.strip_prefix("ready ")?;
    Some(rest.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// The folder of the workloads' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads")
}

/// A folder for what tests build and write, on the disk that holds the target folder.
pub fn scratch() -> Result<PathBuf> {
    let folder = target_dir().join("workloads");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    Ok(folder)
}

/// How one file of `workloads/` becomes a program.
pub struct Build<'a> {
    /// The source file.
    pub source: &'a str,
    /// The program's file.
    pub output: &'a str,
    /// The compiler, and what stands before the source.
    pub compiler: &'a [&'a str],
    /// What stands behind it.
    pub libraries: &'a [&'a str],
}

/// The compiled workload `NAME.c`; built if it is older than its sources.
///
/// Frame pointers are kept and no call becomes a jump, so that a walk by frame pointers sees every function.
pub fn compile(name: &str) -> Result<PathBuf> {
    let flags = ["gcc", "-O2", "-g", "-pthread", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"];
    build(&Build { source: &format!("{name}.c"), output: name, compiler: &flags, libraries: &[] })
}

/// The built program; built anew if it is older than its source or the headers.
pub fn build(build: &Build) -> Result<PathBuf> {
    let binary = scratch()?.join(build.output);
    let sources = [build.source, "syscalls.h", "backtrace.h", "waits.h"].map(|name| sources().join(name));
    let newest = sources.iter().map(|path| modified(path)).max().flatten();
    if newest.is_none() || modified(&binary) < newest {
        run_compiler(build, &sources[0], &binary)?;
    }
    Ok(binary)
}

/// The program appears whole: another test may be building the same one.
fn run_compiler(build: &Build, source: &Path, binary: &Path) -> Result<()> {
    let fresh = binary.with_extension(format!("{}.new", std::process::id()));
    let (compiler, flags) = build.compiler.split_first().context("a build names its compiler")?;
    let mut command = Command::new(compiler);
    command.args(flags).arg("-o").args([&fresh, source]).args(build.libraries);
    let status = command.status().with_context(|| format!("failed to run `{compiler}`, which compiles a workload"))?;
    ensure!(status.success(), "failed to compile `{}`", source.display());
    fs::rename(&fresh, binary).with_context(|| format!("failed to place `{}`", binary.display()))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
