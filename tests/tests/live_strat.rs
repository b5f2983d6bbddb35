//! STRAT on the kernel: a sampling daemon beside one that captures the stack of every wait, on the same process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::{Daemon, Hotspots, Workload, live_host, tell};
use serde_json::Value;

const RUN: Duration = Duration::from_secs(60);

/// Nanoseconds of waiting that the load must have, so that the bounds mean something.
const LEAST_OFF_CPU_NS: u64 = 180_000_000_000;

/// One function that waits: what each side says about it, in nanoseconds.
struct Row {
    function: String,
    truth: u64,
    estimate: u64,
    stderr: u64,
    samples: u64,
}

#[test]
fn sampled_waits_agree_with_stacks_on_every_switch() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("mixed_waits", &["15"])?;
    let every_switch = ["--wait-period", "0", "--wait-budget", "1000000", "--window", "2s"];
    let truth = Daemon::start_for(workload.pid(), &every_switch)?;
    let sampled = Daemon::start_for(workload.pid(), &["--wait-period", "10ms"])?;
    workload.go()?;
    let own_books = workload.await_all(RUN)?;
    let rows = compare(&own_books, &truth.functions(workload.pid())?, &sampled.functions(workload.pid())?)?;
    check(&rows)
}

fn compare(own_books: &[Value], truth: &Hotspots, sampled: &Hotspots) -> Result<Vec<Row>> {
    tell(&format!("every switch: loss {:?}; sampled: loss {:?}", truth.loss, sampled.loss));
    ensure!(lost(&truth.loss) == 0, "the reference lost stacks: {:?}", truth.loss);
    own_books.iter().map(|line| compare_one(line, truth, sampled)).collect()
}

fn compare_one(line: &Value, truth: &Hotspots, sampled: &Hotspots) -> Result<Row> {
    let function = line["function"].as_str().context("a line has no function")?.to_owned();
    let class = line["class"].as_str().context("a line has no class")?;
    let missing = |hotspots: &Hotspots| format!("no row for {function} in {:?}", hotspots.names());
    let exact = truth.row(&function).with_context(|| missing(truth))?;
    let estimated = sampled.row(&function).with_context(|| missing(sampled))?;
    let row = Row {
        truth: exact.waited(class),
        estimate: estimated.waited(class),
        stderr: estimated.stderr,
        samples: estimated.samples,
        function,
    };
    tell(&describe(&row, line));
    Ok(row)
}

fn describe(row: &Row, line: &Value) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    let errors = row.estimate.abs_diff(row.truth) as f64 / row.stderr.max(1) as f64;
    let own = line["wait_ns"].as_u64().unwrap_or(0);
    format!(
        "{:<11} truth {:>11.1} ms, sampled {:>11.1} ms ± {:>7.1}, {errors:>5.2} standard errors, {:>6} samples of {:>8} waits; by its own clock {:>11.1} ms",
        row.function,
        ms(row.truth),
        ms(row.estimate),
        ms(row.stderr),
        row.samples,
        line["waits"].as_u64().unwrap_or(0),
        ms(own)
    )
}

fn check(rows: &[Row]) -> Result<()> {
    let total: u64 = rows.iter().map(|row| row.truth).sum();
    let off: u64 = rows.iter().map(|row| row.truth.abs_diff(row.estimate)).sum();
    let l1 = off as f64 / total as f64;
    tell(&format!("STRAT live at T = 10 ms: {:.1} s of waiting, L1 {:.3} %", total as f64 / 1e9, l1 * 100.0));
    ensure!(total >= LEAST_OFF_CPU_NS, "only {total} ns of waiting");
    ensure!(l1 <= 0.015, "L1 is {:.3} %", l1 * 100.0);
    for row in rows {
        // Long waits are exact, so that their printed error may be zero: clocks of two daemons differ by less than this.
        let floor = row.truth / 1000;
        let apart = row.truth.abs_diff(row.estimate);
        ensure!(apart <= (4 * row.stderr).max(floor), "{} is {apart} ns off, stderr {}", row.function, row.stderr);
    }
    Ok(())
}

/// Everything that means a missing stack.
fn lost(loss: &BTreeMap<String, u64>) -> u64 {
    ["stack_ring_full", "walk_refused", "window_full"].iter().filter_map(|reason| loss.get(*reason)).sum()
}
