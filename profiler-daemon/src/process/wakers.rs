//! Names of the threads that end waits, asked for once in each window, when the first stack of such a wait arrives.
//!
//! Threads rename themselves: what they are called is what they were called last.
//! Pids and tids are used again. A process that started after the wake is not the one that woke, and has no say; nor has one
//! of which another process had the pid before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::asking_time::AskingTime;
use super::stat::{ProcessStat, TICK_NS};
use super::{ProcFile, ThreadFile, World};
use crate::profile::{NamedWaker, Waker};

/// Names kept; beyond, those known so far are asked for again.
const NAMES: usize = 16_384;

/// The names of wakers.
#[derive(Debug, Default)]
pub struct Wakers {
    time: Arc<AskingTime>,
    names: Mutex<HashMap<(u32, u32), Known>>,
}

/// What is known of a pid and tid.
#[derive(Debug, Clone)]
struct Known {
    process: Owner,
    /// Nothing if the thread had ended before it could be asked.
    thread: Option<Owner>,
}

/// Who has a pid or tid.
#[derive(Debug, Clone)]
struct Owner {
    start_ticks: u64,
    /// Nothing once another had the id as well.
    name: Option<Arc<str>>,
}

impl Wakers {
    /// Asks within a limit of time that others share.
    pub(super) fn within(time: Arc<AskingTime>) -> Self {
        Self { time, ..Self::default() }
    }

    /// Asks for the names of a waker that woke a thread at `woken_ns`, in nanoseconds since boot. Returns whether there was
    /// time for it.
    pub fn observe(&self, waker: Waker, woken_ns: u64, world: &dyn World) -> bool {
        let Waker::Thread { pid, tid, .. } = waker else { return true };
        let Some(asked) = self.time.spend(|| ask(pid, tid, woken_ns, world)) else { return false };
        if let Some(now) = asked {
            self.learn((pid, tid), now);
        }
        true
    }

    fn learn(&self, ids: (u32, u32), now: Known) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NAMES && !names.contains_key(&ids) {
            names.clear();
        }
        names.entry(ids).and_modify(|known| known.learn(&now)).or_insert(now);
    }

    /// The waker with its names, as far as they are known.
    pub fn name(&self, waker: Waker) -> NamedWaker {
        let Waker::Thread { pid, tid, .. } = waker else { return NamedWaker::nameless(waker) };
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(&(pid, tid));
        let process_name = known.and_then(|known| known.process.name.clone());
        let thread_name = known.and_then(|known| known.thread.as_ref()?.name.clone());
        NamedWaker { waker, process_name, thread_name }
    }
}

impl Known {
    fn learn(&mut self, now: &Self) {
        self.process.learn(&now.process);
        if self.process.name.is_none() {
            self.thread = None;
            return;
        }
        match (&mut self.thread, &now.thread) {
            (Some(known), Some(now)) => known.learn(now),
            (thread @ None, now) => thread.clone_from(now),
            (Some(_), None) => {}
        }
    }
}

impl Owner {
    fn of(stat: ProcessStat) -> Self {
        Self { start_ticks: stat.start_ticks, name: Some(stat.comm.into()) }
    }

    fn learn(&mut self, now: &Self) {
        if self.start_ticks != now.start_ticks {
            self.name = None;
        } else if self.name.is_some() {
            self.name.clone_from(&now.name);
        }
    }
}

/// Who has the ids now; `None` if it was another process, or none, when the thread woke another.
fn ask(pid: u32, tid: u32, woken_ns: u64, world: &dyn World) -> Option<Known> {
    let existed = |stat: &ProcessStat| stat.start_ticks <= woken_ns / TICK_NS;
    let process = ProcessStat::parse(&world.read(pid, ProcFile::Stat).ok()?).filter(existed)?;
    let thread = world.read_thread(pid, tid, ThreadFile::Stat).ok().and_then(|text| ProcessStat::parse(&text));
    Some(Known { process: Owner::of(process), thread: thread.filter(existed).map(Owner::of) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    const WAKER: Waker = Waker::Thread { pid: 7, tid: 7, over_network: false };
    const SECOND: u64 = 1_000_000_000;

    fn world(comm: &str, start_ns: u64) -> FixtureWorld {
        let world = FixtureWorld::default();
        let process = FixtureProcess { comm: comm.into(), start_ns, ..FixtureProcess::default() };
        world.insert(7, process);
        world
    }

    fn with_thread(comm: &str, thread_name: &str, start_ns: u64) -> FixtureWorld {
        let world = FixtureWorld::default();
        let stat = format!("7 ({thread_name}) S 1 {}{} 0", "0 ".repeat(17), start_ns / TICK_NS);
        let threads = [(7, [(ThreadFile::Stat, stat)].into())].into();
        world.insert(7, FixtureProcess { comm: comm.into(), start_ns, threads, ..FixtureProcess::default() });
        world
    }

    fn names(wakers: &Wakers) -> (Option<String>, Option<String>) {
        let NamedWaker { process_name, thread_name, .. } = wakers.name(WAKER);
        (process_name.map(|name| name.to_string()), thread_name.map(|name| name.to_string()))
    }

    fn process_name(wakers: &Wakers) -> Option<String> {
        wakers.name(WAKER).process_name.map(|name| name.to_string())
    }

    #[test]
    fn a_waker_has_the_name_of_its_process() {
        let wakers = Wakers::default();
        wakers.observe(WAKER, 5 * SECOND, &world("java", 4 * SECOND));
        assert_eq!(process_name(&wakers).as_deref(), Some("java"));
        assert_eq!(wakers.name(Waker::Timer), NamedWaker::nameless(Waker::Timer));
    }

    #[test]
    fn a_process_that_started_later_lends_no_name() {
        let wakers = Wakers::default();
        wakers.observe(WAKER, 5 * SECOND, &world("later", 5 * SECOND + TICK_NS));
        assert_eq!(process_name(&wakers), None);
    }

    #[test]
    fn ids_that_two_processes_had_name_neither() {
        let wakers = Wakers::default();
        wakers.observe(WAKER, 5 * SECOND, &world("java", 4 * SECOND));
        wakers.observe(WAKER, 8 * SECOND, &world("python", 7 * SECOND));
        assert_eq!(process_name(&wakers), None);
    }

    #[test]
    fn names_are_those_of_the_last_time_they_were_asked_for() {
        let wakers = Wakers::default();
        wakers.observe(WAKER, 5 * SECOND, &with_thread("python", "python", 4 * SECOND));
        wakers.observe(WAKER, 6 * SECOND, &with_thread("gunicorn", "worker", 4 * SECOND));
        assert_eq!(names(&wakers), (Some("gunicorn".to_owned()), Some("worker".to_owned())));
    }

    #[test]
    fn a_thread_has_no_name_once_another_process_had_its_ids() {
        let wakers = Wakers::default();
        wakers.observe(WAKER, 5 * SECOND, &with_thread("java", "main", 4 * SECOND));
        wakers.observe(WAKER, 8 * SECOND, &world("python", 7 * SECOND));
        assert_eq!(names(&wakers), (None, None));
        wakers.observe(WAKER, 9 * SECOND, &with_thread("python", "main", 7 * SECOND));
        assert_eq!(names(&wakers), (None, None), "its older waits are somebody else's");
    }
}
