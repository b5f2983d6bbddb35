//! Where threads wait whose waits have not ended: read from outside, once per wait, on a thread of its own.
//!
//! The kernel half captures a stack when a wait ends. One that goes on when a window closes, as that of a parked worker, would
//! have none. So the last thing before a window closes is a look at the waits in progress: the collector notes them during a
//! pass over all tasks and gives the new ones to the *reader*, and goes on with its rings. When these are read, or the time is
//! over, it passes over all tasks again. A wait that has the same beginning both times went on in between, so what was read
//! is where it waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::namer::Shared;
use super::waker::Waker;
use crate::aggregate::{OpenWait, RawStack};
use crate::outside::{Host, Reader, Sought};
use crate::process::ProcWorld;
use crate::process::thread::NotAsleep;
use crate::profile::{ImageId, ThreadId};
use crate::unwind::TableCache;
use crate::wire::{Account, WaitInProgress};

/// How long stacks of waiting threads are read at a time. Those there is no time for are read the next time.
const READ_TIME: Duration = Duration::from_millis(100);

/// A wait: a thread and when it began to wait.
type Key = (ThreadId, u64);

/// The waits in progress at the last pass over all tasks.
#[derive(Debug)]
pub(super) struct Waits {
    seen: Vec<Seen>,
    /// What was read; nothing of a wait whose stack cannot be read.
    known: HashMap<Key, Option<RawStack>>,
    to_reader: Sender<Batch>,
    answers: Receiver<Vec<(Key, Option<RawStack>)>>,
    /// What the reader was given is to be waited for no longer than this.
    reading: Option<Instant>,
    /// Whether the reader has not answered yet.
    is_reader_busy: bool,
}

/// What the reader is given.
#[derive(Debug)]
struct Batch {
    waits: Vec<Seen>,
    until: Instant,
}

#[derive(Debug, Clone)]
struct Seen {
    image: ImageId,
    thread: ThreadId,
    at_ns: u64,
    wait: WaitInProgress,
}

/// The other end: what the reader's thread runs.
pub(super) struct WaitReader {
    batches: Receiver<Batch>,
    answers: Sender<Vec<(Key, Option<RawStack>)>>,
    waker: Waker,
    reader: Reader,
}

/// Both ends. The reader wakes the collector when it has read what it was given.
pub(super) fn waits(cache: Arc<TableCache>, waker: Waker) -> (Waits, WaitReader) {
    let (to_reader, batches) = channel();
    let (answer, answers) = channel();
    let waits =
        Waits { seen: Vec::new(), known: HashMap::new(), to_reader, answers, reading: None, is_reader_busy: false };
    (waits, WaitReader { batches, answers: answer, waker, reader: Reader::new(cache) })
}

impl Waits {
    /// Before a pass.
    pub(super) fn begin_pass(&mut self) {
        self.seen.clear();
    }

    /// Notes a living thread. Of a wait shorter than `period_ns`, the longest T of any CPU, chance decides whether it gets a stack.
    pub(super) fn note(&mut self, account: &Account, period_ns: u64) {
        let Some(wait) = account.wait.filter(|_| !account.kernel) else { return };
        if account.at_ns.saturating_sub(wait.since_ns) >= period_ns {
            self.seen.push(Seen { image: account.image, thread: account.id.thread, at_ns: account.at_ns, wait });
        }
    }

    /// Has the waits of the last pass read that are not known. Returns whether there are any.
    pub(super) fn begin_reading(&mut self, now: Instant) -> bool {
        self.take_answers();
        let new: Vec<Seen> = self.seen.iter().filter(|seen| !self.known.contains_key(&seen.key())).cloned().collect();
        if new.is_empty() || self.is_reader_busy {
            return false;
        }
        let until = now + READ_TIME;
        self.is_reader_busy = self.to_reader.send(Batch { waits: new, until }).is_ok();
        self.reading = Some(until);
        true
    }

    /// Until when to wait for the reader, if it is to be waited for.
    pub(super) fn reading_until(&mut self, now: Instant) -> Option<Instant> {
        self.take_answers();
        self.reading.filter(|until| self.is_reader_busy && now < *until)
    }

    /// Whether the reader was given something that was not asked for since.
    pub(super) fn has_begun(&self) -> bool {
        self.reading.is_some()
    }

    /// The waits noted by the last pass, as far as it is known where they are.
    pub(super) fn take(&mut self) -> Vec<OpenWait> {
        self.take_answers();
        self.reading = None;
        let living: HashSet<Key> = self.seen.iter().map(Seen::key).collect();
        self.known.retain(|key, _| living.contains(key));
        let known = |seen: &Seen| Some(seen.with(self.known.get(&seen.key())?.as_ref()?));
        self.seen.iter().filter_map(known).collect()
    }

    fn take_answers(&mut self) {
        for answer in self.answers.try_iter() {
            self.known.extend(answer);
            self.is_reader_busy = false;
        }
    }
}

impl Seen {
    fn key(&self) -> Key {
        (self.thread, self.wait.since_ns)
    }

    fn with(&self, stack: &RawStack) -> OpenWait {
        let WaitInProgress { class, since_ns, .. } = self.wait;
        let (process, thread, at_ns) = (self.image.process, self.thread, self.at_ns);
        let stack = RawStack { reason: self.wait.reason, ..stack.clone() };
        OpenWait { process, thread, class, since_ns, at_ns, stack }
    }
}

impl WaitReader {
    /// Reads what it is given, until nobody gives any more.
    pub(super) fn run(mut self, shared: &Shared) {
        while let Ok(batch) = self.batches.recv() {
            let answer = self.read(batch, shared);
            if self.answers.send(answer).is_err() {
                return;
            }
            self.waker.wake();
        }
    }

    fn read(&mut self, batch: Batch, shared: &Shared) -> Vec<(Key, Option<RawStack>)> {
        let host = Host { registry: &shared.registry, runtimes: &shared.runtimes, world: &ProcWorld };
        let mut by_image: HashMap<ImageId, Vec<&Seen>> = HashMap::new();
        for seen in &batch.waits {
            if let Some(subject) = seen.wait.reason.subject {
                shared.registry.subjects().observe(seen.image.process, subject, &ProcWorld);
            }
            by_image.entry(seen.image).or_default().push(seen);
        }
        let mut answer = Vec::new();
        for (image, waits) in by_image {
            if Instant::now() >= batch.until {
                break;
            }
            let sought: Vec<Sought> = waits.iter().map(|seen| seen.sought()).collect();
            let found = self.reader.read(image, &sought, batch.until, host);
            let known = waits.iter().zip(found).filter_map(|(seen, found)| match found? {
                Ok(sleeper) => Some((seen.key(), Some(sleeper.stack))),
                // Another wait by now, perhaps; if it is not, it is tried again.
                Err(NotAsleep::Runs | NotAsleep::WentOn) => None,
                Err(NotAsleep::Ended | NotAsleep::Denied | NotAsleep::Untold) => Some((seen.key(), None)),
            });
            answer.extend(known);
        }
        answer
    }
}

impl Seen {
    fn sought(&self) -> Sought {
        Sought { tid: self.thread.tid, namespace_tid: 0, told: Some((&self.wait).into()) }
    }
}
