//! All threads of a process at one moment: what each does, what it waits for, where.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::reader::{Host, Reader, Sleeper, Sought, Told};
use super::subject::CallSubjects;
use crate::aggregate::RawStack;
use crate::process::image::{read_stat, without_deleted};
use crate::process::stat::{ProcessCredentials, ProcessStat, TICK_NS};
use crate::process::thread::{Letter, NotAsleep, Ran};
use crate::process::{Image, ProcessError, ThreadFile, World};
use crate::profile::{Doing, ImageId, Lasted, ProcessId, ProcessNow, ThreadNow, WaitClass, WaitNow};
use crate::wire::Account;

/// How long the threads of a process are read at most.
const READ_TIME: Duration = Duration::from_secs(5);
/// How often threads are read again that went on meanwhile.
const ROUNDS: usize = 3;

/// The stack of a thread that sleeps, or why there is none.
pub type RawPlace = Result<RawStack, NotAsleep>;

/// What the kernel half knows of the threads of a process, by tid; nothing if it is not selected.
pub type Accounts = HashMap<u32, Account>;

/// One thread while it is read.
struct Thread {
    sought: Sought,
    name: String,
    /// What the kernel half told before.
    account: Option<Account>,
    doing: Doing,
    place: RawPlace,
}

impl Reader {
    /// The threads of a process. `accounts` is asked before and after: what the kernel half tells of a wait counts if it is
    /// the same both times. `host` is told whether the process is selected.
    pub fn read_process<'a>(
        &mut self,
        pid: u32,
        mut accounts: impl FnMut() -> Accounts,
        host: impl Fn(bool) -> Host<'a>,
    ) -> Result<ProcessNow<RawPlace>, ProcessError> {
        let stat = read_stat(pid, host(false).world).map_err(|_| ProcessError::NoSuchProcess(pid))?;
        let until = Instant::now() + READ_TIME;
        let before = accounts();
        let host = host(!before.is_empty());
        let world = host.world;
        let mut threads = list_threads(pid, &before, world)?;
        let id = image_of(pid, &stat, &before);
        let subjects = CallSubjects::new(pid, names_of(&threads), world);
        self.read_threads(id, &mut threads, &|_| true, (until, &subjects), host);
        let after = accounts();
        for thread in &mut threads {
            thread.compare(after.get(&thread.sought.tid));
        }
        for _ in 0..ROUNDS {
            let is_open = |thread: &Thread| matches!(thread.place, Err(NotAsleep::WentOn));
            if !threads.iter().any(is_open) {
                break;
            }
            self.read_threads(id, &mut threads, &is_open, (until, &subjects), host);
        }
        let notes = host.registry.image(id).map(|image| missing_frames(&image, host));
        Ok(ProcessNow {
            pid,
            comm: stat.comm,
            executable: world.executable_path(pid).ok().map(without_deleted),
            selected: !before.is_empty(),
            notes: notes.unwrap_or_default(),
            threads: threads.into_iter().map(|thread| thread.into_now(pid, world)).collect(),
        })
    }

    fn read_threads(
        &mut self,
        id: ImageId,
        threads: &mut [Thread],
        is_wanted: &dyn Fn(&Thread) -> bool,
        (until, subjects): (Instant, &CallSubjects<'_>),
        host: Host<'_>,
    ) {
        let mut wanted: Vec<&mut Thread> = threads.iter_mut().filter(|thread| is_wanted(thread)).collect();
        let sought: Vec<Sought> = wanted.iter().map(|thread| thread.sought).collect();
        let found = self.read(id, &sought, until, host);
        for (thread, found) in wanted.iter_mut().zip(found) {
            match found {
                Some(Ok(sleeper)) => thread.settle(sleeper, id.process.pid, subjects, host.world),
                Some(Err(reason)) => thread.give_up(reason, id.process.pid, host.world),
                None => thread.give_up(NotAsleep::Untold, id.process.pid, host.world),
            }
        }
    }
}

impl Thread {
    /// It sleeps: says what for, unless it went on meanwhile.
    fn settle(&mut self, sleeper: Sleeper, pid: u32, subjects: &CallSubjects<'_>, world: &dyn World) {
        let letter = read_letter(pid, self.sought.tid, world).unwrap_or(Letter(b'S'));
        self.doing = Doing::Waiting(subjects.describe(&sleeper.asleep, letter));
        let is_whole = sleeper.asleep.is_unchanged(pid, self.sought.tid, world);
        self.place = if is_whole { Ok(sleeper.stack) } else { Err(NotAsleep::WentOn) };
    }

    fn give_up(&mut self, reason: NotAsleep, pid: u32, world: &dyn World) {
        self.doing = match read_letter(pid, self.sought.tid, world) {
            Some(letter) if letter.is_runnable() || reason == NotAsleep::Runs => Doing::Running,
            Some(letter) if !letter.is_ended() => Doing::Waiting(WaitNow::default()),
            _ => Doing::Ended,
        };
        self.place = Err(if self.doing == Doing::Running { NotAsleep::Runs } else { reason });
        // A thread that ended is not waited for.
        if self.doing == Doing::Ended {
            self.place = Err(NotAsleep::Ended);
        }
    }

    /// Takes over what the kernel half says of the wait, if it said the same before: else the thread went on in between, and
    /// what it told of the registers then is of no use.
    fn compare(&mut self, after: Option<&Account>) {
        let before = self.account.as_ref().and_then(|account| account.wait);
        let wait = before.filter(|before| after.is_some_and(|after| after.wait == Some(*before)));
        match (wait, after, &mut self.doing, &mut self.place) {
            (Some(wait), Some(after), Doing::Waiting(now), Ok(stack)) => {
                stack.reason = wait.reason;
                let or_longer = wait.since_ns <= after.id.attach_ns;
                // Which descriptor a thread polls that did so before, the kernel half cannot read.
                if !(or_longer && wait.class == WaitClass::Poll) {
                    now.class = Some(wait.class);
                }
                now.lasted = Some(Lasted { ns: after.at_ns.saturating_sub(wait.since_ns), or_longer });
            }
            (_, _, _, place) => {
                if before.is_some() && place.is_ok() {
                    *place = Err(NotAsleep::WentOn);
                }
                self.sought.told = None;
            }
        }
    }

    fn into_now(self, pid: u32, world: &dyn World) -> ThreadNow<RawPlace> {
        let cpu_ns = Ran::read(pid, self.sought.tid, world).ok().map(|ran| ran.cpu_ns);
        ThreadNow { tid: self.sought.tid, name: self.name, doing: self.doing, cpu_ns, stack: self.place }
    }
}

/// Why frames of runtimes are not shown.
fn missing_frames(image: &Image, host: Host<'_>) -> Vec<String> {
    let python = host.runtimes.python.version(image, host.world).and_then(Result::err);
    let java = host.runtimes.java.version(image, host.world).and_then(Result::err);
    let python = python.map(|refusal| format!("no Python frames: {refusal}"));
    python.into_iter().chain(java.map(|refusal| format!("no Java frames: {refusal}"))).collect()
}

/// The threads there are, and what the kernel half tells of those.
fn list_threads(pid: u32, accounts: &Accounts, world: &dyn World) -> Result<Vec<Thread>, ProcessError> {
    let mut tids = world.threads(pid).map_err(|_| ProcessError::Gone(pid))?;
    tids.sort_unstable();
    let read = |tid: u32| {
        let stat = ProcessStat::parse(&world.read_thread(pid, tid, ThreadFile::Stat).ok()?)?;
        let status = world.read_thread(pid, tid, ThreadFile::Status).ok();
        let namespace_tid = status.and_then(|status| ProcessCredentials::parse(&status)).map(|ids| ids.namespace_pid);
        let account = accounts.get(&tid).filter(|account| stat.started_at(account.id.thread.start_ns)).cloned();
        let told = account.as_ref().and_then(|account| account.wait.as_ref()).map(Told::from);
        Some(Thread {
            sought: Sought { tid, namespace_tid: namespace_tid.unwrap_or(tid), told },
            name: stat.comm,
            account,
            doing: Doing::Ended,
            place: Err(NotAsleep::Ended),
        })
    };
    Ok(tids.into_iter().filter_map(read).collect())
}

fn names_of(threads: &[Thread]) -> HashMap<u32, String> {
    threads.iter().map(|thread| (thread.sought.namespace_tid, thread.name.clone())).collect()
}

fn read_letter(pid: u32, tid: u32, world: &dyn World) -> Option<Letter> {
    Letter::parse(&world.read_thread(pid, tid, ThreadFile::Stat).ok()?)
}

/// The image as the kernel half knows it. Of a process that is not selected no exec is told: each time its image is another
/// one, that is read anew and forgotten with the answer.
fn image_of(pid: u32, stat: &ProcessStat, accounts: &Accounts) -> ImageId {
    static TIMES: AtomicU64 = AtomicU64::new(1);
    if let Some(account) = accounts.values().next() {
        return account.image;
    }
    let process = ProcessId { pid, start_ns: stat.start_ticks * TICK_NS };
    ImageId { process, exec_ns: TIMES.fetch_add(1, Ordering::Relaxed) }
}
