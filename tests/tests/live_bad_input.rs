//! What a user can get wrong: one line that says what to do, the right exit code or status, and nothing half-started.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::daemon::{command, serve_command};
use profiler_tests::program::{Ended, poll_until};
use profiler_tests::{Daemon, Program, Workload, host, live_host, tell};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// A pid above the greatest that the kernel gives out.
const NO_PID: &str = "4194305";

fn run(arguments: &[&str]) -> Result<Ended> {
    Program::start(command(arguments))?.finish(SOON)
}

/// Fails unless the command failed with one line that contains every word.
fn ensure_one_line(ended: &Ended, words: &[&str]) -> Result<()> {
    let lines: Vec<&String> = ended.lines.iter().filter(|line| !line.trim().is_empty()).collect();
    tell(&format!(
        "{:?}: {}",
        ended.status.code(),
        lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join(" | ")
    ));
    ensure!(ended.status.code().is_some_and(|code| code != 0 && code != 101), "wrong exit: {ended:?}");
    ensure!(lines.len() == 1, "not one line: {lines:#?}");
    for word in words {
        ensure!(lines[0].contains(word), "`{word}` is missing in `{}`", lines[0]);
    }
    Ok(())
}

#[test]
fn an_unknown_pid_is_named_in_one_line() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    ensure_one_line(&run(&["hotspots", "--pid", NO_PID, "--duration", "1s"])?, &[NO_PID])?;
    ensure_one_line(&run(&["breakdown", "--pid", NO_PID, "--duration", "1s"])?, &[NO_PID])?;
    ensure_one_line(&run(&["serve", "--listen", "127.0.0.1:0", "--select", &format!("pid:{NO_PID}")])?, &[NO_PID])
}

#[test]
fn a_process_that_has_ended_is_unknown() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = Workload::start("traps", &["spin_forever"])?;
    let pid = workload.pid().to_string();
    drop(workload);
    ensure_one_line(&run(&["hotspots", "--pid", &pid, "--duration", "1s"])?, &[&pid])
}

#[test]
fn an_unknown_format_and_an_unknown_extension_name_the_known_ones() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let output = std::env::temp_dir().join("profilerd-test.unknown-format");
    let ended = run(&["record", "--all", "--duration", "1s", "-o", &output.display().to_string()])?;
    ensure_one_line(&ended, &["folded"])?;
    ensure!(!output.exists(), "a file of an unknown format was begun");
    let daemon = Daemon::start(&["--select", "none"])?;
    let answer = daemon.get("/api/v1/profile.unknown")?;
    ensure!(matches!(answer.status, 400 | 404), "an unknown format answered {}: {}", answer.status, answer.text());
    ensure!(answer.text().contains("folded"), "the known formats are not named: {}", answer.text());
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_port_says_so_and_leaves_the_first_alone() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let first = Daemon::start(&["--select", "none"])?;
    let address = first.address().to_string();
    let second = Program::start(serve_command(&["--select", "none", "--listen", &address]))?.finish(SOON)?;
    ensure_one_line(&second, &[&address])?;
    ensure!(first.get("/healthz")?.status == 200, "the first daemon no longer answers");
    Ok(())
}

#[test]
fn without_privilege_it_says_what_is_needed() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let inner = command(&["hotspots", "--all", "--duration", "1s"]);
    // The binary may lie where only root can go.
    let copy = tempfile_binary(Path::new(inner.get_program()))?;
    let mut outer = Command::new("setpriv");
    outer.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]).arg(&copy);
    outer.args(["hotspots", "--all", "--duration", "1s"]);
    let ended = Program::start(outer)?.finish(SOON);
    std::fs::remove_file(&copy)?;
    ensure_one_line(&ended?, &["root"])
}

#[test]
fn a_public_address_needs_a_word_of_consent() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let ended = Program::start(serve_command(&["--select", "none", "--listen", "0.0.0.0:0"]))?.finish(SOON)?;
    ensure_one_line(&ended, &["--insecure"])
}

#[test]
fn bad_requests_are_told_apart_by_their_status() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let daemon = Daemon::start(&["--select", "none"])?;
    let unselected = daemon.get("/api/v1/breakdown?pid=1")?;
    ensure!(unselected.status == 409, "not selected: {} {}", unselected.status, unselected.text());
    ensure!(unselected.text().contains("POST /api/v1/targets"), "no way out: {}", unselected.text());
    for (path, status) in [
        (format!("/api/v1/breakdown?pid={NO_PID}"), 404),
        ("/api/v1/breakdown?pid=seven".into(), 400),
        ("/api/v1/hotspots?by=color".into(), 400),
        ("/api/v1/hotspots?last=yesterday".into(), 400),
        ("/api/v1/hotspots?colour=red".into(), 400),
        ("/api/v1/nothing".into(), 404),
    ] {
        let answer = daemon.get(&path)?;
        ensure!(answer.status == status, "{path} answered {}: {}", answer.status, answer.text());
    }
    for (selector, status) in [("pid:none", 400), ("tree:1", 400), (format!("pid:{NO_PID}").as_str(), 404)] {
        let answer = daemon.post("/api/v1/targets", &json!({ "select": selector }))?;
        ensure!(answer.status == status, "selecting {selector} answered {}: {}", answer.status, answer.text());
        ensure!(answer.text().trim().lines().count() == 1, "not one line: {}", answer.text());
    }
    ensure!(daemon.json("/api/v1/targets")?["targets"].as_array().is_none_or(|targets| targets.is_empty()));
    Ok(())
}

#[test]
fn a_bad_selector_on_the_command_line_starts_nothing() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    for selector in ["17", "pid:0", "colour:red", "exe:relative/path"] {
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--select", selector])?;
        ensure!(ended.status.code().is_some_and(|code| code != 0 && code != 101), "wrong exit: {ended:?}");
        ensure!(ended.lines.iter().any(|line| line.contains("write pid:N")), "no advice: {ended:?}");
        ensure!(!ended.lines.iter().any(|line| line.contains("listening on")), "it listened: {ended:?}");
    }
    Ok(())
}

fn tempfile_binary(program: &Path) -> Result<std::path::PathBuf> {
    let copy = std::env::temp_dir().join(format!("profilerd-unprivileged-{}", std::process::id()));
    std::fs::copy(program, &copy).with_context(|| format!("failed to copy {}", host::profilerd().display()))?;
    Ok(copy)
}

#[test]
fn a_daemon_whose_log_nobody_reads_any_more_ends_when_it_is_told_to() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let options = ["--select", "none", "--listen", "127.0.0.1:0"];
    let mut daemon = serve_command(&options).stderr(Stdio::piped()).spawn().context("failed to start the daemon")?;
    let mut log = BufReader::new(daemon.stderr.take().context("its standard error was piped")?);
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "the daemon ended");
    }
    drop(log);
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), rustix::process::Signal::TERM)?;
    let ended = poll_until(SOON, || Ok(daemon.try_wait()?)).inspect_err(|_| drop(daemon.kill()))?;
    ensure!(ended.success(), "it ended with {ended}");
    Ok(())
}
