//! Ground-truth phases and whole stacks inside a small virtual machine: prints `vm_check: ok ...` or `vm_check: FAILED ...`.
//!
//! The workload is built without frame pointers, so its stacks are whole only if the tables of unwind rules are right.
//!
//! Takes the path of the static workload as its argument (`/ground_truth` without one) and `$PROFILERD_BIN` as the daemon.
//!
//! The bound is 3 % and not 1 %: a machine emulated instruction by instruction needs milliseconds from a timer's interrupt to
//! the program's clock read, and that lies between the program's edges and the kernel's, on both sides of each phase.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use profiler_tests::books;
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
    let stacks = check_stacks(&daemon, workload.pid())?;
    let wakers = match status["fallbacks"].to_string().contains("who ended a wait is not told") {
        true => "no wakers told".to_owned(),
        false => check_wakers(&daemon, workload.pid(), &run.helpers)?,
    };
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    Ok(format!("{} {}, {} checks, {stacks}, {wakers}", text("variant"), text("switch_in"), checks.len()))
}

/// Every user stack must reach the outermost frame, and those of the phases must pass through `main`.
fn check_stacks(daemon: &Daemon, pid: u32) -> Result<String> {
    let folded = daemon.get(&format!("/api/v1/profile.folded?pid={pid}&idle=show"))?.text();
    let of_user = |line: &&str| line.contains(";main;");
    let (whole, cut) =
        (folded.lines().filter(of_user).count(), folded.lines().filter(|line| line.contains("[truncated")));
    let cut: Vec<&str> = cut.collect();
    ensure!(cut.is_empty(), "stacks that are cut: {cut:?}");
    for phase in ["compute", "sleep", "net"] {
        let passes = |line: &str| line.contains(";main;") && line.contains(phase);
        ensure!(folded.lines().any(passes), "no whole stack through phase {phase} in {folded}");
    }
    Ok(format!("{whole} distinct stacks whole, none cut"))
}

/// Sleeps are ended by timers, which some kernels do not tell from other interrupts, and what is received by the helper that sends
/// it or by packets; by no other thread.
fn check_wakers(daemon: &Daemon, pid: u32, helpers: &[u32]) -> Result<String> {
    let answer = daemon.json(&format!("/api/v1/hotspots?last=1h&by=wait&idle=show&limit=1000&pid={pid}"))?;
    let rows = books::rows(&answer)?;
    let woken_in = |class: &str| {
        let of_class = rows.iter().filter(|row| row["function"].as_str().is_some_and(|name| name.starts_with(class)));
        of_class.flat_map(|row| row["woken_by"].as_array().into_iter().flatten()).collect::<Vec<_>>()
    };
    let (sleeps, receptions) = (woken_in("sleep"), woken_in("net"));
    ensure!(!sleeps.is_empty() && !receptions.is_empty(), "nobody is told to end waits: {answer}");
    let strangers: Vec<_> = sleeps
        .iter()
        .filter(|waker| waker["context"] != "timer" && waker["context"] != "irq")
        .chain(receptions.iter().filter(|waker| match waker["pid"].as_u64() {
            Some(pid) => !helpers.iter().any(|helper| u64::from(*helper) == pid),
            None => waker["context"] != "softirq",
        }))
        .collect();
    ensure!(strangers.is_empty(), "wakers that cannot be: {strangers:?}");
    Ok(format!("{} wakers right", sleeps.len() + receptions.len()))
}
