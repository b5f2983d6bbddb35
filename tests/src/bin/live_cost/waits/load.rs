//! The loads: programs that go on until they are ended, on the last CPU, and how much each has done so far.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use profiler_tests::{Program, Workload, poll_until, tell};
use tempfile::TempDir;

use super::compute;
use crate::meter::exact_cpu_time;

const START: Duration = Duration::from_secs(30);

/// How long a batch lasts.
const BATCH: Duration = Duration::from_millis(400);

/// What is profiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// `perf bench sched pipe`: two threads that do nothing but wake each other.
    Pipe,
    /// `redis-server`, asked by `redis-benchmark` from another CPU.
    Redis,
    /// One thread that computes.
    Compute,
}

/// A load at work; it ends with the value.
pub(super) enum Running {
    Pipe(Program),
    Redis(Redis),
    Compute(Workload),
}

/// A server, who asks it, and a connection to ask for its own count.
pub(super) struct Redis {
    server: Program,
    _benchmark: Program,
    connection: BufReader<UnixStream>,
    _folder: TempDir,
}

/// What a load has done, at one moment.
#[derive(Debug, Clone, Copy)]
struct Progress {
    at: Instant,
    done: f64,
    cpu_s: f64,
    switches: f64,
}

/// What a load did for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Batch {
    /// How long it lasted.
    pub(super) seconds: f64,
    /// How much, per second.
    pub(super) per_second: f64,
    /// How much, per second of its CPU time.
    pub(super) per_cpu_second: f64,
    /// How often its threads waited, per second.
    pub(super) switches_per_second: f64,
}

impl Load {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Pipe, Self::Redis, Self::Compute];

    /// What it is called in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "perf bench sched pipe",
            Self::Redis => "redis-benchmark",
            Self::Compute => "computing",
        }
    }

    /// Starts it on a CPU; `None` after saying why where it is not installed.
    pub(super) fn start(self, cpu: usize) -> Result<Option<Running>> {
        Ok(match self {
            Self::Pipe => start_pipe(cpu).map(Running::Pipe),
            Self::Redis => Redis::start(cpu)?.map(Running::Redis),
            Self::Compute => {
                let program = std::env::current_exe().context("failed to find this program")?;
                let mut command = pinned(cpu, &program);
                command.arg(compute::ARGUMENT);
                Some(Running::Compute(Workload::start_command(command)?))
            }
        })
    }
}

impl Running {
    /// The process to profile.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Pipe(program) => program.pid(),
            Self::Redis(redis) => redis.server.pid(),
            Self::Compute(workload) => workload.pid(),
        }
    }

    /// Watches it for a batch.
    pub(super) fn batch(&mut self) -> Result<Batch> {
        let before = self.progress()?;
        sleep(BATCH);
        let after = self.progress()?;
        let (done, seconds) = (after.done - before.done, (after.at - before.at).as_secs_f64());
        let switches_per_second = (after.switches - before.switches) / seconds;
        let per_cpu_second = done / (after.cpu_s - before.cpu_s);
        Ok(Batch { seconds, per_second: done / seconds, per_cpu_second, switches_per_second })
    }

    fn progress(&mut self) -> Result<Progress> {
        let pid = self.pid();
        let (at, switches) = (Instant::now(), waits_of(pid)?);
        let cpu_s = exact_cpu_time(pid)?.as_secs_f64();
        Ok(match self {
            Self::Pipe(_) => Progress { at, done: switches, cpu_s, switches },
            Self::Redis(redis) => Progress { at, done: redis.commands()?, cpu_s, switches },
            Self::Compute(workload) => {
                workload.go()?;
                let answer = workload.await_json(START)?.context("the load ended early")?;
                let number = |name: &str| answer[name].as_f64().context("the load's answer lacks a number");
                Progress { at: Instant::now(), done: number("done")?, cpu_s: number("cpu_s")?, switches }
            }
        })
    }
}

impl Redis {
    fn start(cpu: usize) -> Result<Option<Self>> {
        let folder = tempfile::tempdir().context("failed to create a folder")?;
        let socket = folder.path().join("redis.sock");
        let mut command = pinned(cpu, Path::new("redis-server"));
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder.path());
        let mut server = Program::start(command)?;
        let is_ready = |line: &str| line.contains("eady to accept connections").then_some(());
        if server.await_line(START, is_ready).is_err() {
            tell("redis-server does not run (Debian: redis-server), so it is no load");
            return Ok(None);
        }
        let connection = UnixStream::connect(&socket).context("failed to connect to redis-server")?;
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.arg("-s").arg(&socket).args(["-q", "-l", "-c", "20", "-n", "1000000", "-t", "set,get"]);
        let benchmark = Program::start(benchmark).context("redis-benchmark is in Debian's package `redis-tools`")?;
        let mut redis = Self { server, _benchmark: benchmark, connection: BufReader::new(connection), _folder: folder };
        poll_until(START, || Ok((redis.commands()? > 10_000.0).then_some(())))?;
        Ok(Some(redis))
    }

    /// How many commands the server has carried out, as it says itself.
    fn commands(&mut self) -> Result<f64> {
        self.connection.get_mut().write_all(b"INFO stats\r\n").context("failed to ask redis-server")?;
        let mut head = String::new();
        self.connection.read_line(&mut head).context("redis-server does not answer")?;
        let bytes: usize =
            head.trim_start_matches('$').trim().parse().context("redis-server's answer has no length")?;
        let mut text = vec![0; bytes + 2];
        self.connection.read_exact(&mut text).context("redis-server does not answer")?;
        parse_commands(&String::from_utf8_lossy(&text)).context("redis-server does not tell its commands")
    }
}

fn parse_commands(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("total_commands_processed:"))?.trim().parse().ok()
}

fn start_pipe(cpu: usize) -> Option<Program> {
    let mut command = pinned(cpu, Path::new("perf"));
    command.args(["bench", "sched", "pipe", "--threaded", "--loop", "1000000000"]);
    let program = Program::start(command).ok()?;
    let begun = poll_until(START, || Ok((waits_of(program.pid())? > 10_000.0).then_some(())));
    if begun.is_err() {
        tell("perf bench does not run (Debian: linux-perf), so it is no load");
        return None;
    }
    Some(program)
}

fn pinned(cpu: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cpu.to_string()]).arg(program);
    command
}

/// How often the threads of a process have waited.
fn waits_of(pid: u32) -> Result<f64> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("failed to read `{folder}`"))?;
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    Ok(texts.filter_map(|text| parse_waits(&text)).sum())
}

fn parse_waits(status: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_its_commands() {
        let text = "# Stats\r\ntotal_connections_received:1\r\ntotal_commands_processed:42\r\n";
        assert_eq!(parse_commands(text), Some(42.0));
        assert_eq!(parse_commands("# Stats\r\n"), None);
    }

    #[test]
    fn only_voluntary_switches_are_waits() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(parse_waits(status), Some(150.0));
        assert_eq!(parse_waits("nonvoluntary_ctxt_switches:\t545\n"), None);
    }
}
