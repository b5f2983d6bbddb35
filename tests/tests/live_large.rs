//! A browser begins to be sampled while another program is: the daemon goes on reading what the kernel half records.
//!
//! The browser's executable alone has some hundred megabytes and some million unwind rules; nothing of it is known before.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::kernel_books::KernelBooks;
use profiler_tests::oracle::Subject;
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell};
use serde_json::Value;

/// The longest the daemon may be away from the records of the program that is sampled all along.
const LONGEST_ABSENCE_NS: u64 = 100_000_000;

/// How long it is watched once the browser is selected.
const WATCHED: Duration = Duration::from_secs(12);

/// On-CPU samples a second, times ten.
const SAMPLES_PER_10_S: u64 = 970;

const STEP: Duration = Duration::from_secs(60);

#[test]
fn a_browser_that_is_attached_to_keeps_the_daemon_from_nothing() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut spinner = Workload::start("traps", &["spin_forever"])?;
    spinner.go()?;
    let daemon = Daemon::start_for(spinner.pid(), &["--window", "2s"])?;
    let before = KernelBooks::read(spinner.pid(), spinner.pid())?;
    let Some(browser) = Subject::chromium()? else { return Ok(()) };
    let asked = Instant::now();
    daemon.select(&format!("pid:{}", browser.pid()))?;
    let prepared = asked.elapsed();
    watch(&daemon, browser.pid())?;
    let spun = KernelBooks::read(spinner.pid(), spinner.pid())?.since(before);
    browser.finish()?;
    let status = daemon.json("/api/v1/status")?;
    let samples = samples_of(&daemon, spinner.pid())?;
    tell(&format!(
        "browser: prepared in {prepared:.1?}; {samples} samples in {} ms of CPU; {status}",
        spun.cpu / 1_000_000
    ));
    check(&status)?;
    let expected = spun.cpu * SAMPLES_PER_10_S / 10_000_000_000;
    ensure!(samples >= expected * 9 / 10, "{samples} samples of the program sampled all along, expected {expected}");
    Ok(())
}

/// Lets time pass, and asks for the browser's functions meanwhile, as users do.
fn watch(daemon: &Daemon, pid: u32) -> Result<()> {
    let begun = Instant::now();
    poll_until(STEP, || {
        daemon.functions(pid)?;
        Ok((begun.elapsed() >= WATCHED).then_some(()))
    })
}

fn samples_of(daemon: &Daemon, pid: u32) -> Result<u64> {
    let functions = daemon.functions(pid)?;
    Ok(functions.row("never_stop").context("the program that spins has no samples")?.samples)
}

fn check(status: &Value) -> Result<()> {
    for reason in ["stack_ring_full", "lifecycle_ring_full", "undecodable", "window_full"] {
        ensure!(status["loss"].get(reason).is_none(), "records were lost: {}", status["loss"]);
    }
    let absence = status["longest_absence_ns"].as_u64().context("the status does not tell the longest absence")?;
    ensure!(absence <= LONGEST_ABSENCE_NS, "{} ms away from what the kernel half recorded", absence / 1_000_000);
    ensure!(status["unwind"]["tables"].as_u64() > Some(20), "the browser's tables are not there: {status}");
    Ok(())
}
