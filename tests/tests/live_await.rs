//! What an event loop waits, laid out over the lines with an `await` that are pending meanwhile, against a program that keeps books
//! of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::books::rows;
use profiler_tests::interpreter::{Interpreter, check_each};
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell, workload};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(120);
/// The version from which on asyncio publishes its tasks.
const PUBLISHED_FROM: u32 = 14;
/// So many looks there must be.
const LOOKS: u64 = 400;
/// The parts of the time may differ by so many of the standard errors that are told, for each function.
const STANDARD_ERRORS: f64 = 4.0;
/// Of what the loop waited for replies and timers, so much must be attributed.
const ATTRIBUTED: f64 = 0.99;

fn start(interpreter: &Interpreter, script: &str, arguments: &[String]) -> Result<Workload> {
    let script = interpreter.place(&workload::sources().join("python").join(script))?;
    let mut command = interpreter.command();
    command.arg("-u").arg(script).args(arguments);
    Workload::start_command(command)
}

/// The server, in a process of its own, and its client.
fn start_both(interpreter: &Interpreter) -> Result<(Workload, Workload)> {
    let server = start(interpreter, "awaits.py", &[])?;
    let port = server.numbers()[1].to_string();
    Ok((start(interpreter, "awaits.py", &[port])?, server))
}

fn hotspots(daemon: &Daemon, pid: u32, by: &str) -> Result<Value> {
    daemon.json(&format!("/api/v1/hotspots?last=1h&by={by}&idle=show&limit=100000&pid={pid}"))
}

fn looks(answer: &Value) -> u64 {
    answer["awaits"]["looks"].as_u64().unwrap_or_default()
}

/// What is attributed to a row for waits that ended so.
fn attributed(row: &Value, ended: &str) -> u64 {
    row["wait_detail_ns"][format!("await/{ended}")].as_u64().unwrap_or_default()
}

#[test]
fn what_a_loop_waits_is_attributed_as_its_own_books_say() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    check_each(published(), compare)
}

fn published() -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::one_of_each().into_iter().filter(|one| one.minor() >= PUBLISHED_FROM)
}

fn compare(interpreter: &Interpreter) -> Result<()> {
    let (mut client, _server) = start_both(interpreter)?;
    let pid = client.pid();
    let daemon = Daemon::start_for(pid, &["--window", "1s"])?;
    client.go()?;
    poll_until(STEP, || Ok((looks(&hotspots(&daemon, pid, "function")?) >= LOOKS).then_some(())))?;
    let answer = hotspots(&daemon, pid, "function")?;
    client.go()?;
    let books = client.await_json(STEP)?.context("the program ended")?;
    check_shares(interpreter, &answer, &books)?;
    check_lines(&hotspots(&daemon, pid, "line")?, &books)?;
    check_sums(&daemon, pid)
}

/// Each function's part of the waits that ended alike.
fn check_shares(interpreter: &Interpreter, answer: &Value, books: &Value) -> Result<()> {
    let mut failures = Vec::new();
    for ended in ["reply", "timer"] {
        let own: BTreeMap<String, f64> = serde_json::from_value(books["books"][ended].clone())?;
        let own_sum: f64 = own.values().sum();
        let charged: BTreeMap<&str, &Value> = rows(answer)?
            .iter()
            .filter(|row| attributed(row, ended) > 0)
            .filter_map(|row| Some((row["function"].as_str()?, row)))
            .collect();
        let sum: u64 = charged.values().map(|row| attributed(row, ended)).sum();
        ensure!(sum > 0 && own_sum > 0.0, "nothing is attributed of waits that ended by {ended}: {answer}");
        ensure!(charged.keys().all(|name| own.contains_key(*name)), "charged are {:?}", charged.keys());
        for (function, seconds) in &own {
            let row = charged.get(function.as_str());
            let ns = row.map_or(0, |row| attributed(row, ended));
            let error = row.and_then(|row| row["stderr_ns"].as_f64()).unwrap_or_default() / sum as f64;
            let (told, true_share) = (ns as f64 / sum as f64, seconds / own_sum);
            let line = format!(
                "{interpreter}: {ended} {function}: {:.1} % ± {:.1} %, by its own books {:.1} %",
                told * 100.0,
                error * 100.0,
                true_share * 100.0
            );
            if (told - true_share).abs() > STANDARD_ERRORS * error.max(1.0 / LOOKS as f64) {
                failures.push(line.clone());
            }
            tell(&line);
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The rows of lines are those of the `await`s.
fn check_lines(answer: &Value, books: &Value) -> Result<()> {
    let lines: BTreeMap<String, u64> = serde_json::from_value(books["lines"].clone())?;
    let rows = rows(answer)?.iter().filter(|row| row["attributed_ns"].as_u64().is_some_and(|ns| ns > 0));
    let mut charged: Vec<_> = rows.filter_map(|row| Some((row["function"].as_str()?, row["line"].as_u64()?))).collect();
    charged.sort_unstable();
    let expected: Vec<_> = lines.iter().map(|(function, line)| (function.as_str(), *line)).collect();
    ensure!(charged == expected, "charged are {charged:?}, not {expected:?}");
    Ok(())
}

/// Nothing is added or lost: the loop's total is the kernel half's, attributed or not.
fn check_sums(daemon: &Daemon, pid: u32) -> Result<()> {
    let path = format!("/api/v1/hotspots?last=1h&by=wait&idle=show&limit=100000&pid={pid}&state=poll");
    let (answer, books) = same_moment(daemon, pid, &path)?;
    let total: u64 = rows(&answer)?.iter().filter_map(|row| row["total_ns"].as_u64()).sum();
    ensure!(total == books, "rows of polls add up to {total} ns, and the books say {books} ns");
    let of = |prefix: &str| -> Result<u64> {
        let ended = ["reply", "timer"].map(|ended| format!("{prefix}/{ended}"));
        let rows = rows(&answer)?.iter().filter(|row| ended.iter().any(|label| row["function"] == *label));
        Ok(rows.filter_map(|row| row["total_ns"].as_u64()).sum())
    };
    let (attributed, left) = (of("await")?, of("poll")?);
    let share = attributed as f64 / (attributed + left) as f64;
    tell(&format!("{:.2} % of what the loop waited for replies and timers is attributed", share * 100.0));
    ensure!(share >= ATTRIBUTED, "of {} ns, {attributed} ns are attributed", attributed + left);
    let all =
        rows(&answer)?.iter().filter(|row| row["function"].as_str().is_some_and(|name| name.starts_with("await/")));
    let all: u64 = all.filter_map(|row| row["total_ns"].as_u64()).sum();
    ensure!(answer["awaits"]["attributed_ns"].as_u64() == Some(all), "{all} ns, and {}", answer["awaits"]);
    Ok(())
}

/// An answer, and the polls of the breakdown of the same windows: asked again until they have closed and are the same.
fn same_moment(daemon: &Daemon, pid: u32, path: &str) -> Result<(Value, u64)> {
    let answer = daemon.json(path)?;
    let (from, to) = (&answer["window"]["from"], &answer["window"]["to"]);
    let range = format!("from={}&to={}", from.as_str().unwrap_or(""), to.as_str().unwrap_or(""));
    let closed = path.replace("last=1h", &range);
    poll_until(STEP, || {
        let (answer, books) = (daemon.json(&closed)?, daemon.json(&format!("/api/v1/breakdown?{range}&pid={pid}"))?);
        let again = daemon.json(&closed)?;
        let poll = books["rows"][0]["wait_ns"]["poll"].as_u64();
        Ok((answer == again && answer["window"] == books["window"]).then_some(answer).zip(poll))
    })
}

#[test]
fn without_awaits_or_before_3_14_the_loop_keeps_its_waits() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let older = Interpreter::one_of_each().into_iter().rev().find(|one| one.minor() < PUBLISHED_FROM);
    check_each(older, |one| check_not_attributed(one, &["--window", "1s"]))?;
    check_each(published().take(1), |one| check_not_attributed(one, &["--window", "1s", "--no-await"]))
}

fn check_not_attributed(interpreter: &Interpreter, options: &[&str]) -> Result<()> {
    let (mut client, _server) = start_both(interpreter)?;
    let daemon = Daemon::start_for(client.pid(), options)?;
    client.go()?;
    let reply_ns = |row: &Value| row["wait_detail_ns"]["poll/reply"].as_u64().unwrap_or_default();
    let answer = poll_until(STEP, || {
        let answer = hotspots(&daemon, client.pid(), "function")?;
        let waited: u64 = rows(&answer)?.iter().map(reply_ns).sum();
        Ok((waited > 3_000_000_000).then_some(answer))
    })?;
    ensure!(answer["awaits"].is_null(), "{options:?}: {}", answer["awaits"]);
    Ok(())
}

#[test]
fn tasks_that_come_and_go_by_the_thousand_are_borne() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    check_each(published(), |interpreter| {
        let program = start(interpreter, "churn.py", &[])?;
        let mut daemon = Daemon::start_for(program.pid(), &["--window", "1s"])?;
        let answer = poll_until(STEP, || {
            let answer = hotspots(&daemon, program.pid(), "function")?;
            Ok((looks(&answer) >= 50).then_some(answer))
        })?;
        ensure!(daemon.is_running()?, "the daemon ended");
        let functions = rows(&answer)?.iter().filter(|row| row["attributed_ns"].as_u64().is_some_and(|ns| ns > 0));
        let names: Vec<_> = functions.filter_map(|row| row["function"].as_str()).collect();
        tell(&format!("{interpreter}: {} charged: {names:?}", answer["awaits"]));
        ensure!(names.iter().all(|name| ["leaf", "turn"].contains(name)), "charged are {names:?}");
        Ok(())
    })
}
