//! The budget of captures on the kernel: a thousand threads that nap for ten milliseconds, beside two that only switch.

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::{Daemon, Hotspots, Workload, live_host, tell};
use serde_json::Value;

const RUN: Duration = Duration::from_secs(60);
const SECONDS: f64 = 12.0;
const BUDGET_HZ: f64 = 200.0;

/// Switches per second that the load must have, so that the test means something.
const LEAST_SWITCHES_HZ: f64 = 100_000.0;

#[test]
fn captures_keep_to_the_budget_and_estimates_to_their_error() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("crowd", &[&SECONDS.to_string(), "1000"])?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "2s", "--frequency", "10"])?;
    let (before, began) = (Counts::read(&daemon)?, Instant::now());
    workload.go()?;
    let own_books = workload.await_all(RUN)?;
    let (after, seconds) = (Counts::read(&daemon)?, began.elapsed().as_secs_f64());
    check_rate(&before, &after, seconds)?;
    let pid = workload.pid();
    check_estimates(&own_books, &daemon.functions(pid)?)?;
    drop(workload);
    check_sums(&daemon)
}

/// The daemon's counters.
struct Counts {
    switches: u64,
    walks: u64,
    period: Value,
}

impl Counts {
    fn read(daemon: &Daemon) -> Result<Self> {
        let status = daemon.json("/api/v1/status")?;
        let count = |name: &str| status["counters"][name].as_u64().with_context(|| format!("no counter {name}"));
        let period = status["wait_period"].clone();
        Ok(Self { switches: count("context_switches")?, walks: count("stack_walks")?, period })
    }
}

fn check_rate(before: &Counts, after: &Counts, seconds: f64) -> Result<()> {
    let cpus = available_parallelism()?.get() as f64;
    let switches_hz = (after.switches - before.switches) as f64 / seconds;
    // The timer's samples are walks, too: ten per CPU and second at the most.
    let captures_hz = (after.walks - before.walks) as f64 / seconds / cpus;
    tell(&format!(
        "{switches_hz:.0} switches/s, {captures_hz:.0} captures/s and CPU, T {} ms to {} ms",
        after.period["least_ns"].as_f64().unwrap_or(0.0) / 1e6,
        after.period["most_ns"].as_f64().unwrap_or(0.0) / 1e6
    ));
    ensure!(switches_hz >= LEAST_SWITCHES_HZ, "only {switches_hz:.0} switches/s");
    ensure!(captures_hz <= 1.25 * BUDGET_HZ + 10.0, "{captures_hz:.0} captures per second and CPU");
    ensure!(captures_hz >= 0.5 * BUDGET_HZ, "only {captures_hz:.0} captures per second and CPU");
    Ok(())
}

/// Of a process that has ended, what is told of stacks sums up to the exact totals, class by class, to the nanosecond.
fn check_sums(daemon: &Daemon) -> Result<()> {
    let of = |report: &str| daemon.json(&format!("/api/v1/{report}last=1h&comm=crowd&limit=1000"));
    let (exact, told) = (of("breakdown?")?, of("hotspots?by=process&idle=show&")?);
    let waits = |answer: &Value| answer["rows"][0]["wait_ns"].clone();
    tell(&format!("waits, exact: {}; in stacks: {}", waits(&exact), waits(&told)));
    ensure!(waits(&exact).is_object() && waits(&exact) == waits(&told), "{exact} and {told}");
    check_lengths(&exact["rows"][0]["wait_lengths"])
}

/// A nap lasts as long as it should, or somewhat longer.
fn check_lengths(lengths: &Value) -> Result<()> {
    tell(&format!("lengths: {lengths}"));
    let ms = |class: &str, what: &str| lengths[class][what].as_f64().map(|ns| ns / 1e6);
    let median = ms("sleep", "p50_ns").context("no median of naps")?;
    let longest = ms("sleep", "longest_ns").context("no longest nap")?;
    ensure!((8.0..17.0).contains(&median), "half of the naps were shorter than {median} ms");
    // The main thread sleeps all the while.
    ensure!((SECONDS * 1e3..SECONDS * 1.2e3).contains(&longest), "the longest nap took {longest} ms");
    Ok(())
}

fn check_estimates(own_books: &[Value], functions: &Hotspots) -> Result<()> {
    let missing = functions.unattributed;
    tell(&format!("{:.1} s of {:.1} s without a stack; loss {:?}", s(missing), s(functions.total), functions.loss));
    ensure!(missing * 20 < functions.total, "{missing} ns of {} have no stack", functions.total);
    for line in own_books {
        let name = line["function"].as_str().context("a line has no function")?;
        let truth = line["wait_ns"].as_u64().context("a line has no waits")?;
        let row = functions.row(name).with_context(|| format!("no row for {name} in {:?}", functions.names()))?;
        // What it computes, no more than some microseconds each time, is in the row as well.
        let told = row.total - row.cpu_sum();
        let apart = told.abs_diff(truth);
        tell(&format!(
            "{name:<11} {:>8.2} s by its own clock, told {:>8.2} s ± {:.2}, {:.1} standard errors, {} captures",
            s(truth),
            s(told),
            s(row.stderr),
            apart as f64 / row.stderr.max(1) as f64,
            row.samples
        ));
        ensure!(apart <= 4 * row.stderr + missing + truth / 50, "{name} is {apart} ns off, stderr {}", row.stderr);
    }
    Ok(())
}

fn s(ns: u64) -> f64 {
    ns as f64 / 1e9
}
