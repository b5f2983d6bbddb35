//! Who ended a wait: programs whose waits end in one known way, while a loop on each CPU computes and wakes nobody.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::books::rows;
use profiler_tests::host::skip;
use profiler_tests::workload::{compile, scratch};
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);

/// Every wait is captured, so that each has a waker.
const OPTIONS: [&str; 8] = ["--select", "none", "--window", "1s", "--wait-period", "0", "--wait-budget", "1000000"];

/// How much of the waits must be told rightly.
const RIGHT: f64 = 0.99;

/// How much of what is received within the host must be told to be its sender's doing. Packets are received on the sender's CPU
/// within its call, unless the kernel's thread for soft interrupts is already to run there: then it receives them, and nobody is
/// told. How often depends on the load of the host and follows from no error; that another is told is never right.
const BY_SENDER: f64 = 0.9;

/// What describes the kernel's types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The end of waits, as the daemon tells it.
#[derive(Debug)]
struct Woken {
    label: String,
    context: String,
    thread: Option<(u64, u64)>,
    ns: u64,
}

/// The waits of one class in the thread of a case.
#[derive(Debug)]
struct Told {
    /// Who ends the waits, as the program says it: pid and tid.
    thread: Option<(u64, u64)>,
    /// All of them.
    total_ns: u64,
    woken: Vec<Woken>,
}

impl Told {
    /// How much of the waits was ended so.
    fn part(&self, is_right: impl Fn(&Woken) -> bool) -> f64 {
        let right: u64 = self.woken.iter().filter(|woken| is_right(woken)).map(|woken| woken.ns).sum();
        right as f64 / self.total_ns.max(1) as f64
    }

    fn by_its_thread(&self, woken: &Woken) -> bool {
        woken.thread.is_some() && woken.thread == self.thread
    }
}

fn observe(case: &str, class: &str) -> Result<Told> {
    let daemon = Daemon::start(&OPTIONS)?;
    let folder = tempfile::tempdir_in(scratch()?).context("failed to create a folder")?;
    let mut command = Command::new(compile("wakers")?);
    command.arg(case).arg(folder.path());
    let mut workload = Workload::start_command(command)?;
    daemon.select(&format!("pid:{}", workload.pid()))?;
    daemon.await_selected(workload.pid())?;
    workload.go()?;
    let line = workload.await_json(STEP)?.context("the case was not reported")?;
    let ids: Vec<u64> = line["subject"].as_str().unwrap_or_default().split(' ').flat_map(str::parse).collect();
    let thread = ids.first().copied().zip(ids.get(1).copied());
    let query = format!("&pid={}&thread={}", workload.pid(), line["thread"]);
    let wait_ns = line["wait_ns"].as_u64().context("no `wait_ns`")?;
    let told = poll_until(STEP, || {
        let told = Told { thread, ..read(&daemon, &query, class)? };
        Ok((told.total_ns as f64 > wait_ns as f64 * 0.95).then_some(told))
    });
    let told = told.with_context(|| format!("{case}: not all of {wait_ns} ns was told"))?;
    tell(&format!("{case}: {} waits, {:.3} s: {:?}", line["waits"], told.total_ns as f64 / 1e9, told.woken));
    Ok(told)
}

fn read(daemon: &Daemon, query: &str, class: &str) -> Result<Told> {
    let answer = daemon.json(&format!("/api/v1/hotspots?last=1h&by=wait&idle=show&limit=1000{query}"))?;
    let (mut total_ns, mut woken) = (0, Vec::new());
    for row in rows(&answer)? {
        if row["function"].as_str().is_some_and(|name| name.split('/').next() == Some(class)) {
            total_ns += row["total_ns"].as_u64().context("a row has a total")?;
            woken.extend(row["woken_by"].as_array().into_iter().flatten().map(parse).collect::<Result<Vec<_>>>()?);
        }
    }
    Ok(Told { thread: None, total_ns, woken })
}

fn parse(value: &Value) -> Result<Woken> {
    let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}` in {value}"));
    Ok(Woken {
        label: text("label")?,
        context: text("context")?,
        thread: value["pid"].as_u64().zip(value["tid"].as_u64()),
        ns: value["ns"].as_u64().context("no `ns`")?,
    })
}

fn ensure_part(told: &Told, is_right: impl Fn(&Woken) -> bool) -> Result<()> {
    let part = told.part(is_right);
    ensure!(part >= RIGHT, "only {:.2} % of the waits are told rightly: {told:?}", part * 100.0);
    Ok(())
}

/// Waits that another thread ends by itself.
fn check_thread(case: &str, class: &str) -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let told = observe(case, class)?;
    ensure!(told.thread.is_some(), "the program does not say who wakes it");
    ensure_part(&told, |woken| told.by_its_thread(woken) && woken.context == "thread")?;
    let named = |woken: &Woken| woken.label.starts_with("wakers[") || !told.by_its_thread(woken);
    ensure!(told.woken.iter().all(named), "the waker has no name: {told:?}");
    Ok(())
}

/// Waits that no thread ends.
fn check_nobody(case: &str, class: &str, is_right: impl Fn(&str) -> bool) -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let told = observe(case, class)?;
    ensure_part(&told, |woken| woken.thread.is_none() && is_right(&woken.context))
}

#[test]
fn whoever_writes_to_a_pipe_wakes_its_reader() -> Result<()> {
    check_thread("pipe", "ipc")
}

#[test]
fn another_process_wakes_whoever_waits_on_a_futex_in_shared_memory() -> Result<()> {
    check_thread("futex", "sync")
}

#[test]
fn another_thread_of_the_process_is_told_by_its_tid() -> Result<()> {
    check_thread("thread", "ipc")
}

/// Whether the kernel tells that a timer's interrupt is served; from 7.2 on it does not, and timers show as interrupts.
fn tells_timers() -> Result<bool> {
    let field = b"\0in_hrtirq\0";
    let types = std::fs::read(TYPES).with_context(|| format!("failed to read `{TYPES}`"))?;
    Ok(types.windows(field.len()).any(|bytes| bytes == field))
}

/// Waits that a timer ends.
fn check_timer(case: &str, class: &str) -> Result<()> {
    let tells_timers = tells_timers()?;
    check_nobody(case, class, |context| context == "timer" || (!tells_timers && context == "irq"))
}

/// The block device below a folder, if it is one on top of others, for which threads of the kernel work.
fn stacked_device(folder: &Path) -> Result<Option<PathBuf>> {
    let device = device_of(folder)?;
    let Ok(device) = device.canonicalize() else { return Ok(None) };
    let is_stacked = |path: &Path| ["dm", "loop", "md"].iter().any(|kind| path.join(kind).exists());
    // A partition lies in the folder of its disk.
    Ok(device.ancestors().take(2).any(is_stacked).then_some(device))
}

fn device_of(folder: &Path) -> Result<PathBuf> {
    let number = std::fs::metadata(folder).with_context(|| format!("failed to look at `{}`", folder.display()))?.dev();
    Ok(format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number)).into())
}

#[test]
fn a_sleep_is_ended_by_a_timer_and_not_by_the_loops_it_interrupts() -> Result<()> {
    check_timer("sleep", "sleep")
}

#[test]
fn a_poll_whose_time_is_up_is_ended_by_a_timer() -> Result<()> {
    check_timer("timeout", "ipc")
}

#[test]
fn the_time_limit_of_a_socket_is_a_timer_too() -> Result<()> {
    check_timer("socket_timeout", "ipc")
}

#[test]
fn a_read_is_ended_by_the_disk_and_not_by_the_loops_it_interrupts() -> Result<()> {
    if let Some(device) = stacked_device(&scratch()?)? {
        skip(&format!("`{}` lies on other devices, for which threads of the kernel wake readers", device.display()));
        return Ok(());
    }
    check_nobody("disk", "disk", |context| matches!(context, "irq" | "softirq"))
}

#[test]
fn whoever_sends_on_the_other_end_of_a_connection_within_this_host_is_told() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let told = observe("tcp", "net")?;
    ensure_part(&told, |woken| woken.context == "softirq" && (woken.thread.is_none() || told.by_its_thread(woken)))?;
    let by_sender = told.part(|woken| told.by_its_thread(woken));
    ensure!(by_sender >= BY_SENDER, "the sender is told for {:.1} % only: {told:?}", by_sender * 100.0);
    Ok(())
}

#[test]
fn nobody_is_told_where_wakers_are_not_asked_for() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let workload = Workload::start_command({
        let mut command = Command::new(compile("wakers")?);
        command.arg("sleep").arg("/tmp");
        command
    })?;
    let daemon = Daemon::start_for(workload.pid(), &[&OPTIONS[2..], &["--wakers", "off"]].concat())?;
    let mut workload = workload;
    workload.go()?;
    let line = workload.await_json(STEP)?.context("the case was not reported")?;
    let query = format!("&pid={}&thread={}", workload.pid(), line["thread"]);
    let told = poll_until(STEP, || {
        let told = read(&daemon, &query, "sleep")?;
        Ok((told.total_ns > 100_000_000).then_some(told))
    })?;
    ensure!(told.woken.is_empty(), "{told:?}");
    Ok(())
}
