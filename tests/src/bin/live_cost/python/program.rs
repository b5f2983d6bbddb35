//! The program that is profiled, and what it says its lines cost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::Workload;
use profiler_tests::workload::sources;
use serde_json::Value;

use super::lines::{ELSEWHERE, Lines};

const LONGEST: Duration = Duration::from_secs(120);

/// How often the program does its work; less than two seconds in all on the machine of the documents.
const TURNS: &str = "20";

/// The name of the program's file, by which profilers' lines are told from others.
pub(super) const FILE: &str = "line_costs.py";

/// The program, waiting to be let go.
pub(super) struct Running(Workload);

/// What the program measured of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Truth {
    /// CPU time by line, in nanoseconds.
    pub(super) cpu: Lines,
    /// Time by line.
    pub(super) wall: Lines,
    /// The CPU time of all its work.
    pub(super) cpu_ns: f64,
    /// The time of all its work.
    pub(super) wall_ns: f64,
    /// Lines on which it waits before and after its work.
    pub(super) waiting: Vec<u32>,
}

impl Running {
    /// Starts it on an interpreter, for so many batches of its work.
    pub(super) fn start(interpreter: &str, batches: u32) -> Result<Self> {
        let mut command = Command::new(interpreter);
        command.arg(script()).args([TURNS, &batches.to_string()]);
        Self::start_command(command)
    }

    /// Starts it under Scalene, for one batch; Scalene writes what it found to a file at the program's end.
    pub(super) fn start_under_scalene(scalene: &Path, file: &Path) -> Result<Self> {
        let mut command = Command::new(scalene);
        command.args(["run", "--cpu-only", "-o"]).arg(file).arg(script()).args(["---", TURNS, "1"]);
        Self::start_command(command)
    }

    fn start_command(command: Command) -> Result<Self> {
        Ok(Self(Workload::start_command(command)?))
    }

    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it do a batch of its work; it lives on until the value is dropped.
    pub(super) fn work(&mut self) -> Result<Truth> {
        self.0.go()?;
        let answer = self.0.await_json(LONGEST)?.context("the program ended early")?;
        Truth::parse(&answer).with_context(|| format!("the program's answer is malformed: {answer}"))
    }

    /// Lets it end, and waits for that.
    pub(super) fn end(mut self) -> Result<()> {
        self.0.go()?;
        profiler_tests::poll_until(LONGEST, || Ok((!self.0.program().is_running()?).then_some(())))
    }
}

impl Truth {
    fn parse(answer: &Value) -> Option<Self> {
        let times = |value: &Value| Some([value.get(0)?.as_f64()?, value.get(1)?.as_f64()?]);
        let [cpu_ns, wall_ns] = times(answer.get("all")?)?;
        let waiting =
            answer.get("waiting")?.as_array()?.iter().filter_map(|line| Some(line.as_u64()? as u32)).collect();
        let mut truth = Self { cpu: Lines::default(), wall: Lines::default(), cpu_ns, wall_ns, waiting };
        for (line, value) in answer.get("lines")?.as_object()? {
            let ([cpu, wall], line) = (times(value)?, line.parse().ok()?);
            truth.cpu.add(line, cpu);
            truth.wall.add(line, wall);
        }
        truth.cpu.add(ELSEWHERE, cpu_ns - truth.cpu.sum());
        truth.wall.add(ELSEWHERE, wall_ns - truth.wall.sum());
        Some(truth)
    }
}

fn script() -> PathBuf {
    sources().join("python").join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_line_accounts_for_is_elsewhere() {
        let answer = serde_json::json!({ "all": [10, 30], "lines": { "7": [4, 25, "sleep"] }, "waiting": [2] });
        let truth = Truth::parse(&answer).unwrap();
        assert_eq!((truth.cpu.of(7), truth.cpu.of(ELSEWHERE)), (4.0, 6.0));
        assert_eq!((truth.wall.of(7), truth.wall.of(ELSEWHERE)), (25.0, 5.0));
        assert_eq!(truth.waiting, [2]);
    }
}
