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

/// How many threads of a process are read at once: few enough that those take a small part of the time, whatever their stacks.
const CHUNK: usize = 16;

/// A wait: a thread and when it began to wait.
type Key = (ThreadId, u64);

/// Where a thread waits, and what that for which it does is called, if it was asked for.
type Place = (RawStack, Option<Arc<str>>);

/// The waits in progress at the last pass over all tasks.
#[derive(Debug)]
pub(super) struct Waits {
    seen: Vec<Seen>,
    /// What was read; nothing of a wait whose stack cannot be read.
    known: HashMap<Key, Option<Place>>,
    to_reader: Sender<Batch>,
    answers: Receiver<Vec<(Key, Option<Place>)>>,
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
    answers: Sender<Vec<(Key, Option<Place>)>>,
    waker: Waker,
    reader: Reader,
    /// What could not be read the last time though there was time for it: it comes last.
    tried: HashSet<Key>,
}

/// Both ends. The reader wakes the collector when it has read what it was given.
pub(super) fn waits(cache: Arc<TableCache>, waker: Waker) -> (Waits, WaitReader) {
    let (to_reader, batches) = channel();
    let (answer, answers) = channel();
    let waits =
        Waits { seen: Vec::new(), known: HashMap::new(), to_reader, answers, reading: None, is_reader_busy: false };
    (waits, WaitReader { batches, answers: answer, waker, reader: Reader::new(cache), tried: HashSet::new() })
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

    fn with(&self, (stack, name): &Place) -> OpenWait {
        let WaitInProgress { class, since_ns, .. } = self.wait;
        let (process, thread, at_ns) = (self.image.process, self.thread, self.at_ns);
        let stack = RawStack { reason: self.wait.reason, ..stack.clone() };
        OpenWait { process, thread, class, since_ns, at_ns, stack, subject_name: name.clone() }
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

    fn read(&mut self, batch: Batch, shared: &Shared) -> Vec<(Key, Option<Place>)> {
        let host = Host { registry: &shared.registry, runtimes: &shared.runtimes, world: &ProcWorld };
        let mut tried = std::mem::take(&mut self.tried);
        if batch.waits.iter().all(|seen| tried.contains(&seen.key())) {
            tried.clear();
        }
        let mut answer = Vec::new();
        for chunk in in_chunks(&batch.waits, &tried) {
            if Instant::now() >= batch.until {
                // What was tried before has not been tried since.
                self.tried.extend(chunk.iter().map(|seen| seen.key()).filter(|key| tried.contains(key)));
                continue;
            }
            answer.extend(self.read_chunk(&chunk, batch.until, host));
        }
        answer
    }

    /// Reads some threads of one process.
    fn read_chunk(&mut self, chunk: &[&Seen], until: Instant, host: Host<'_>) -> Vec<(Key, Option<Place>)> {
        let Some(image) = chunk.first().map(|seen| seen.image) else { return Vec::new() };
        let name =
            |seen: &Seen| host.registry.subjects().ask(seen.image.process, seen.wait.reason.subject?, host.world);
        let sought: Vec<Sought> = chunk.iter().map(|seen| seen.sought()).collect();
        let found = self.reader.read(image, &sought, until, host);
        let mut known = Vec::new();
        for (seen, found) in chunk.iter().zip(found) {
            match found {
                Some(Ok(sleeper)) => known.push((seen.key(), Some((sleeper.stack, name(seen))))),
                // Another wait by now, perhaps; if it is not, it is tried again.
                None | Some(Err(NotAsleep::Runs | NotAsleep::WentOn)) => drop(self.tried.insert(seen.key())),
                Some(Err(NotAsleep::Ended | NotAsleep::Denied | NotAsleep::Untold)) => known.push((seen.key(), None)),
            }
        }
        known
    }
}

/// In which order waits are read, some of one process at a time: the longest first, and last those that were tried before. So
/// each time there are fewer, and none is put off for ever by others that cannot be read.
fn in_chunks<'a>(waits: &'a [Seen], tried: &HashSet<Key>) -> Vec<Vec<&'a Seen>> {
    let mut waits: Vec<&Seen> = waits.iter().collect();
    waits.sort_by_key(|seen| (tried.contains(&seen.key()), seen.wait.since_ns));
    let mut chunks: Vec<Vec<&Seen>> = Vec::new();
    let mut open: HashMap<ImageId, usize> = HashMap::new();
    for seen in waits {
        let at = *open.entry(seen.image).or_insert(chunks.len());
        match chunks.get_mut(at) {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(seen),
            _ => {
                open.insert(seen.image, chunks.len());
                chunks.push(vec![seen]);
            }
        }
    }
    chunks
}

impl Seen {
    fn sought(&self) -> Sought {
        Sought { tid: self.thread.tid, namespace_tid: 0, told: Some((&self.wait).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ProcessId, WaitClass, WaitReason};

    fn seen(pid: u32, tid: u32, since_ns: u64) -> Seen {
        let process = ProcessId { pid, start_ns: 1 };
        let wait = WaitInProgress {
            class: WaitClass::Sync,
            since_ns,
            thread_pointer: 0,
            kept: [0; 2],
            reason: WaitReason::default(),
        };
        Seen { image: ImageId { process, exec_ns: 1 }, thread: ThreadId { tid, start_ns: 1 }, at_ns: 1 << 40, wait }
    }

    #[test]
    fn the_longest_waits_come_first_and_few_threads_of_one_process_at_a_time() {
        let many = (0..1000).map(|at| seen(7, at, 10_000 - u64::from(at)));
        let waits: Vec<Seen> = many.chain([seen(8, 2000, 5), seen(8, 2001, 20_000)]).collect();
        let chunks = in_chunks(&waits, &HashSet::new());
        assert!(
            chunks.iter().all(|chunk| chunk.len() <= CHUNK && chunk.iter().all(|seen| seen.image == chunk[0].image))
        );
        assert_eq!(chunks.iter().map(Vec::len).sum::<usize>(), waits.len());
        assert_eq!(chunks[0][0].thread.tid, 2000);
        let of_many: Vec<u32> = chunks[1..].iter().flatten().map(|seen| seen.thread.tid).collect();
        assert_eq!(of_many, (0..1000).rev().collect::<Vec<u32>>());
    }

    #[test]
    fn what_could_not_be_read_keeps_nothing_else_from_being_read() {
        let waits: Vec<Seen> = (0..100).map(|at| seen(7, at, u64::from(at))).collect();
        let mut tried = HashSet::new();
        let mut met = HashSet::new();
        // Each time there is only time for one chunk, and nothing of it can be read.
        for _ in 0..100_usize.div_ceil(CHUNK) {
            let chunks = in_chunks(&waits, &tried);
            met.extend(chunks[0].iter().map(|seen| seen.thread.tid));
            tried.extend(chunks[0].iter().map(|seen| seen.key()));
        }
        assert_eq!(met.len(), waits.len());
    }
}
