//! More threads and processes than is comfortable: nothing crashes, and what is lost is counted and shown.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::{Books, Daemon, Workload, live_host, poll_until, tell};
use serde_json::Value;

const RUN: Duration = Duration::from_secs(60);
const RATE: &str = "500";
const SECONDS: &str = "10";

/// Resident memory that the daemon may take beyond what it had before the churn, in KiB.
const MEMORY_GROWTH_KIB: u64 = 200 << 10;

struct Churn {
    started: u64,
    seconds: f64,
    cpu_ns: u64,
}

#[test]
fn five_hundred_short_processes_a_second_are_accounted() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("churn", &[RATE, SECONDS, "1"])?;
    let mut daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    let churn = run(&mut workload, &daemon)?;
    ensure!(churn.started as f64 / churn.seconds > 100.0, "only {} processes were started", churn.started);
    let rows = daemon.breakdown("")?;
    let children: Vec<&Books> = rows.iter().filter(|row| row.pid != workload.pid()).collect();
    let cpu: u64 = children.iter().map(|row| row.cpu).sum();
    let loss = loss(&daemon)?;
    tell(&format!(
        "churn: {} processes, CPU by wait4 {:.1} ms, by the daemon {:.1} ms, {} rows, loss {loss}",
        churn.started,
        churn.cpu_ns as f64 / 1e6,
        cpu as f64 / 1e6,
        children.len()
    ));
    ensure!(daemon.is_running()?, "the daemon ended");
    let gone = loss.get("process_gone").and_then(Value::as_u64).unwrap_or(0);
    poll_until(RUN, || Ok((gone_by_status(&daemon)? >= gone).then_some(())))
        .with_context(|| format!("the status never tells the {gone} processes that were gone"))?;
    // Stacks of processes that ended before their mappings were read have no names, which is counted; totals miss nothing.
    for reason in ["lifecycle_ring_full", "thread_table_full", "stack_ring_full", "undecodable"] {
        ensure!(loss.get(reason).is_none(), "unexpected losses: {loss}");
    }
    let spaces = || -> Result<u64> { daemon.json("/api/v1/status")?["unwind"]["spaces"].as_u64().context("no spaces") };
    poll_until(RUN, || Ok((spaces()? <= 1).then_some(()))).context("mappings of processes that ended are kept")?;
    // Figures of wait4 are rounded down, and end a little before the process does.
    let apart = cpu.abs_diff(churn.cpu_ns);
    ensure!(apart <= churn.cpu_ns / 50, "{apart} ns of CPU are not accounted");
    Ok(())
}

#[test]
fn a_full_thread_table_is_counted_in_json_and_said_in_text() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("churn", &["100", "3", "60"])?;
    let options = ["--variant", "hash", "--max-threads", "16", "--window", "1s"];
    let mut daemon = Daemon::start_for(workload.pid(), &options)?;
    run(&mut workload, &daemon)?;
    let loss = loss(&daemon)?;
    tell(&format!("overflow: loss {loss}"));
    let full = loss["thread_table_full"].as_u64().context("the overflow is not counted")?;
    ensure!(full > 0, "no thread was refused");
    for report in ["breakdown", "hotspots"] {
        let text = daemon.get_text(&format!("/api/v1/{report}?last=1h"))?.text();
        ensure!(text.contains(&full.to_string()), "{report} does not say that {full} threads were refused:\n{text}");
    }
    ensure!(daemon.is_running()?, "the daemon ended");
    ensure!(daemon.stop()?.status.success(), "the daemon did not end in order");
    Ok(())
}

/// Lets the workload churn while the daemon is asked again and again; checks the daemon's memory and that it answers.
fn run(workload: &mut Workload, daemon: &Daemon) -> Result<Churn> {
    let before = resident_kib(daemon.pid())?;
    workload.go()?;
    let line = workload.await_json(RUN)?.context("the workload printed no figures")?;
    daemon.books(workload.pid())?;
    ensure!(daemon.get("/healthz")?.status == 200, "the daemon is not well");
    let after = resident_kib(daemon.pid())?;
    tell(&format!("churn: {line}; daemon {before} KiB before, {after} KiB after"));
    ensure!(after < before + MEMORY_GROWTH_KIB, "memory grew from {before} to {after} KiB");
    Ok(Churn {
        started: line["started"].as_u64().context("no count")?,
        seconds: line["seconds"].as_f64().context("no time")?,
        cpu_ns: line["cpu_ns"].as_u64().context("no CPU time")?,
    })
}

fn loss(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.json("/api/v1/breakdown?last=1h")?["loss"].clone())
}

/// What the status counts of closed windows.
fn gone_by_status(daemon: &Daemon) -> Result<u64> {
    Ok(daemon.json("/api/v1/status")?["loss"]["process_gone"].as_u64().unwrap_or(0))
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS is not a number")
}
