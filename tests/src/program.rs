//! A child process spoken to by lines; it and its own children end when the value is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// A running program in a process group of its own. Its standard output and error are read as one stream of lines.
pub struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// Whether programs end with this one.
static IS_BOUND: AtomicBool = AtomicBool::new(false);

/// Programs that are started from now on end when the thread that starts them does, even if that is killed.
pub fn bind_programs() {
    IS_BOUND.store(true, Ordering::Relaxed);
}

/// Whether there is such a program.
pub fn is_installed(program: impl AsRef<OsStr>) -> bool {
    let program = program.as_ref();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).exists() || std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
}

/// The same command; the kernel tells it of the end of its parent. Another user or group has to be set by the program itself.
///
/// A group of processes that is stopped then goes on, as every group without a parent does, and ends as well.
fn bound(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

/// What a program did until its end.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its lines, standard output and error mixed.
    pub lines: Vec<String>,
}

/// A process group that is held back; it goes on when this is dropped.
#[derive(Debug)]
pub struct Paused(Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::CONT);
    }
}

impl Program {
    /// Starts the command. Fails if it cannot be executed.
    pub fn start(command: Command) -> Result<Self> {
        let name = format!("{command:?}");
        // A program that is not there fails to start by its own name.
        let is_bound = IS_BOUND.load(Ordering::Relaxed) && is_installed(command.get_program());
        let mut command = if is_bound { bound(&command) } else { command };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let (sender, lines) = channel();
        forward_lines(child.stdout.take(), sender.clone());
        forward_lines(child.stderr.take(), sender);
        Ok(Self { name, input: child.stdin.take(), child, lines, seen: Vec::new() })
    }

    /// The pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line for which `wanted` gives a value. Fails at the end of the program or of the time.
    pub fn await_line<T>(&mut self, within: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let value = wanted(&line);
                    self.seen.push(line);
                    if let Some(value) = value {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("no such line in {within:?} from {self}"),
                Err(RecvTimeoutError::Disconnected) => bail!("ended before such a line: {self}"),
            }
        }
    }

    /// Writes an empty line to the program's input.
    pub fn send_line(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("the input is closed")?;
        input.write_all(b"\n").and_then(|()| input.flush()).with_context(|| format!("failed to write to {}", self.name))
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(pid_of(&self.child)?, signal)
            .with_context(|| format!("failed to signal {}", self.name))
    }

    /// Holds its whole process group back until the value returned is dropped.
    pub fn pause(&self) -> Result<Paused> {
        let group = pid_of(&self.child)?;
        kill_process_group(group, Signal::STOP).with_context(|| format!("failed to stop {}", self.name))?;
        Ok(Paused(group))
    }

    /// Closes the input and waits for the end. Fails when it has not ended in time.
    pub fn finish(mut self, within: Duration) -> Result<Ended> {
        self.input = None;
        let status =
            poll_until(within, || Ok(self.child.try_wait()?)).with_context(|| format!("still runs: {self}"))?;
        let mut lines = std::mem::take(&mut self.seen);
        lines.extend(self.lines.iter());
        Ok(Ended { status, lines })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, which printed:\n{}", self.name, self.seen.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(group) = pid_of(&self.child) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    Pid::from_raw(child.id() as i32).context("a child has a pid")
}

fn forward_lines(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Asks every few milliseconds until there is a value. Fails with the condition's error, or when the time is over.
pub fn poll_until<T>(within: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("the condition did not become true in {within:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
