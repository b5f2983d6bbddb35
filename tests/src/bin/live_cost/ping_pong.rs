//! The workload: two threads that pass a byte to and fro over two pipes, both pinned to one CPU, so that every read is a
//! context switch.

use std::io::{BufRead, PipeReader, PipeWriter, Read, Write, pipe, stdin};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::Workload;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// The argument that makes this program the workload.
pub(crate) const ARGUMENT: &str = "ping-pong";

const ROUND_TRIPS: u64 = 100_000;
const LONGEST: Duration = Duration::from_secs(120);

/// The workload as a process of its own, waiting to be let go.
pub(crate) struct PingPong(Workload);

impl PingPong {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        command.arg(ARGUMENT);
        Ok(Self(Workload::start_command(command)?))
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it run one batch; returns the nanoseconds of its CPU time per context switch. The kernel charges a switch, and
    /// whatever is attached to it, to the thread that comes next, so this is all of the cost, and the time others take
    /// the CPU away is left out.
    pub(crate) fn batch(&mut self) -> Result<f64> {
        self.0.go()?;
        let answer = self.0.await_json(LONGEST)?.context("the workload ended early")?;
        answer["cpu_ns_per_switch"].as_f64().context("the workload's answer has no time")
    }
}

/// Runs a batch for each line on standard input, and prints what a switch cost.
pub(crate) fn run() -> Result<()> {
    pin_to_one_cpu()?;
    let (mut there, mut from_there) = start_partner()?;
    println!("ready {}", std::process::id());
    for line in stdin().lock().lines() {
        line.context("failed to read the standard input")?;
        let begin_ns = process_cpu_ns();
        for _ in 0..ROUND_TRIPS {
            pass(&mut there, &mut from_there)?;
        }
        let ns = (process_cpu_ns() - begin_ns) as f64 / (2 * ROUND_TRIPS) as f64;
        println!("{}", json!({ "cpu_ns_per_switch": ns }));
    }
    Ok(())
}

/// The CPU time of all threads of this process.
fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The last CPU this process may use: interrupts prefer the first. Threads inherit the choice.
fn pin_to_one_cpu() -> Result<()> {
    let allowed = sched_getaffinity(None).context("failed to read the allowed CPUs")?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).context("no CPU is allowed")?;
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).context("failed to pin to one CPU")
}

fn start_partner() -> Result<(PipeWriter, PipeReader)> {
    let (mut to_answer, there) = pipe().context("failed to create a pipe")?;
    let (from_there, mut back) = pipe().context("failed to create a pipe")?;
    thread::spawn(move || {
        let mut byte = [0];
        while to_answer.read_exact(&mut byte).and_then(|()| back.write_all(&byte)).is_ok() {}
    });
    Ok((there, from_there))
}

fn pass(there: &mut PipeWriter, from_there: &mut PipeReader) -> Result<()> {
    let mut byte = [1];
    there.write_all(&byte).and_then(|()| from_there.read_exact(&mut byte)).context("the partner is gone")
}
