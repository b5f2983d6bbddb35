//! A program whose stacks are compared, at rest until it is told to go. The workloads of this project; servers and a
//! browser have files of their own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::host;
use crate::java::{compile_java, jdk_tool};
use crate::program::Program;
use crate::workload::{Build, build, sources};

pub(super) const STEP: Duration = Duration::from_secs(60);

/// A running program, and what makes it work.
pub struct Subject {
    name: &'static str,
    program: Program,
    begin: Begin,
    end: End,
    loads: Vec<Program>,
    /// Where it keeps its files; gone after it has ended.
    folder: Option<TempDir>,
}

/// What makes a subject work.
pub(super) enum Begin {
    /// A line on its input.
    Line,
    /// Clients that ask it.
    Loads(Vec<Command>),
    /// It has begun.
    Nothing,
}

/// What makes a subject end.
pub(super) enum End {
    /// The end of its input.
    Input,
    /// A signal.
    Signal(Signal),
}

impl Subject {
    pub(super) fn new(name: &'static str, program: Program, begin: Begin, end: End) -> Self {
        Self { name, program, begin, end, loads: Vec::new(), folder: None }
    }

    pub(super) fn with_folder(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    /// What it is, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The process; its descendants belong to it.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Lets it work.
    pub fn go(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.begin, Begin::Nothing) {
            Begin::Line => self.program.send_line(),
            Begin::Loads(commands) => {
                self.loads = commands.into_iter().map(Program::start).collect::<Result<_>>()?;
                Ok(())
            }
            Begin::Nothing => Ok(()),
        }
    }

    /// Ends it and waits for its end.
    pub fn finish(mut self) -> Result<()> {
        for mut load in std::mem::take(&mut self.loads) {
            let runs = load.is_running()?;
            let name = load.to_string();
            ensure!(runs, "{name} ended early: {:?}", load.finish(STEP)?.lines);
        }
        if let End::Signal(signal) = self.end {
            self.program.signal(signal)?;
        }
        self.program.finish(STEP).with_context(|| format!("{} does not end", self.name))?;
        Ok(())
    }

    /// A static executable in C, without frame pointers: frames of every shape, and handlers of signals.
    pub fn c() -> Result<Self> {
        Self::workload("C, static-PIE", Command::new(build_c()?))
    }

    /// A program in C++ whose exceptions pass many frames.
    pub fn cpp() -> Result<Self> {
        let compiler = ["g++", "-std=c++17", "-O2", "-g1", "-fomit-frame-pointer", "-pthread"];
        let (source, output) = ("stacks.cpp", "stacks-cpp");
        Self::workload("C++", Command::new(build(&Build { source, output, compiler: &compiler, libraries: &[] })?))
    }

    /// A program in C, with frame pointers and without unwind information, whose code is not in memory when it is to run.
    pub fn absent() -> Result<Self> {
        let frames = ["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer", "-fno-asynchronous-unwind-tables"];
        let shapes = ["-fno-optimize-sibling-calls", "-fno-shrink-wrap", "-fno-schedule-insns2", "-pthread"];
        let compiler = [&["gcc", "-O2"][..], &frames, &shapes].concat();
        let (source, output) = ("absent.c", "absent");
        Self::workload(
            "C, absent",
            Command::new(build(&Build { source, output, compiler: &compiler, libraries: &[] })?),
        )
    }

    /// A program in Rust, built for release.
    pub fn rust() -> Result<Self> {
        let compiler = ["rustc", "--edition=2021", "-Copt-level=3", "-Cdebuginfo=1"];
        let (source, output) = ("stacks.rs", "stacks-rs");
        Self::workload("Rust", Command::new(build(&Build { source, output, compiler: &compiler, libraries: &[] })?))
    }

    /// Debian's Python 3.11, which keeps no frame pointers; `None` after saying why where it is not installed.
    pub fn python() -> Result<Option<Self>> {
        let interpreter = Path::new("/usr/bin/python3.11");
        if !interpreter.exists() {
            host::skip("there is no /usr/bin/python3.11; it is in Debian's package `python3.11`");
            return Ok(None);
        }
        let mut command = Command::new(interpreter);
        command.arg(sources().join("stacks.py"));
        Self::workload("python3.11", command).map(Some)
    }

    /// A JVM whose collector and compilers are busy; `None` after saying why where there is no JDK.
    pub fn jvm() -> Result<Option<Self>> {
        let Some(classes) = compile_java("Stacks.java")? else { return Ok(None) };
        let mut command = Command::new(jdk_tool("java"));
        command.args(["-XX:+UseG1GC", "-XX:ParallelGCThreads=2", "-Xmx96m", "-cp"]).arg(classes).arg("Stacks");
        Self::workload("JVM", command).map(Some)
    }

    /// A program that prints `ready`, waits for a line, and ends with its input.
    fn workload(name: &'static str, command: Command) -> Result<Self> {
        let mut program = Program::start(command)?;
        program.await_line(STEP, |line| line.starts_with("ready ").then_some(()))?;
        Ok(Self::new(name, program, Begin::Line, End::Input))
    }
}

/// The workload in C, which can also walk its own stacks.
pub fn build_c() -> Result<std::path::PathBuf> {
    let flags = ["-static-pie", "-fomit-frame-pointer", "-fasynchronous-unwind-tables", "-pthread"];
    let compiler = [&["gcc", "-O2", "-g1"][..], &flags].concat();
    build(&Build { source: "stacks.c", output: "stacks-c", compiler: &compiler, libraries: &[] })
}
