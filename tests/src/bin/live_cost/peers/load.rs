//! What is profiled: a C program at a chosen depth of its stack, and an interpreter at work.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::workload::sources;
use profiler_tests::{Workload, tell};

const LONGEST: Duration = Duration::from_secs(60);

/// Debian's interpreter, which keeps no frame pointers.
const PYTHON: &str = "/usr/bin/python3.11";

/// Executables a process with many libraries maps.
const MANY_EXECUTABLES: u32 = 200;

/// A program to profile.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Load {
    /// A C program without frame pointers.
    Depths {
        /// The frames of its stacks.
        frames: u32,
        /// The threads that compute.
        threads: u32,
    },
    /// Debian's Python.
    Python {
        /// Executables it maps beside its own.
        executables: u32,
    },
}

/// What a load did in one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Batch {
    /// Work done per second of its CPU time.
    pub(super) speed: f64,
    /// Nanoseconds that interrupts took from it, per second it computed; it must watch the clock to know.
    pub(super) lost_ns: Option<f64>,
    /// What one sample took from it: the median of its longest pauses, as many as there are samples in a second.
    pub(super) pause_ns: Option<f64>,
}

/// A load that runs.
pub(super) struct Running(Workload);

impl Load {
    /// All that can run here.
    pub(super) fn all() -> Vec<Self> {
        let depths = |frames, threads| Self::Depths { frames, threads };
        let mut loads = vec![depths(10, 1), depths(50, 1), depths(200, 1), depths(50, 2)];
        if Path::new(PYTHON).exists() {
            loads.extend([0, MANY_EXECUTABLES].map(|executables| Self::Python { executables }));
        } else {
            tell(&format!("there is no {PYTHON} (Debian: python3.11), so it is not profiled"));
        }
        loads
    }

    /// What it is called in tables.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Depths { frames, threads: 1 } => format!("C, {frames} frames, 1 thread"),
            Self::Depths { frames, threads } => format!("C, {frames} frames, {threads} threads"),
            Self::Python { executables: 0 } => "python3.11".to_owned(),
            Self::Python { executables } => format!("CPython with {executables} executables"),
        }
    }

    /// How many of its threads compute at once.
    pub(super) fn threads(&self) -> u32 {
        match self {
            Self::Depths { threads, .. } => *threads,
            Self::Python { .. } => 1,
        }
    }

    /// The outermost functions of the program itself; a stack that reaches one is complete.
    pub(super) fn roots(&self) -> &'static [&'static str] {
        match self {
            Self::Depths { .. } => &["main", "thread_begin"],
            Self::Python { .. } => &["Py_BytesMain"],
        }
    }

    /// Starts it, to be sampled at a rate; it waits to be let go.
    pub(super) fn start(&self, frequency_hz: u32) -> Result<Running> {
        Ok(Running(match self {
            Self::Depths { frames, threads } => {
                let arguments = [*frames, *threads, frequency_hz].map(|number| number.to_string());
                Workload::start("depths", &arguments.each_ref().map(String::as_str))?
            }
            Self::Python { executables } => {
                let mut command = Command::new(PYTHON);
                command.arg(sources().join("busy.py")).arg(executables.to_string());
                Workload::start_command(command)?
            }
        }))
    }
}

impl Running {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it compute for a second.
    pub(super) fn batch(&mut self) -> Result<Batch> {
        self.0.go()?;
        let answer = self.0.await_json(LONGEST)?.context("the load ended early")?;
        let number = |name: &str| answer[name].as_f64();
        let (turns, cpu_ns) = (number("turns").context("no turns")?, number("cpu_ns").context("no CPU time")?);
        let lost_ns = number("lost_ns").zip(number("lasted_ns")).map(|(lost, lasted)| lost * 1e9 / lasted);
        Ok(Batch { speed: turns * 1e9 / cpu_ns, lost_ns, pause_ns: number("pause_ns") })
    }
}
