//! What all threads of a process do at one moment, read from outside: by `profilerd dump`, by the daemon, and in the
//! windows of waits that go on.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::java::{compile_java, jdk_tool};
use profiler_tests::python_truth::{MOVING, parse_threads};
use profiler_tests::stacks::Place;
use profiler_tests::workload::{Build, build, sources};
use profiler_tests::{Daemon, Interpreter, Workload, host, live_host, poll_until, tell};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);
const SECOND_NS: u64 = 1_000_000_000;

/// A thread of the workload in C: its name, and that of the function it waits in; class, call and what it waits for.
const SLEEPERS: [(&str, &str, &str, &str); 11] = [
    ("condition", "sync", "futex", "futex 0x"),
    ("locker", "lock", "futex", ", held by sleepers"),
    ("joiner", "sync", "futex", "the end of thread condition"),
    ("pipe_reader", "ipc", "read", "pipe:["),
    ("receiver", "net", "recvfrom", "tcp 127.0.0.1:"),
    ("acceptor", "net", "accept", "tcp connections to 127.0.0.1:"),
    ("sleeper", "sleep", "clock_nanosleep", "1000000 s to pass"),
    ("poller", "poll", "poll", "2 descriptors"),
    ("one_poller", "net", "poll", "tcp 127.0.0.1:"),
    ("epoller", "poll", "epoll_wait", "eventpoll"),
    ("local_receiver", "ipc", "recvfrom", "unix socket"),
];

fn dump(pid: u32) -> Result<Value> {
    let output = Command::new(host::profilerd()).args(["dump", "--json", "--pid", &pid.to_string()]).output()?;
    ensure!(output.status.success(), "dump failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn rows(answer: &Value) -> Result<&Vec<Value>> {
    answer["threads"].as_array().context("there are no threads")
}

fn row<'a>(answer: &'a Value, name: &str) -> Result<&'a Value> {
    rows(answer)?.iter().find(|row| row["name"] == name).with_context(|| format!("no thread `{name}` in {answer}"))
}

fn functions(row: &Value) -> Vec<&str> {
    let frames = row["stack"].as_array().into_iter().flatten();
    frames.filter_map(|frame| frame["function"].as_str()).collect()
}

fn sleepers(frame_pointers: bool) -> Result<Workload> {
    let pointers = if frame_pointers { "-fno-omit-frame-pointer" } else { "-fomit-frame-pointer" };
    let compiler = ["gcc", "-O2", "-g", "-pthread", pointers, "-fno-optimize-sibling-calls"];
    // The name of the first thread is that of the program.
    let output = if frame_pointers { "sleepers_framed" } else { "sleepers" };
    Workload::start_command(Command::new(build(&Build {
        source: "sleepers.c",
        output,
        compiler: &compiler,
        libraries: &[],
    })?))
}

fn ensure_told(answer: &Value, name: &str, class: &str, call: &str, subject: &str) -> Result<()> {
    let row = row(answer, name)?;
    ensure!(row["state"] == "waiting" && row["class"] == class && row["call"] == call, "{name} is not told: {row}");
    let told = row["waits_for"].as_str().unwrap_or_default();
    ensure!(told.contains(subject), "{name} waits for `{subject}`, not `{told}`");
    let stack = functions(row);
    ensure!(stack.contains(&name), "{name} is not on its stack {stack:?}");
    ensure!(stack.last().is_some_and(|last| last.starts_with("clone") || *last == "thread_start"), "{name}: {stack:?}");
    Ok(())
}

#[test]
fn threads_of_a_c_program_are_told_with_what_they_wait_for_and_where() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = sleepers(false)?;
    let answer = dump(workload.pid())?;
    ensure!(answer["selected"] == false && rows(&answer)?.len() == SLEEPERS.len() + 2, "{answer}");
    for (name, class, call, subject) in SLEEPERS {
        ensure_told(&answer, name, class, call, subject)?;
        ensure!(row(&answer, name)?["waited_ns"].is_null(), "nobody watched {name}");
    }
    let port = workload.numbers()[1];
    let told = row(&answer, "receiver")?["waits_for"].as_str().unwrap_or_default().to_owned();
    ensure!(told.contains(&format!(" to 127.0.0.1:{port} (descriptor ")), "the peer has port {port}: {told}");
    let spinner = row(&answer, "spinner")?;
    ensure!(spinner["state"] == "running" && spinner["no_stack"].is_string(), "{spinner}");
    ensure!(functions(spinner).is_empty() && spinner["cpu_ns"].as_u64().is_some_and(|ns| ns > 0), "{spinner}");
    Ok(())
}

#[test]
fn nobody_is_woken_or_stopped_by_being_looked_at() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = sleepers(false)?;
    let turns = || -> Result<Vec<(u64, String)>> {
        let answer = dump(workload.pid())?;
        let waiting = rows(&answer)?.iter().filter(|row| row["state"] == "waiting");
        let tids = waiting.filter_map(|row| row["tid"].as_u64());
        let read = |tid| Ok((tid, std::fs::read_to_string(format!("/proc/{}/task/{tid}/schedstat", workload.pid()))?));
        tids.map(read).collect()
    };
    let before = turns()?;
    for _ in 0..20 {
        dump(workload.pid())?;
    }
    ensure!(before.len() == SLEEPERS.len() + 1 && turns()? == before, "a thread ran that sleeps for ever");
    Ok(())
}

#[test]
fn the_daemon_tells_since_when_threads_of_a_selected_process_wait() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = sleepers(true)?;
    let path = format!("/api/v1/threads?pid={}", workload.pid());
    let unselected = Daemon::start(&["--select", "none"])?;
    let answer = unselected.json(&path)?;
    ensure!(answer["selected"] == false && row(&answer, "locker")?["waited_ns"].is_null(), "{answer}");
    let refused = unselected.get(&format!("/api/v1/threads?pid={}", i32::MAX))?;
    ensure!(refused.status == 404, "there is no such process: {}", refused.text());
    drop(unselected);
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    let answer = poll_until(STEP, || {
        let answer = daemon.json(&path)?;
        let waited = row(&answer, "sleeper")?["waited_ns"].as_u64();
        Ok(waited.is_some_and(|ns| ns > SECOND_NS).then_some(answer))
    })?;
    // With frame pointers: the kernel half tells the register that `/proc` does not.
    for (name, class, call, subject) in SLEEPERS {
        let subject = subject.replace("by sleepers", "by sleepers_framed");
        ensure_told(&answer, name, class, call, &subject)?;
        let row = row(&answer, name)?;
        let told = row["waited_ns"].as_u64().is_some_and(|ns| ns > SECOND_NS) && row["waited_longer"] == true;
        ensure!(told, "{name} has waited since before it was watched: {row}");
    }
    Ok(())
}

#[test]
fn waits_that_go_on_have_their_whole_stacks_in_the_windows() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = sleepers(true)?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    let waiting = poll_until(STEP, || {
        let found = daemon.functions_inclusive(workload.pid())?;
        // The kernel half cannot read which descriptor was polled before it came.
        let class = |name: &str, class: &'static str| if name == "one_poller" { "poll" } else { class };
        let shown = |(name, of, ..): &(&str, &'static str, &str, &str)| {
            found.row(name).is_some_and(|row| row.waited(class(name, of)) > 2 * SECOND_NS)
        };
        Ok(SLEEPERS.iter().all(shown).then_some(found))
    })?;
    let folded = daemon.get_text(&format!("/api/v1/profile.folded?last=1h&idle=show&pid={}", workload.pid()))?.text();
    ensure!(!folded.contains("[truncated"), "a stack is cut: {folded}");
    tell(&format!("waits in progress: {:?}", waiting.names()));
    Ok(())
}

#[test]
fn lines_of_waiting_pythons_are_those_faulthandler_prints() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    for interpreter in Interpreter::one_of_each() {
        let script = interpreter.place(&sources().join("python/reference.py"))?;
        let mut command = interpreter.command();
        command.arg(script);
        let mut workload = Workload::start_command(command)?;
        workload.go()?;
        let printed = workload.await_json(STEP)?.context("it printed nothing")?;
        // Where threads run at once, one may have moved between what two ways of asking it say.
        let mut truths: Vec<_> = parse_threads(&printed)?.into_iter().flatten().collect();
        truths.retain(|truth| !MOVING.contains(&truth.name.as_str()));
        let (mut compared, mut cut) = (BTreeSet::new(), 0);
        // A thread that is woken every few milliseconds may run when it is looked at.
        let done = poll_until(STEP, || {
            let answer = dump(workload.pid())?;
            for truth in &truths {
                let row = rows(&answer)?.iter().find(|row| row["tid"] == truth.tid);
                let row = row.with_context(|| format!("{interpreter}: no thread {}", truth.name))?;
                if row["state"] != "waiting" || !row["no_stack"].is_null() {
                    continue;
                }
                let (name, found) = (&truth.name, python_places(row));
                ensure!(truth.agrees(&found, 120), "{interpreter}: `{name}` is at {found:?}, not {:?}", truth.frames);
                compared.insert(name.clone());
                cut += usize::from(functions(row).iter().any(|function| function.starts_with("[truncated")));
            }
            Ok((compared.len() >= 10).then_some(()))
        });
        done.with_context(|| format!("{interpreter}: only {compared:?} were compared"))?;
        tell(&format!("{interpreter}: {} threads at their lines, native part cut in {cut}", compared.len()));
    }
    Ok(())
}

fn python_places(row: &Value) -> Vec<Place> {
    let frames = row["stack"].as_array().into_iter().flatten().filter(|frame| frame["kind"] == "python");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    frames
        .map(|frame| Place {
            file: text(&frame["file"]),
            line: frame["line"].as_u64().unwrap_or_default() as u32,
            function: text(&frame["function"]),
        })
        .collect()
}

#[test]
fn methods_in_which_a_jvm_waits_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java("Sleepers.java")? else { return Ok(()) };
    let mut command = Command::new(jdk_tool("java"));
    command.args(["-Xmx128m", "-cp"]).arg(&classes).arg("Sleepers");
    let workload = Workload::start_command(command)?;
    let pid = workload.pid();
    let daemon = Daemon::start_for(pid, &["--window", "1s"])?;
    let answer = daemon.json(&format!("/api/v1/threads?pid={pid}"))?;
    let methods =
        [("taker", "takeFromQueue"), ("sleeper", "sleepLong"), ("monitor", "enterMonitor"), ("receiver", "receive")];
    for (name, method) in methods {
        let row = row(&answer, name)?;
        let stack = functions(row);
        let shown = stack.iter().any(|function| function.contains(&format!("Sleepers.{method}")));
        ensure!(row["state"] == "waiting" && shown, "{name} waits in {method}: {row}");
    }
    Ok(())
}
