//! The running oracle: it traces a process and its descendants, and walks each thread that stops.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::oracle::{Places, Stop};
use crate::program::Program;
use crate::workload::{Build, build};

const STEP: Duration = Duration::from_secs(60);

/// `workloads/oracle.c`, attached. Dropping it lets the threads go, as the kernel does at the end of a tracer.
pub struct Tracer {
    program: Program,
}

/// What the oracle saw.
#[derive(Debug, Default, Clone)]
pub struct Walks {
    /// Every stop, in order per thread.
    pub stops: Vec<Stop>,
    /// Where addresses lie.
    pub places: Places,
}

impl Tracer {
    /// Compiles the oracle if needed, and returns when it has seized every thread of the process and its descendants.
    pub fn start(pid: u32) -> Result<Self> {
        let build = build(&Build { source: "oracle.c", output: "oracle", compiler: &COMPILER, libraries: &LIBRARIES })?;
        let mut command = Command::new(build);
        command.arg(pid.to_string());
        let mut program = Program::start(command)?;
        program.await_line(STEP, |line| line.starts_with("ready ").then_some(()))?;
        Ok(Self { program })
    }

    /// Lets every thread go on untraced, and returns what was seen. Nothing may stop threads any more.
    pub fn finish(self) -> Result<Walks> {
        let ended = self.program.finish(STEP)?;
        ensure!(ended.status.success(), "the oracle failed: {:?}", ended.lines.last());
        let mut walks = Walks::default();
        for line in &ended.lines {
            walks.places.add_line(line);
            walks.stops.extend(Stop::parse(line));
        }
        Ok(walks)
    }
}

const COMPILER: [&str; 4] = ["gcc", "-O2", "-g", "-Wall"];
const LIBRARIES: [&str; 2] = ["-ldw", "-lelf"];
