//! Looks at the suspended tasks of event loops while these wait, on a thread of its own.
//!
//! The collector tells of each thread that was seen waiting in a poll with a state in a Python interpreter. The *looker* looks
//! at those whose interpreter publishes its tasks, each loop some twenty times a second and all of them together within a
//! hundredth of a CPU, and sends what it finds back: the aggregator brings it together with the waits it fell into.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::namer::Shared;
use crate::aggregate::{Look, Pending};
use crate::outside::is_polling;
use crate::process::thread::{Asleep, NotAsleep};
use crate::process::{Image, ProcWorld};
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
        self.told.remove(&thread);
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
            Ok(Told::Waits(of)) if self.loops.len() < LOOPS || self.loops.contains_key(&of.thread) => {
                self.loops.insert(of.thread, Known { of, looked: Instant::now() });
            }
            Ok(Told::Waits(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Told::Forget) => self.loops.clear(),
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Returns whether anybody wants to know.
    fn look_at_all(&mut self, shared: &Shared) -> bool {
        let Self { loops, looks, .. } = self;
        let mut is_heard = true;
        loops.retain(|_, known| {
            let now = Instant::now();
            let interval = now - std::mem::replace(&mut known.looked, now);
            match look_at(&known.of, interval, shared) {
                Ok(Some(look)) => is_heard &= looks.send(look).is_ok(),
                Ok(None) => {}
                Err(Useless) => return false,
            }
            true
        });
        is_heard
    }
}

/// A thread that is not worth another look, until it is told of again.
struct Useless;

/// Looks at the tasks of a loop; nothing if it does not wait, or went on meanwhile.
fn look_at(of: &LoopThread, interval: Duration, shared: &Shared) -> Result<Option<Look>, Useless> {
    let (pid, tid, world) = (of.image.process.pid, of.thread.tid, &ProcWorld);
    let image = shared.registry.image(of.image).ok_or(Useless)?;
    let asleep = match Asleep::read(pid, tid, world) {
        Ok(asleep) if is_polling(&asleep) => asleep,
        Ok(_) | Err(NotAsleep::Runs | NotAsleep::WentOn) => return Ok(None),
        Err(NotAsleep::Ended | NotAsleep::Denied | NotAsleep::Untold) => return Err(Useless),
    };
    let at_ns = clock::monotonic_ns();
    let bounds = (Instant::now() + READ_TIME, at_ns as usize);
    let found = shared.runtimes.python.read_pending(&image, of.state, bounds, world).ok_or(Useless)?;
    let Some(found) = found.ok().filter(|_| asleep.is_unchanged(pid, tid, world)) else { return Ok(None) };
    let Some(pending) = group(&image, &found.places, bounds.0, shared) else { return Ok(None) };
    let interval_ns = interval.as_nanos() as u64;
    Ok(Some(Look { image: of.image, thread: of.thread, at_ns, interval_ns, pending }))
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

    #[test]
    fn the_time_between_looks_is_some_fifty_milliseconds() {
        let intervals: Vec<Duration> = (0..1000).map(|_| interval()).collect();
        let mean = intervals.iter().sum::<Duration>() / 1000;
        assert!(intervals.iter().all(|interval| (INTERVAL * 3 / 4..=INTERVAL * 5 / 4).contains(interval)));
        assert!((INTERVAL.mul_f64(0.95)..INTERVAL.mul_f64(1.05)).contains(&mean), "{mean:?}");
    }
}
