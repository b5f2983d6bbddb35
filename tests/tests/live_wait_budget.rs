//! The budget of captures on the kernel: a thousand threads that nap for ten milliseconds, beside two that only switch.

use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use profiler_tests::{Daemon, Hotspots, Workload, live_host, tell};
use serde_json::Value;

const RUN: Duration = Duration::from_secs(60);
const SECONDS: f64 = 12.0;

/// Between two looks at T, and how long captures are counted.
const LOOK: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(5);

/// A thousand threads that wait nearly all the time need a T beyond this to keep to the budget on four CPUs.
const LEAST_SETTLED_NS: f64 = 0.5e9;

const BUDGET_HZ: f64 = 200.0;

/// Switches per second that the load must have, so that the test means something.
const LEAST_SWITCHES_HZ: f64 = 100_000.0;

#[test]
fn captures_keep_to_the_budget_and_estimates_to_their_error() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("crowd", &[&SECONDS.to_string(), "1000"])?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "2s", "--frequency", "10"])?;
    workload.go()?;
    check_rate(&Counts::settled(&daemon)?, &daemon)?;
    let own_books = workload.await_all(RUN)?;
    let pid = workload.pid();
    check_estimates(&own_books, &daemon.functions(pid)?)?;
    drop(workload);
    check_sums(&daemon)
}

/// The daemon's counters, and when they were read.
struct Counts {
    at: Instant,
    switches: u64,
    walks: u64,
    period: Value,
}

impl Counts {
    fn read(daemon: &Daemon) -> Result<Self> {
        let status = daemon.json("/api/v1/status")?;
        let count = |name: &str| status["counters"][name].as_u64().with_context(|| format!("no counter {name}"));
        let period = status["wait_period"].clone();
        Ok(Self { at: Instant::now(), switches: count("context_switches")?, walks: count("stack_walks")?, period })
    }

    /// Once T has stopped growing. Until then bins that began with a short T lead to captures, up to the caps.
    fn settled(daemon: &Daemon) -> Result<Self> {
        let mut before = Self::read(daemon)?;
        let until = before.at + RUN;
        while Instant::now() < until {
            sleep(LOOK);
            let now = Self::read(daemon)?;
            if now.most_ns()? > LEAST_SETTLED_NS && now.most_ns()? < 1.1 * before.most_ns()? {
                return Ok(now);
            }
            before = now;
        }
        bail!("T still grows: {}", before.period)
    }

    fn most_ns(&self) -> Result<f64> {
        self.period["most_ns"].as_f64().context("no longest T")
    }
}

fn check_rate(before: &Counts, daemon: &Daemon) -> Result<()> {
    sleep(MEASURED);
    let after = Counts::read(daemon)?;
    let seconds = (after.at - before.at).as_secs_f64();
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
    // Threads carry bins from a CPU with a shorter T to one with a longer T, which does not expect their captures.
    ensure!(captures_hz <= 1.75 * BUDGET_HZ + 10.0, "{captures_hz:.0} captures per second and CPU");
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
    // Until T has grown, walks are refused; that takes less than a second.
    ensure!((missing as f64) * SECONDS < functions.total as f64, "{missing} ns of {} have no stack", functions.total);
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
