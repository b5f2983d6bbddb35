//! The moments at which per-thread accounting goes wrong: first run, last run, exec, reuse of a pid, and waits in progress.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::ground_truth::Check;
use profiler_tests::kernel_books::{Asked, KernelBooks, monotonic_ns};
use profiler_tests::{Books, Daemon, Quota, Workload, live_host, poll_until, tell};
use rustix::process::Signal;
use serde_json::Value;

const RUN: Duration = Duration::from_secs(30);
const WINDOW: [&str; 2] = ["--window", "1s"];

/// The CPU clock that `wait4` shows is rounded down to a microsecond in user and in system time each.
const ROUNDING_NS: u64 = 10_000;

/// It also stands still once the process is a zombie, which then runs on to its last switch.
const LAST_STEPS_NS: u64 = 200_000;

struct Life {
    pid: u32,
    cpu_ns: u64,
    /// Until its parent was told of its end.
    life_ns: u64,
    /// Until its last step.
    until_exit_ns: u64,
}

/// Runs a case of the traps workload to its end under a daemon that has it selected.
fn run_case(case: &str) -> Result<(Workload, Daemon, Vec<Value>)> {
    let mut workload = Workload::start("traps", &[case])?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.go()?;
    let lines = workload.await_all(RUN)?;
    Ok((workload, daemon, lines))
}

fn number(line: &Value, key: &str) -> Result<u64> {
    line[key].as_u64().with_context(|| format!("no `{key}` in {line}"))
}

fn lives(lines: &[Value]) -> Result<Vec<Life>> {
    lines
        .iter()
        .map(|line| {
            let pid = number(line, "pid")? as u32;
            let until_exit_ns = number(line, "until_exit_ns").unwrap_or_default();
            Ok(Life { pid, cpu_ns: number(line, "cpu_ns")?, life_ns: number(line, "life_ns")?, until_exit_ns })
        })
        .collect()
}

/// Waits until the breakdown has the row with at least this much CPU time; exit records may be a moment behind.
fn await_cpu(daemon: &Daemon, pid: u32, at_least: u64) -> Result<Books> {
    let row = poll_until(RUN, || {
        let rows = daemon.breakdown(&format!("&pid={pid}"))?;
        Ok(rows.into_iter().find(|row| row.pid == pid && row.cpu >= at_least))
    });
    row.with_context(|| format!("no row of {pid} has {at_least} ns of CPU: {:?}", daemon.breakdown("")))
}

/// CPU time by the daemon against that by `wait4`.
fn ensure_cpu(what: String, by_wait4: u64, counted: u64) -> Result<()> {
    ensure!(counted + ROUNDING_NS >= by_wait4, "{what}: {counted} ns, but wait4 says {by_wait4}");
    ensure_passes(&Check::new(what, by_wait4, counted, 0.01, LAST_STEPS_NS))
}

fn ensure_passes(check: &Check) -> Result<()> {
    tell(&check.to_string());
    ensure!(check.passes(), "{check}");
    Ok(())
}

/// What a fork takes before the child is made known, at most.
const FORK_NS: u64 = 3_000_000;

#[test]
fn a_process_whose_life_is_one_run_is_counted_whole() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (_workload, daemon, lines) = run_case("first_run")?;
    for life in lives(&lines)? {
        let books = await_cpu(&daemon, life.pid, life.cpu_ns / 2)?;
        ensure_cpu(format!("cpu of {}", life.pid), life.cpu_ns, books.cpu)?;
        ensure!(books.sum() <= life.life_ns, "{} lived {} ns, not {}", life.pid, life.life_ns, books.sum());
    }
    Ok(())
}

#[test]
fn the_final_totals_of_a_short_process_are_those_of_wait4() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (_workload, daemon, lines) = run_case("short_life")?;
    let life = lives(&lines)?.pop().context("no process")?;
    let books = await_cpu(&daemon, life.pid, life.cpu_ns * 9 / 10)?;
    ensure_cpu("cpu of a dead process".into(), life.cpu_ns, books.cpu)?;
    tell(&format!("its life: {} ns until its last step, {} until that was told", life.until_exit_ns, life.life_ns));
    // The books begin in the middle of the fork.
    let at_least = life.until_exit_ns.saturating_sub(FORK_NS);
    ensure!((at_least..=life.life_ns).contains(&books.sum()), "it lived {} ns", books.sum());
    ensure!(books.waited("sleep") >= 295_000_000, "it slept 300 ms, not {} ns", books.waited("sleep"));
    Ok(())
}

#[test]
fn children_are_selected_before_they_run() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (_workload, daemon, lines) = run_case("generations")?;
    // Youngest first; what wait4 says about a process includes the children that it waited for.
    let mut descendants = 0;
    for life in lives(&lines)? {
        let own = life.cpu_ns - descendants;
        descendants = life.cpu_ns;
        let books = await_cpu(&daemon, life.pid, own / 2)?;
        ensure_cpu(format!("cpu of {}", life.pid), own.saturating_sub(ROUNDING_NS), books.cpu)?;
    }
    Ok(())
}

#[test]
fn a_zombie_is_accounted_once() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["unreaped"])?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.go()?;
    let zombie = workload.await_json(RUN)?.context("no child")?;
    let pid = number(&zombie, "pid")? as u32;
    await_windows(&daemon, workload.pid(), 3)?;
    workload.go()?;
    let life = lives(&workload.await_all(RUN)?)?.pop().context("no process")?;
    let books = await_cpu(&daemon, pid, life.cpu_ns / 2)?;
    ensure_cpu("cpu of a zombie".into(), life.cpu_ns, books.cpu)?;
    let lived = number(&zombie, "life_ns")?;
    ensure!(books.sum() <= lived, "it lived {lived} ns, counted are {books:?}");
    Ok(())
}

#[test]
fn a_process_goes_on_when_its_first_thread_has_ended() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (workload, daemon, lines) = run_case("leader_ends")?;
    let slept = number(lines.first().context("no figures")?, "slept_ns")?;
    let books = daemon.books(workload.pid())?;
    ensure_passes(&Check::new("sleep of the other thread", slept, books.waited("sleep"), 0.01, 0))?;
    ensure!(books.runq + books.waited("other") < slept / 10, "a thread that ended waits for nothing: {books:?}");
    Ok(())
}

/// Waits until the books of a process have grown by this many windows.
fn await_windows(daemon: &Daemon, pid: u32, windows: u64) -> Result<()> {
    let start = daemon.books(pid)?.sum();
    poll_until(RUN, || Ok((daemon.books(pid)?.sum() > start + windows * 1_000_000_000).then_some(())))
}

#[test]
fn threads_that_ended_stay_in_the_books_of_their_process() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["threads"])?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.await_blocked()?;
    let before = daemon.books(workload.pid())?;
    workload.go()?;
    let line = workload.await_all(RUN)?.pop().context("no figures")?;
    let threads_cpu = number(&line, "threads_cpu_ns")?;
    let after = await_cpu(&daemon, workload.pid(), before.cpu + threads_cpu)?;
    // The process's clock includes the main thread, also before the attach, which was short.
    let all = number(&line, "cpu_ns")?;
    let counted = after.since(&before).cpu;
    ensure!(counted >= threads_cpu, "thirty threads used {threads_cpu} ns, counted are {counted}");
    ensure!(counted <= all + all / 100, "the process used {all} ns, counted are {counted}");
    Ok(())
}

#[test]
fn exec_by_a_thread_that_is_not_the_leader_continues_the_process() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (workload, daemon, lines) = run_case("exec_by_thread")?;
    let line = lines.first().context("no figures")?;
    ensure!(number(line, "pid")? == u64::from(workload.pid()), "the pid changed: {line}");
    let cpu = number(line, "cpu_ns")?;
    let books = await_cpu(&daemon, workload.pid(), cpu / 2)?;
    let rows = daemon.breakdown(&format!("&pid={}", workload.pid()))?;
    let counted: u64 = rows.iter().filter(|row| row.pid == workload.pid()).map(|row| row.cpu).sum();
    // Setting up before the attach is in the kernel's figure only.
    ensure_passes(&Check::new("cpu across the exec", cpu, counted, 0.01, 3_000_000))?;
    let functions = daemon.functions_inclusive(workload.pid())?;
    ensure!(functions.row("burn_after_exec").is_some(), "the new image is unknown: {:?}, {books:?}", functions.names());
    Ok(())
}

#[test]
fn two_processes_with_the_same_pid_are_never_mixed() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (_workload, daemon, lines) = run_case("reuse")?;
    if lines.iter().any(|line| line.get("refused").is_some()) {
        profiler_tests::host::skip("clone3 with a chosen pid is refused here");
        return Ok(());
    }
    let lives = lives(&lines)?;
    ensure!(lives.len() == 2 && lives[0].pid == lives[1].pid, "the pid was not reused: {lines:?}");
    let pid = lives[0].pid;
    let mut rows = poll_until(RUN, || {
        let rows: Vec<_> = daemon.breakdown(&format!("&pid={pid}"))?.into_iter().filter(|row| row.pid == pid).collect();
        let cpu: u64 = rows.iter().map(|row| row.cpu).sum();
        Ok((cpu >= (lives[0].cpu_ns + lives[1].cpu_ns) * 9 / 10).then_some(rows))
    })?;
    ensure!(rows.len() == 2, "two processes are shown as {} rows: {rows:?}", rows.len());
    rows.sort_by_key(|row| row.cpu);
    ensure_cpu("first holder of the pid".into(), lives[0].cpu_ns, rows[0].cpu)?;
    ensure_cpu("second holder of the pid".into(), lives[1].cpu_ns, rows[1].cpu)
}

#[test]
fn a_vfork_parent_waits_for_its_child() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (workload, daemon, lines) = run_case("vfork")?;
    let suspended = number(lines.first().context("no figures")?, "suspended_ns")?;
    let counted = daemon.books(workload.pid())?.waited("child");
    ensure_passes(&Check::new("child in vfork", suspended, counted, 0.02, 0))
}

#[test]
fn a_descriptor_that_has_the_number_of_another_has_its_own_class() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (workload, daemon, lines) = run_case("reuse_descriptors")?;
    let figures = lines.first().context("no figures")?;
    let books = daemon.books(workload.pid())?;
    // Local sockets are `ipc`, as is waiting for the line that lets the program go on.
    for class in ["net", "sleep", "poll"] {
        let waited = number(figures, &format!("{class}_ns"))?;
        ensure_passes(&Check::new(class, waited, books.waited(class), 0.02, books.runq + books.steal))?;
    }
    Ok(())
}

#[test]
fn a_wait_across_windows_is_cut_at_their_edges() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let (workload, daemon, lines) = run_case("long_sleep")?;
    let slept = number(lines.first().context("no figures")?, "slept_ns")?;
    let books = daemon.books(workload.pid())?;
    ensure_passes(&Check::new("sleep over five windows", slept, books.waited("sleep"), 0.01, 0))?;
    // Its stack is known when it ends; the windows that it began in are amended when the one that it ended in closes.
    let in_function = poll_until(RUN, || {
        let functions = daemon.functions(workload.pid())?;
        let found = functions.row("long_sleep").map_or(0, |row| row.waited("sleep"));
        Ok((found > slept * 9 / 10).then_some(found))
    })?;
    ensure_passes(&Check::new("its function", slept, in_function, 0.01, 0))
}

#[test]
fn a_wait_that_began_before_the_attach_is_classified_marked_and_grows() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["recv_forever"])?;
    workload.go()?;
    await_system_call(workload.pid(), if cfg!(target_arch = "aarch64") { "207" } else { "45" })?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    let (first, first_asked) = daemon.timed_books(workload.pid())?;
    let (second, second_asked) = poll_until(RUN, || {
        let (books, asked) = daemon.timed_books(workload.pid())?;
        Ok((books.waited("net") > first.waited("net") + 2_500_000_000).then_some((books, asked)))
    })?;
    let grown = second.since(&first);
    ensure_passes(&Check::new(
        "growth of a wait in progress",
        second_asked.passed_since(first_asked, grown.waited("net")),
        grown.waited("net"),
        0.002,
        100_000,
    ))?;
    ensure!(grown.cpu == 0 && grown.sum() == grown.waited("net"), "it does nothing else: {grown:?}");
    ensure!(second.began_before_attach == second.waited("net"), "it is not marked: {second:?}");
    let functions = daemon.functions(workload.pid())?;
    tell(&format!("a wait in progress is shown as {:?}", functions.names()));
    Ok(())
}

#[test]
fn a_thread_that_never_leaves_the_cpu_is_counted_up_to_now() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["spin_forever"])?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.go()?;
    let started = |(books, _): &(Books, Asked)| books.cpu > 50_000_000;
    let (start, start_asked) = poll_until(RUN, || Ok(Some(daemon.timed_books(workload.pid())?).filter(started)))?;
    for step in 1..=5 {
        let due = start.sum() + step * 300_000_000;
        let (books, asked) = poll_until(RUN, || {
            let (books, asked) = daemon.timed_books(workload.pid())?;
            Ok((books.sum() > due).then_some((books, asked)))
        })?;
        let books = books.since(&start);
        let passed = asked.passed_since(start_asked, books.sum());
        ensure_passes(&Check::new("a thread that spins", passed, books.sum(), 0.002, 100_000))?;
        ensure!(
            books.sum() == books.cpu + books.runq + books.throttled + books.steal,
            "it waits for nothing: {books:?}"
        );
    }
    Ok(())
}

#[test]
fn time_held_back_by_a_quota_is_throttled() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    const PERIOD_US: u32 = 100_000;
    let quota = Quota::new(PERIOD_US / 5, PERIOD_US)?;
    let mut workload = Workload::start("traps", &["spin_forever"])?;
    quota.add(workload.pid())?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.go()?;
    let throttled = |books: &Books| books.throttled > 200_000_000;
    let start = poll_until(RUN, || Ok(Some(daemon.books(workload.pid())?).filter(throttled)))?;
    let (start_ns, start_kernel) = (quota.throttled_ns()?, KernelBooks::read(workload.pid(), workload.pid())?);
    let enough = |books: &Books| books.throttled > 4_000_000_000;
    let counted = poll_until(RUN, || Ok(Some(daemon.books(workload.pid())?.since(&start)).filter(enough)))?;
    // Both references count a time at its end: at both ends of the comparison a period may be missing.
    let slack = 2 * u64::from(PERIOD_US) * 1000;
    let by_scheduler = KernelBooks::read(workload.pid(), workload.pid())?.since(start_kernel).run_delay;
    let held_back = counted.runq + counted.throttled;
    ensure_passes(&Check::new("held back, by schedstat", by_scheduler, held_back, 0.01, slack))?;
    // Queueing right after it is let go belongs to it as well, so the cgroup's own figure is a lower bound.
    let by_cgroup = quota.throttled_ns()? - start_ns;
    ensure!(counted.throttled + slack >= by_cgroup, "the cgroup says {by_cgroup} ns: {counted:?}");
    ensure!(held_back + counted.cpu + counted.steal == counted.sum(), "it waits for nothing: {counted:?}");
    ensure!(counted.cpu <= counted.sum() / 4, "a fifth of a CPU is allowed: {counted:?}");
    Ok(())
}

#[test]
fn a_stopped_process_waits_for_something_other() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["spin_forever"])?;
    let daemon = Daemon::start_for(workload.pid(), &WINDOW)?;
    workload.go()?;
    workload.program().signal(Signal::STOP)?;
    let stopped = poll_until(RUN, || {
        let books = daemon.books(workload.pid())?;
        Ok((books.waited("other") > 500_000_000).then_some(books))
    });
    stopped.context("no `other` while it is stopped")?;
    workload.program().signal(Signal::CONT)?;
    let after = daemon.books(workload.pid())?.waited("other");
    poll_until(RUN, || Ok((daemon.books(workload.pid())?.cpu > 100_000_000).then_some(())))?;
    let later = daemon.books(workload.pid())?.waited("other");
    ensure!(later - after < 50_000_000, "it runs again, but `other` grew by {} ns", later - after);
    Ok(())
}

#[test]
fn a_deleted_target_is_no_longer_accounted_and_keeps_its_history() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let mut workload = Workload::start("traps", &["spin_forever"])?;
    workload.go()?;
    let daemon = Daemon::start(&["--select", "none", "--window", "1s"])?;
    let path = format!("/api/v1/breakdown?last=1h&pid={}", workload.pid());
    ensure!(daemon.get(&path)?.status == 409, "an unselected process does not answer 409");
    let id = daemon.select(&format!("pid:{}", workload.pid()))?;
    poll_until(RUN, || Ok((daemon.books(workload.pid())?.cpu > 200_000_000).then_some(())))?;
    let answer = daemon.delete(&format!("/api/v1/targets/{id}"))?;
    ensure!(answer.status / 100 == 2, "DELETE answered {}: {}", answer.status, answer.text());
    let kept = poll_until(RUN, || last_two_agree(&daemon, &path))?;
    ensure!(kept >= 200_000_000, "the history is gone: {kept} ns");
    ensure!(daemon.delete(&format!("/api/v1/targets/{id}"))?.status == 404, "a target can be deleted twice");
    Ok(())
}

/// The wall time of the deleted target if it stands still over a while, which a running one would not.
fn last_two_agree(daemon: &Daemon, path: &str) -> Result<Option<u64>> {
    let wall = || -> Result<u64> { Ok(Books::parse_rows(&daemon.json(path)?)?.iter().map(|row| row.sum()).sum()) };
    let (first, since) = (wall()?, monotonic_ns());
    let last = poll_until(RUN, || {
        let now = wall()?;
        Ok((now != first || monotonic_ns() - since > 1_500_000_000).then_some(now))
    })?;
    Ok((last == first).then_some(last))
}

fn await_system_call(pid: u32, number: &str) -> Result<()> {
    poll_until(RUN, || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall"))?;
        Ok((text.split(' ').next() == Some(number)).then_some(()))
    })
}
