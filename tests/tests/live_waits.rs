//! Programs that wait in one known way each: the class of the wait has the time to one per cent, and what it was for is told.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use profiler_tests::cgroup::Cgroup;
use profiler_tests::database::Database;
use profiler_tests::host::skip;
use profiler_tests::java::{compile_java, jdk_tool};
use profiler_tests::waiting::{Case, Expected, Outcome, run_together};
use profiler_tests::workload::{Build, build};
use profiler_tests::{Daemon, Interpreter, Quota, live_host, tell, workload};

/// One per cent, as for each class in the main ground truth.
const PART: f64 = 0.01;

/// How many cases run at once: most of them wait most of the time.
const AT_ONCE: usize = 12;

/// How many waits a case has at least, unless it says otherwise: most of them are 15 ms of its 1.2 s.
const WAITS: u64 = 20;

/// Parts of a case that are not told yet, of `class`, `detail`, `subject` and `idle`: shown, and wrong as soon as they are told.
const UNTOLD: &[(&str, &[&str])] = &[];

const fn wait(case: &'static str, class: &'static str, detail: &'static str) -> Expected {
    Expected { case, class, detail, subject: false, idle: false, computes: false, waits: WAITS }
}

const fn at_least(waits: u64, expected: Expected) -> Expected {
    Expected { waits, ..expected }
}

/// The detail has a subject, which the program says.
const fn on(expected: Expected) -> Expected {
    Expected { subject: true, ..expected }
}

const fn idle(expected: Expected) -> Expected {
    Expected { idle: true, ..expected }
}

/// It computes all the time, so that what holds it back is one wait to it.
const fn computing(expected: Expected) -> Expected {
    Expected { computes: true, waits: 1, ..expected }
}

const DISK: &[Expected] = &[
    on(wait("read_direct", "disk", "read")),
    on(wait("read_cold", "disk", "read")),
    on(wait("write_synchronous", "disk", "write")),
    on(wait("sync_file", "disk", "sync")),
    wait("change_folder", "disk", "metadata"),
    wait("fault_page", "fault", ""),
    wait("fault_in_write", "fault", ""),
    wait("change_maps", "kernel", ""),
];

const NET: &[Expected] = &[
    on(wait("receive", "net", "receive")),
    on(wait("receive6", "net", "receive")),
    on(wait("poll_then_receive", "net", "receive")),
    on(wait("send", "net", "send")),
    at_least(1, on(wait("connect", "net", "connect"))),
    idle(on(wait("receive_request", "net", "request"))),
    idle(on(wait("accept", "net", "accept"))),
    on(wait("receive_datagrams", "net", "receive")),
    wait("receive_netlink", "net", "receive"),
    idle(on(wait("epoll_listen", "poll", "listen"))),
    idle(on(wait("epoll_request", "poll", "request"))),
    on(wait("epoll_reply", "poll", "reply")),
    wait("epoll_eventfd", "poll", "handoff"),
    wait("epoll_self_pipe", "poll", "handoff"),
    wait("epoll_timer", "poll", "timer"),
    wait("epoll_timeout", "poll", "timer"),
    wait("poll_several", "poll", ""),
    wait("select_several", "poll", ""),
];

const IPC: &[Expected] = &[
    wait("pipe_read", "ipc", "pipe read"),
    wait("pipe_write", "ipc", "pipe write"),
    on(wait("unix_receive", "ipc", "receive")),
    on(wait("unix_send", "ipc", "send")),
    wait("unix_connect", "ipc", "connect"),
    idle(on(wait("unix_request", "ipc", "request"))),
    idle(wait("unix_accept", "ipc", "accept")),
    wait("socketpair", "ipc", "receive"),
    wait("eventfd", "ipc", "eventfd"),
    idle(wait("signalfd", "ipc", "signal")),
    wait("epoll_signalfd", "poll", "signal"),
    idle(wait("sigwait", "ipc", "signal")),
    idle(wait("sigsuspend", "ipc", "signal")),
    wait("terminal", "ipc", "terminal"),
    wait("mq", "ipc", "message queue"),
    wait("msgrcv", "ipc", "message queue"),
    wait("inotify", "ipc", "inotify"),
];

const THREADS: &[Expected] = &[
    wait("mutex", "lock", "mutex"),
    wait("priority_mutex", "lock", "priority mutex"),
    wait("rwlock_write", "lock", "rwlock"),
    wait("rwlock_read", "lock", "rwlock"),
    on(wait("flock", "lock", "file lock")),
    on(wait("fcntl", "lock", "file lock")),
    wait("condition", "sync", "condition"),
    wait("semaphore", "sync", "semaphore"),
    wait("barrier", "sync", "barrier"),
    wait("join", "sync", "join"),
    wait("semop", "sync", "semaphore"),
];

const PROCESS: &[Expected] = &[
    wait("wait4", "child", "exit"),
    wait("waitid", "child", "exit"),
    wait("pidfd", "child", "process"),
    wait("vfork", "child", "vfork"),
    wait("nanosleep", "sleep", "nanosleep"),
    wait("select_nothing", "sleep", "poll"),
    wait("poll_nothing", "sleep", "poll"),
    wait("timerfd", "sleep", "timer"),
    wait("io_uring", "poll", "io_uring"),
    wait("stopped", "other", "stopped"),
    wait("traced", "other", "traced"),
];

const RUST: &[Expected] = &[
    wait("rust_mutex", "lock", "mutex"),
    wait("rust_rwlock", "lock", "rwlock"),
    wait("rust_condition", "sync", "condition"),
    wait("rust_park", "sync", "park"),
    wait("rust_channel", "sync", "channel"),
    wait("rust_barrier", "sync", "barrier"),
    wait("rust_join", "sync", "join"),
];

const PYTHON: &[Expected] = &[
    wait("py_lock", "lock", "threading lock"),
    wait("py_condition", "sync", "condition"),
    wait("py_event", "sync", "condition"),
    idle(wait("py_queue", "sync", "idle worker")),
    idle(wait("py_executor", "sync", "idle worker")),
    wait("py_join", "sync", "join"),
    wait("py_sleep", "sleep", "nanosleep"),
    at_least(2, wait("py_subprocess", "child", "exit")),
    on(wait("py_http", "net", "receive")),
    on(wait("py_receive", "net", "receive")),
    idle(on(wait("asyncio_listen", "poll", "listen"))),
    idle(on(wait("asyncio_request", "poll", "request"))),
    on(wait("asyncio_client", "poll", "reply")),
    wait("asyncio_executor", "poll", "handoff"),
    wait("asyncio_sleep", "poll", "timer"),
];

const GIL: &[Expected] = &[computing(wait("py_gil", "lock", "gil"))];

const REDIS: &[Expected] = &[at_least(5, on(wait("redis", "net", "receive")))];

const POSTGRES: &[Expected] = &[at_least(5, on(wait("postgres", "net", "receive")))];

const JAVA: &[Expected] = &[
    wait("java_monitor", "lock", "monitor"),
    wait("java_lock", "lock", "mutex"),
    wait("java_wait", "sync", "condition"),
    wait("java_park", "sync", "park"),
    wait("java_sleep", "sleep", "thread sleep"),
    idle(wait("java_queue", "sync", "idle worker")),
    idle(wait("java_worker", "sync", "idle worker")),
    on(wait("java_socket", "net", "receive")),
];

#[test]
fn waits_for_files_and_pages_are_told() -> Result<()> {
    check_program("waits_disk", DISK, 2)
}

#[test]
fn waits_on_sockets_are_told() -> Result<()> {
    check_program("waits_net", NET, AT_ONCE)
}

#[test]
fn waits_for_processes_of_this_host_are_told() -> Result<()> {
    check_program("waits_ipc", IPC, AT_ONCE)
}

#[test]
fn waits_for_other_threads_are_told() -> Result<()> {
    check_program("waits_threads", THREADS, AT_ONCE)
}

#[test]
fn waits_for_children_and_time_are_told() -> Result<()> {
    check_program("waits_process", PROCESS, AT_ONCE)
}

#[test]
fn a_thread_frozen_by_either_version_of_the_cgroup_is_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    match Cgroup::of_second_version()? {
        Some(cgroup) => check_in(cgroup.folder(), "waits_process", computing(wait("frozen", "other", "frozen")))?,
        None => skip("there is no cgroup of the second version"),
    }
    let cgroup = Cgroup::with_controller("freezer");
    match cgroup.ok().filter(|cgroup| !cgroup.is_of_second_version()) {
        Some(cgroup) => {
            check_in(cgroup.folder(), "waits_process", computing(wait("frozen_by_freezer", "other", "frozen")))
        }
        None => {
            tell("NOT RUN: this host has no freezer of the first version");
            Ok(())
        }
    }
}

#[test]
fn a_thread_held_back_by_a_quota_is_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let quota = Quota::new(20_000, 100_000)?;
    check_in(quota.folder(), "waits_process", at_least(1, wait("throttled", "throttled", "")))
}

#[test]
fn waits_for_memory_to_be_reclaimed_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let cgroup = Cgroup::with_controller("memory")?;
    let limit = if cgroup.is_of_second_version() { "memory.high" } else { "memory.limit_in_bytes" };
    cgroup.set(limit, "16777216")?;
    check_in(cgroup.folder(), "waits_disk", computing(wait("reclaim", "kernel", "reclaim")))
}

#[test]
fn waits_of_the_standard_library_of_rust_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let compiler = ["rustc", "--edition=2021", "-Copt-level=3", "-Cdebuginfo=1"];
    let binary = build(&Build { source: "waits.rs", output: "waits-rs", compiler: &compiler, libraries: &[] })?;
    check_cases(RUST, AT_ONCE, |expected| Case::start(expected, Command::new(&binary)))
}

#[test]
fn waits_of_python_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut problems = Vec::new();
    for cases in [PYTHON, GIL] {
        problems.extend(check_cases(cases, AT_ONCE, |expected| Case::start(expected, python()?)).err());
    }
    ensure_none(problems.iter().map(|problem| format!("{problem:#}")).collect())
}

#[test]
fn waits_of_clients_of_databases_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    if let Some(redis) = Database::redis()? {
        check_client("WAITS_REDIS", &redis, &format!("redis-server[{}]", redis.pid()), REDIS)?;
    }
    match Database::postgres()? {
        // Of a connection it is a process of its own, and of a closed one that which listens.
        Some(postgres) => check_client("WAITS_POSTGRES", &postgres, "postgres[", POSTGRES),
        None => Ok(()),
    }
}

#[test]
fn waits_of_a_jvm_are_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java("Waits.java")? else { return Ok(()) };
    let start = |expected| {
        let mut command = Command::new(jdk_tool("java"));
        command.args(["-Xmx32m", "-cp"]).arg(&classes).arg("Waits");
        Case::start(expected, command)
    };
    check_cases(JAVA, AT_ONCE, start)
}

/// The machine's own Python: its processes see the libraries that other programs use.
fn python() -> Result<Command> {
    let is_chosen = |one: &&Interpreter| one.root.is_none() && one.minor() >= 11 && !one.is_free_threaded;
    let interpreter = Interpreter::all().iter().find(is_chosen).context("there is no Python 3.11 or newer here")?;
    let mut command = interpreter.command();
    command.arg(workload::sources().join("python/waits.py"));
    Ok(command)
}

/// `peer` is what its other end is called at least.
fn check_client(variable: &str, database: &Database, peer: &str, cases: &[Expected]) -> Result<()> {
    let start = |expected| {
        let mut command = python()?;
        command.env(variable, database.address.to_string()).env("WAITS_PEER", peer);
        Case::start(expected, command)
    };
    check_cases(cases, AT_ONCE, start)
}

fn check_in(cgroup: &Path, program: &str, expected: Expected) -> Result<()> {
    let binary = workload::compile(program)?;
    let start = |expected| {
        let mut command = Command::new(&binary);
        command.env("WAITS_CGROUP", cgroup);
        Case::start(expected, command)
    };
    check_cases(&[expected], 1, start)
}

fn check_program(program: &str, cases: &[Expected], at_once: usize) -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let binary = workload::compile(program)?;
    check_cases(cases, at_once, |expected| Case::start(expected, Command::new(&binary)))
}

fn check_cases(cases: &[Expected], at_once: usize, start: impl Fn(Expected) -> Result<Case>) -> Result<()> {
    let daemon = Daemon::start(&["--select", "none", "--window", "1s"])?;
    let mut outcomes = Vec::new();
    for batch in cases.chunks(at_once) {
        let started = batch.iter().map(|expected| start(*expected)).collect::<Result<_>>()?;
        outcomes.extend(run_together(&daemon, started)?);
    }
    ensure_none(outcomes.iter().filter_map(check).collect())
}

/// What is wrong with a case.
fn check(outcome: &Outcome) -> Option<String> {
    let case = outcome.expected.case;
    let waived = UNTOLD.iter().find(|(untold, _)| *untold == case).map_or(&[] as &[&str], |(_, parts)| parts);
    let mut wrong = Vec::new();
    for (part, check) in outcome.checks(PART) {
        tell(&check.to_string());
        match (check.passes(), waived.contains(&part)) {
            (true, false) => {}
            (true, true) => wrong.push(format!("the {part} of {case} is told: it is untold no longer")),
            (false, true) => tell(&format!("UNTOLD: the {part} of {case}: {}", outcome.describe())),
            (false, false) => wrong.push(check.to_string()),
        }
    }
    wrong.extend(outcome.too_few_waits());
    (!wrong.is_empty()).then(|| format!("{case}: {}\n{}", wrong.join("\n"), outcome.describe()))
}

fn ensure_none(problems: Vec<String>) -> Result<()> {
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
