//! The thread that names stacks: raw windows in, profiles into the store or to whoever asked.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use super::question::Unnamed;
use super::queue::Inbox;
use crate::aggregate::Closed;
use crate::process::{Executables, ProcWorld, Registry};
use crate::profile::{LossReason, Profile, Stack, Timestamp};
use crate::runtime::Runtimes;
use crate::store::Ring;
use crate::symbolize::{Debuginfod, Symbolizer};
use crate::sys::clock::SteadyClock;
use crate::sys::usage;

/// What the namer is given, in the order of the windows.
pub(super) enum Work {
    /// Something is selected: there will be a window.
    Prepare,
    /// A closed window, for the store.
    Store(Box<Closed>),
    /// The open window so far, for whoever asked.
    Answer(Box<Closed>, SyncSender<Peeked>),
    /// Stacks that belong to no window, for whoever asked.
    Name(Unnamed, SyncSender<Vec<Stack>>),
}

/// The open window so far, named.
pub(super) struct Peeked {
    /// The window.
    pub(super) open: Profile,
    /// Parts of waits that lie in earlier windows, which do not have them yet.
    pub(super) amendments: Vec<Profile>,
}

/// What the namer shares with others.
pub(super) struct Shared {
    /// Set when the end has begun: nothing that is named from then on is asked for any more.
    pub(super) stopping: AtomicBool,
    /// The recent windows.
    pub(super) ring: Mutex<Ring>,
    /// Images of processes.
    pub(super) registry: Registry,
    /// What the runtimes know of them.
    pub(super) runtimes: Arc<Runtimes>,
    /// Open executables of processes that are asked about and not profiled.
    pub(super) asked: Arc<Executables>,
    /// The clock that stamps windows, and that ranges up to now are meant by.
    pub(super) clock: SteadyClock,
    /// How many windows `ring` has, for who must not wait while one is amended.
    pub(super) windows: AtomicUsize,
    /// The memory they take, in bytes.
    pub(super) history_bytes: AtomicUsize,
    /// Stacks of closed windows whose process was gone: only naming shows it.
    pub(super) process_gone: AtomicU64,
}

impl Shared {
    /// Now, as windows are stamped.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.clock.epoch_ns())
    }

    fn note_history(&self) {
        let (windows, bytes) = {
            let ring = self.ring();
            (ring.len(), ring.bytes())
        };
        self.windows.store(windows, Ordering::Relaxed);
        self.history_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The recent windows, locked. Not for the collector: amending a window takes long.
    pub(super) fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names what it is given, with debug information from servers if there are any, and source text if it is wanted. Returns when the other end of `work` is dropped.
pub(super) fn run(shared: &Shared, work: Inbox<Work>, (debuginfod, source_text): (Option<Debuginfod>, bool)) {
    let symbolizer = Symbolizer::with_sources(shared.runtimes.clone(), debuginfod);
    let mut symbolizer = symbolizer.with_source_text(source_text);
    for work in work {
        if shared.stopping.load(Ordering::Relaxed) {
            continue;
        }
        name(&mut symbolizer, shared, work);
    }
}

fn name(symbolizer: &mut Symbolizer, shared: &Shared, work: Work) {
    match work {
        Work::Prepare => symbolizer.read_kernel_symbols(),
        Work::Store(closed) => store(symbolizer, shared, *closed),
        Work::Answer(open, to) => {
            // Whoever asked may have given up.
            let _ = to.send(peeked(symbolizer, shared, *open));
        }
        Work::Name(Unnamed { stacks, question }, to) => {
            let named = match question {
                Some(question) => question.name(&stacks, symbolizer),
                None => symbolizer.name_stacks(&stacks, (&shared.registry, &shared.runtimes), &ProcWorld),
            };
            let _ = to.send(named);
        }
    }
}

fn store(symbolizer: &mut Symbolizer, shared: &Shared, closed: Closed) {
    let window = symbolizer.symbolize(closed.window, &shared.registry, &ProcWorld);
    count_gone(shared, &window);
    shared.ring().push(Arc::new(window));
    for amendment in closed.amendments {
        let part = symbolizer.symbolize(amendment, &shared.registry, &ProcWorld);
        count_gone(shared, &part);
        shared.ring().amend(&part);
    }
    shared.note_history();
    shared.registry.end_window();
    usage::give_back_free_memory();
}

fn count_gone(shared: &Shared, named: &Profile) {
    shared.process_gone.fetch_add(named.loss.of(LossReason::ProcessGone), Ordering::Relaxed);
}

fn peeked(symbolizer: &mut Symbolizer, shared: &Shared, open: Closed) -> Peeked {
    let mut named = |window| symbolizer.symbolize(window, &shared.registry, &ProcWorld);
    Peeked { open: named(open.window), amendments: open.amendments.into_iter().map(named).collect() }
}
