//! Where threads wait whose waits have not ended: read from outside, once per wait.
//!
//! The kernel half captures a stack when a wait ends. One that goes on when a window closes, as that of a parked worker, would
//! have none; where the thread runs Python, its frames are read here while it waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::namer::Shared;
use crate::aggregate::{OpenWait, RawStack};
use crate::process::ProcWorld;
use crate::profile::{Ending, ImageId, PythonEnding, PythonFrame, ThreadId};
use crate::wire::{Account, WaitInProgress};

/// How long the frames of waiting threads are read at a time. Those there is no time for are read the next time.
const READ_TIME: Duration = Duration::from_millis(20);

/// The waits in progress at the last pass over all tasks.
#[derive(Debug, Default)]
pub(super) struct Waits {
    seen: Vec<Seen>,
    /// What was read, by thread and the start of its wait; nothing if it runs no Python.
    known: HashMap<(ThreadId, u64), Arc<[PythonFrame]>>,
}

#[derive(Debug)]
struct Seen {
    image: ImageId,
    thread: ThreadId,
    at_ns: u64,
    wait: WaitInProgress,
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

    /// The waits noted, as far as their Python frames are known.
    pub(super) fn read(&mut self, shared: &Shared) -> Vec<OpenWait> {
        let living: HashSet<(ThreadId, u64)> = self.seen.iter().map(Seen::key).collect();
        self.known.retain(|key, _| living.contains(key));
        self.read_new(shared);
        let known = |seen: &Seen| Some(seen.with(self.known.get(&seen.key()).filter(|frames| !frames.is_empty())?));
        self.seen.iter().filter_map(known).collect()
    }

    fn read_new(&mut self, shared: &Shared) {
        let until = Instant::now() + READ_TIME;
        let mut by_image: HashMap<ImageId, Vec<&Seen>> = HashMap::new();
        for seen in self.seen.iter().filter(|seen| !self.known.contains_key(&seen.key())) {
            by_image.entry(seen.image).or_default().push(seen);
        }
        for (id, threads) in by_image {
            if Instant::now() >= until {
                return;
            }
            let Some(mut frames) = read_frames(id, &threads, until, shared) else { continue };
            let is_complete = Instant::now() < until;
            for seen in threads {
                match frames.remove(&seen.wait.thread_pointer) {
                    Some(found) => drop(self.known.insert(seen.key(), found.into())),
                    None if is_complete => drop(self.known.insert(seen.key(), Arc::default())),
                    None => {}
                }
            }
        }
    }
}

impl Seen {
    fn key(&self) -> (ThreadId, u64) {
        (self.thread, self.wait.since_ns)
    }

    fn with(&self, python: &Arc<[PythonFrame]>) -> OpenWait {
        let stack = RawStack {
            image: self.image,
            on_cpu: false,
            kernel: Arc::default(),
            user: Arc::default(),
            has_gap: false,
            ending: Ending::Complete,
            python: python.clone(),
            python_ending: PythonEnding::Complete,
            tasks: Arc::default(),
            task_frames: 0,
            lock_holder: None,
            collecting: false,
            reason: self.wait.reason,
        };
        let WaitInProgress { class, since_ns, .. } = self.wait;
        let (process, thread, at_ns) = (self.image.process, self.thread, self.at_ns);
        OpenWait { process, thread, class, since_ns, at_ns, stack }
    }
}

/// The Python frames of threads of one process, by thread pointer; `None` if it has no interpreter, or none yet.
fn read_frames(
    id: ImageId,
    threads: &[&Seen],
    until: Instant,
    shared: &Shared,
) -> Option<HashMap<u64, Vec<PythonFrame>>> {
    let image = shared.registry.observe(id, &ProcWorld)?;
    let wanted = threads.iter().map(|seen| seen.wait.thread_pointer).collect();
    shared.runtimes.python.waiting_frames(&image, &wanted, until, &ProcWorld)
}
