//! The program that is profiled, by the shape of its stack.

use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::workload::sources;
use profiler_tests::{Daemon, Interpreter, Workload};

const LONGEST: Duration = Duration::from_secs(60);

/// The versions of the documents: Debian's program, and the newest that tells of tasks.
const VERSIONS: [&str; 2] = ["3.11", "3.14"];

/// The first minor version in which tasks are told.
const TASKS_FROM: u32 = 14;

/// What stands on the stack, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many functions more than the fewest.
    Frames(u32),
    /// So many functions in all, with C code between some of them.
    Service(u32),
    /// The same, with C code above every second one.
    Objects(u32),
    /// So many tasks that await one another.
    Tasks(u32),
    /// So many subinterpreters, each with a thread.
    Interpreters(u32),
    /// So many further threads.
    Threads(u32),
}

/// A shape on an interpreter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) python: &'a Interpreter,
    pub(super) shape: Shape,
}

/// One batch of its work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Batch {
    pub(super) cpu_ns: f64,
    pub(super) wall_ns: f64,
}

/// A load that runs.
pub(super) struct Running(Workload);

/// One interpreter of each wanted version, which is one of those of the documents if none is named.
pub(super) fn pythons(version: &str) -> Vec<&'static Interpreter> {
    let is_wanted = |one: &Interpreter| {
        let own = format!("3.{}", one.minor());
        !one.is_free_threaded && (version == own || version.is_empty() && VERSIONS.contains(&own.as_str()))
    };
    Interpreter::one_of_each().into_iter().filter(|one| is_wanted(one)).collect()
}

impl Shape {
    /// What it is called in tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Frames(count) => format!("{count} functions deep"),
            Self::Service(count) => format!("web framework, {count} frames"),
            Self::Objects(count) => format!("C code above every second of {count} frames"),
            Self::Tasks(count) => format!("{count} tasks that await one another"),
            Self::Interpreters(count) => format!("beside {count} subinterpreters"),
            Self::Threads(count) => format!("beside {count} threads"),
        }
    }

    /// What the program calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Frames(_) => "frames",
            Self::Service(_) => "service",
            Self::Objects(_) => "objects",
            Self::Tasks(_) => "tasks",
            Self::Interpreters(_) => "interpreters",
            Self::Threads(_) => "threads",
        }
    }

    /// How many.
    pub(super) fn count(self) -> u32 {
        match self {
            Self::Frames(count)
            | Self::Service(count)
            | Self::Objects(count)
            | Self::Tasks(count)
            | Self::Interpreters(count)
            | Self::Threads(count) => count,
        }
    }

    /// Whether this interpreter tells of it.
    pub(super) fn exists_on(self, python: &Interpreter) -> bool {
        !matches!(self, Self::Tasks(_)) || python.minor() >= TASKS_FROM
    }
}

impl Load<'_> {
    /// Starts it; it waits to be let go.
    pub(super) fn start(&self) -> Result<Running> {
        let mut command = self.python.command();
        command
            .arg(self.python.place(&sources().join("python/shapes.py"))?)
            .args([self.shape.word(), &self.shape.count().to_string()]);
        Ok(Running(Workload::start_command(command)?))
    }
}

impl Running {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it do its work once.
    pub(super) fn batch(&mut self) -> Result<Batch> {
        self.0.go()?;
        let answer = self.0.await_json(LONGEST)?.context("the load ended early")?;
        let number = |name: &str| answer[name].as_f64().with_context(|| format!("the load says no {name}"));
        Ok(Batch { cpu_ns: number("cpu_ns")?, wall_ns: number("wall_ns")? })
    }

    /// Starts profilerd about it.
    pub(super) fn profile(&self, options: &[&str]) -> Result<Daemon> {
        Daemon::start_for(self.0.pid(), options)
    }
}
