//! Looks at the suspended tasks of event loops while these wait, on a thread of its own.
//!
//! The collector tells of each thread that was seen waiting in a poll with a state in a Python interpreter. The *looker* looks
//! at those whose interpreter publishes its tasks, each loop some twenty times a second and all of them together within a
//! hundredth of a CPU, and sends what it finds back: the aggregator brings it together with the waits it fell into.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::namer::Shared;
use crate::aggregate::{Look, Pending};
use crate::outside::is_polling;
use crate::process::stat::ProcessStat;
use crate::process::thread::{Asleep, NotAsleep};
use crate::process::{Image, ProcWorld, ThreadFile, World};
use crate::profile::{AsyncEntry, ImageId, PythonFrame, ThreadId, WaitClass};
use crate::runtime::python::awaited::awaited_in;
use crate::sys::clock;
use crate::wire::{OffCpuCause, StackEvent, StackKind};

/// How long after one look at a loop the next one is, on average: by chance up to a quarter less or more, so that it keeps
/// step with nothing.
const INTERVAL: Duration = Duration::from_millis(50);
/// How much longer than looking the time between is, at least.
const REST: u32 = 99;
/// How long the tasks of one loop are read at most. Of a loop that takes longer, nothing is told.
const READ_TIME: Duration = Duration::from_millis(10);
/// Loops looked at; further ones are not.
const LOOPS: usize = 4096;
/// The pauses in looking at a loop whose tasks cannot be read, such as one that has not imported asyncio yet: each doubles it.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(30);

/// A thread that may have an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LoopThread {
    image: ImageId,
    thread: ThreadId,
    /// Its state in the interpreter.
    state: u64,
}

enum Told {
    Waits(LoopThread),
    /// It has ended.
    Ended(ThreadId),
    /// What is selected has changed: only loops that are told of again are of interest.
    Forget,
}

/// The collector's end.
pub(super) struct Awaits {
    /// Absent if nobody wants to look.
    to_looker: Option<Sender<Told>>,
    looks: Receiver<Look>,
    /// The loops that were told of, by thread.
    told: HashMap<ThreadId, LoopThread>,
}

/// The other end: what the thread runs.
pub(super) struct Looker {
    told: Receiver<Told>,
    looks: Sender<Look>,
    loops: HashMap<ThreadId, Known>,
}

#[derive(Debug)]
struct Known {
    of: LoopThread,
    looked: Instant,
    /// If the last look could not read its tasks: how long it is left alone from then on.
    pause: Option<Duration>,
}

/// Both ends; if it is not `wanted` to look, nobody is told of anything.
pub(super) fn awaits(wanted: bool) -> (Awaits, Looker) {
    let (to_looker, told) = channel();
    let (found, looks) = channel();
    let awaits = Awaits { to_looker: wanted.then_some(to_looker), looks, told: HashMap::new() };
    (awaits, Looker { told, looks: found, loops: HashMap::new() })
}

impl Awaits {
    /// Tells of a thread that waited in a poll, if that is new.
    pub(super) fn note(&mut self, event: &StackEvent<'_>) {
        let (Some(to_looker), Some(state)) = (&self.to_looker, event.python_thread) else { return };
        let StackKind::OffCpu { cause: OffCpuCause::Blocked(WaitClass::Poll), .. } = event.kind else { return };
        let of = LoopThread { image: event.image, thread: event.thread, state };
        if self.told.get(&event.thread) == Some(&of) {
            return;
        }
        if self.told.len() >= LOOPS {
            self.told.clear();
        }
        self.told.insert(event.thread, of);
        // The looker ends with the daemon.
        let _ = to_looker.send(Told::Waits(of));
    }

    /// A thread has ended.
    pub(super) fn forget(&mut self, thread: ThreadId) {
        if self.told.remove(&thread).is_some()
            && let Some(to_looker) = &self.to_looker
        {
            let _ = to_looker.send(Told::Ended(thread));
        }
    }

    /// What is selected has changed.
    pub(super) fn forget_all(&mut self) {
        self.told.clear();
        if let Some(to_looker) = &self.to_looker {
            let _ = to_looker.send(Told::Forget);
        }
    }

    /// The looks since this was asked last.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Look> + '_ {
        self.looks.try_iter()
    }
}

impl Looker {
    /// Looks, until there is nobody to tell.
    pub(super) fn run(mut self, shared: &Shared) {
        let mut next = Instant::now();
        while self.listen(next) {
            let begun = Instant::now();
            if begun < next {
                continue;
            }
            if !self.look_at_all(shared) {
                return;
            }
            let ended = Instant::now();
            next = ended + interval().max((ended - begun) * REST);
        }
    }

    /// Waits until the time, or for the next to be told of. Returns whether to go on.
    fn listen(&mut self, next: Instant) -> bool {
        let told = match self.loops.is_empty() {
            true => self.told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => self.told.recv_timeout(next.saturating_duration_since(Instant::now())),
        };
        match told {
            Ok(told) => self.learn(told),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn learn(&mut self, told: Told) {
        match told {
            Told::Waits(of) if self.loops.len() < LOOPS || self.loops.contains_key(&of.thread) => {
                self.loops.insert(of.thread, Known { of, looked: Instant::now(), pause: None });
            }
            Told::Waits(_) => {}
            Told::Ended(thread) => drop(self.loops.remove(&thread)),
            Told::Forget => self.loops.clear(),
        }
    }

    /// Returns whether anybody wants to know.
    fn look_at_all(&mut self, shared: &Shared) -> bool {
        let Self { loops, looks, .. } = self;
        let mut is_heard = true;
        loops.retain(|_, known| {
            let now = Instant::now();
            if !known.is_due(now) {
                return true;
            }
            let interval = known.interval(now);
            known.looked = now;
            let seen = look_at(&known.of, interval, shared);
            known.pause = known.pause_after(&seen);
            match seen {
                Seen::Tasks(look) => is_heard &= looks.send(look).is_ok(),
                Seen::Nothing | Seen::Unreadable => {}
                Seen::Ended => return false,
            }
            true
        });
        is_heard
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.pause.is_none_or(|pause| now.saturating_duration_since(self.looked) >= pause)
    }

    /// What a look now stands for: the time since the one before, unless that could not read anything.
    fn interval(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.looked);
        if self.pause.is_some() { since.min(INTERVAL) } else { since }
    }

    /// A look that found the thread at something else tells nothing of whether its tasks can be read.
    fn pause_after(&self, seen: &Seen) -> Option<Duration> {
        match seen {
            Seen::Tasks(_) => None,
            Seen::Nothing | Seen::Ended => self.pause,
            Seen::Unreadable => Some(self.pause.map_or(*PAUSES.start(), |pause| (pause * 2).min(*PAUSES.end()))),
        }
    }
}

/// What a look found.
#[derive(Debug)]
enum Seen {
    /// Where tasks are suspended.
    Tasks(Look),
    /// The thread does not wait in its loop, or went on meanwhile.
    Nothing,
    /// Its tasks cannot be read, as far as its process is known now.
    Unreadable,
    /// There is no such thread any more, whoever has its ids now.
    Ended,
}

/// Looks at the tasks of a loop.
fn look_at(of: &LoopThread, interval: Duration, shared: &Shared) -> Seen {
    let (pid, tid, world) = (of.image.process.pid, of.thread.tid, &ProcWorld);
    if !lives(of, world) {
        return Seen::Ended;
    }
    let Some(image) = shared.registry.image(of.image) else { return Seen::Unreadable };
    let asleep = match Asleep::read(pid, tid, world) {
        Ok(asleep) if is_polling(&asleep) => asleep,
        Ok(_) | Err(NotAsleep::Runs | NotAsleep::WentOn) => return Seen::Nothing,
        Err(NotAsleep::Denied | NotAsleep::Untold) => return Seen::Unreadable,
        Err(NotAsleep::Ended) => return Seen::Ended,
    };
    let at_ns = clock::monotonic_ns();
    let bounds = (Instant::now() + READ_TIME, at_ns as usize);
    let Some(found) = shared.runtimes.python.read_pending(&image, of.state, bounds, world) else {
        return Seen::Unreadable;
    };
    let Some(found) = found.ok().filter(|_| asleep.is_unchanged(pid, tid, world)) else { return Seen::Nothing };
    let Some(pending) = group(&image, &found.places, bounds.0, shared) else { return Seen::Nothing };
    let interval_ns = interval.as_nanos() as u64;
    Seen::Tasks(Look { image: of.image, thread: of.thread, at_ns, interval_ns, pending })
}

/// Whether the thread with these ids is still the one that was told of.
fn lives(of: &LoopThread, world: &dyn World) -> bool {
    let text = world.read_thread(of.image.process.pid, of.thread.tid, ThreadFile::Stat);
    let stat = text.ok().and_then(|text| ProcessStat::parse(&text));
    stat.is_some_and(|stat| stat.started_at(of.thread.start_ns))
}

/// Tasks that await in the same place, with what they await. What is read of the places is read now, while the process lives;
/// `None` if there was no time for all of it. What was read is known at the next look.
fn group(image: &Image, places: &[Arc<[AsyncEntry]>], until: Instant, shared: &Shared) -> Option<Vec<Pending>> {
    let mut counts: HashMap<&Arc<[AsyncEntry]>, u64> = HashMap::new();
    for place in places {
        *counts.entry(place).or_default() += 1;
    }
    let python = &shared.runtimes.python;
    let pending = counts.into_iter().map(|(entries, tasks)| {
        python.observe_place(image, entries, until, &ProcWorld);
        let own = entries.iter().map_while(frame_of);
        let functions: Vec<_> = own.map(|frame| python.resolve(image.id, &frame)).collect();
        if functions.iter().any(Result::is_err) && Instant::now() >= until {
            return None;
        }
        let awaited = awaited_in(functions.into_iter().flatten());
        Some(Pending { awaited, entries: entries.clone(), tasks })
    });
    pending.collect()
}

fn frame_of(entry: &AsyncEntry) -> Option<PythonFrame> {
    match entry {
        AsyncEntry::Frame(frame) => Some(*frame),
        AsyncEntry::Task(_) | AsyncEntry::Cut => None,
    }
}

/// [`INTERVAL`], by chance a little less or more.
fn interval() -> Duration {
    let half = INTERVAL / 2;
    let chance = clock::monotonic_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    INTERVAL * 3 / 4 + half.mul_f64(chance as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::process::stat::TICK_NS;
    use crate::profile::ProcessId;

    const SECOND: u64 = 100 * TICK_NS;

    fn loop_thread(start_ns: u64) -> LoopThread {
        let image = ImageId { process: ProcessId { pid: 7, start_ns }, exec_ns: 0 };
        LoopThread { image, thread: ThreadId { tid: 8, start_ns }, state: 1 }
    }

    fn look() -> Look {
        let LoopThread { image, thread, .. } = loop_thread(SECOND);
        Look { image, thread, at_ns: 1, interval_ns: 1, pending: Vec::new() }
    }

    #[test]
    fn a_loop_whose_tasks_cannot_be_read_is_looked_at_again_after_growing_pauses() {
        let looked = Instant::now();
        let mut known = Known { of: loop_thread(SECOND), looked, pause: None };
        assert!(known.is_due(looked));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            known.pause = known.pause_after(&Seen::Unreadable);
            pauses.push(known.pause.unwrap());
        }
        assert_eq!((pauses[0], pauses[1], pauses[9]), (*PAUSES.start(), *PAUSES.start() * 2, *PAUSES.end()));
        assert_eq!(known.pause_after(&Seen::Nothing), known.pause);
        assert!(!known.is_due(looked + *PAUSES.end() / 2) && known.is_due(looked + *PAUSES.end()));
        assert_eq!(known.interval(looked + *PAUSES.end()), INTERVAL, "it does not stand for the pause");
        assert_eq!(known.pause_after(&Seen::Tasks(look())), None);
    }

    #[test]
    fn the_looker_forgets_a_loop_that_ended() {
        let (mut awaits, mut looker) = awaits(true);
        let of = loop_thread(SECOND);
        awaits.told.insert(of.thread, of);
        looker.learn(Told::Waits(of));
        awaits.forget(ThreadId { tid: 9, ..of.thread });
        awaits.forget(of.thread);
        assert!(looker.listen(Instant::now()) && looker.loops.is_empty());
        assert!(looker.told.try_recv().is_err(), "nobody heard of the other");
    }

    #[test]
    fn a_thread_that_has_the_ids_of_one_that_ended_is_not_looked_at() {
        let world = FixtureWorld::default();
        let stat = format!("8 (python) S 1 {}{} 0", "0 ".repeat(17), SECOND / TICK_NS);
        let threads = [(8, [(ThreadFile::Stat, stat)].into())].into();
        world.insert(7, FixtureProcess { threads, ..FixtureProcess::default() });
        assert!(lives(&loop_thread(SECOND + 5), &world));
        assert!(!lives(&loop_thread(SECOND / 2), &world));
        world.remove(7);
        assert!(!lives(&loop_thread(SECOND), &world));
    }

    #[test]
    fn the_time_between_looks_is_some_fifty_milliseconds() {
        let intervals: Vec<Duration> = (0..1000).map(|_| interval()).collect();
        let mean = intervals.iter().sum::<Duration>() / 1000;
        assert!(intervals.iter().all(|interval| (INTERVAL * 3 / 4..=INTERVAL * 5 / 4).contains(interval)));
        assert!((INTERVAL.mul_f64(0.95)..INTERVAL.mul_f64(1.05)).contains(&mean), "{mean:?}");
    }
}
