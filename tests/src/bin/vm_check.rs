//! One ground-truth phase inside a small virtual machine: prints `vm_check: ok ...` or `vm_check: FAILED ...`.
//!
//! Takes the path of the static workload as its argument (`/ground_truth` without one) and `$PROFILERD_BIN` as the daemon.
//!
//! The bound is 3 % and not 1 %: a machine emulated instruction by instruction needs milliseconds from a timer's interrupt to
//! the program's clock read, and that lies between the program's edges and the kernel's, on both sides of each phase.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use profiler_tests::ground_truth::{Run, class_checks, scheduler_checks};
use profiler_tests::{Daemon, Workload};

const PART: f64 = 0.03;

/// A context switch takes tens of microseconds there, and a run has some hundred of them.
const SWITCHING_NS: u64 = 5_000_000;

fn main() -> ExitCode {
    match check() {
        Ok(summary) => {
            println!("vm_check: ok {summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("vm_check: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<String> {
    let mut command = Command::new(std::env::args().nth(1).unwrap_or_else(|| "/ground_truth".into()));
    command.args(["--seconds", "2", "compute", "sleep", "net"]);
    let mut workload = Workload::start_command(command)?;
    let daemon = Daemon::start_for(workload.pid(), &[])?;
    let status = daemon.json("/api/v1/status")?;
    println!("vm_check: {} variant={} switch_in={}", status["kernel"], status["variant"], status["switch_in"]);
    let run = Run::record(&mut workload, &daemon)?;
    let checks = [class_checks(&run, PART)?, scheduler_checks(&run, PART, SWITCHING_NS)?].concat();
    checks.iter().for_each(|check| println!("vm_check: {check}"));
    let wrong: Vec<String> = checks.iter().filter(|check| !check.passes()).map(|check| check.what.clone()).collect();
    ensure!(wrong.is_empty(), "wrong: {}", wrong.join(", "));
    ensure!(run.functions.rows.iter().any(|row| row.cpu_sum() > 0), "no function has CPU time");
    Ok(format!("{} checks", checks.len()))
}
