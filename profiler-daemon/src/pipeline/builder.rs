//! The thread that builds tables of unwind rules: executables in, small ones first, tables out to the unwinder.
//!
//! Building the table of a browser takes a second; nobody waits for it but whoever asked for that process.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::unwinder::Job;
use crate::process::elf::{Elf, Segments};
use crate::process::{Executable, ExecutableId};
use crate::sys::usage;
use crate::unwind::{Source, Table, TableCache, TableKey};

/// What became of an executable.
pub(super) struct Built {
    /// Which.
    pub(super) executable: ExecutableId,
    /// Its table, unless it has none.
    pub(super) table: Option<(TableKey, Table)>,
    /// Where its code is loaded.
    pub(super) segments: Segments,
    /// Whether the file could not be read: it was closed to stay within the bound.
    pub(super) unreadable: bool,
}

/// The executables that wait for their tables.
#[derive(Debug, Default)]
pub(super) struct BuildQueue {
    waiting: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    by_size: BTreeMap<(u64, ExecutableId), Arc<Executable>>,
    closed: bool,
}

impl BuildQueue {
    /// Adds an executable.
    pub(super) fn add(&self, executable: Arc<Executable>) {
        self.lock().by_size.insert((executable.facts.size_bytes, executable.id), executable);
        self.changed.notify_one();
    }

    /// Ends the builder.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for the next executable; `None` once the queue is closed.
    pub(super) fn take(&self) -> Option<Arc<Executable>> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some((_, executable)) = queue.by_size.pop_first() {
                return Some(executable);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds until the queue is closed.
pub(super) fn run(queue: &BuildQueue, cache: &TableCache, jobs: &Sender<Job>) {
    while let Some(executable) = queue.take() {
        let built = build(&executable, cache);
        let is_large = built.table.as_ref().is_some_and(|(_, table)| table.bytes() > LARGE_TABLE_BYTES);
        if jobs.send(Job::Built(Box::new(built))).is_err() {
            return;
        }
        if is_large {
            usage::give_back_free_memory();
        }
    }
}

/// Tables after which free memory is given back.
const LARGE_TABLE_BYTES: usize = 1 << 20;

/// A panic in reading a hostile file costs that file its table.
pub(super) fn build(executable: &Executable, cache: &TableCache) -> Built {
    let file = executable.file();
    let read = || file.as_deref().map_or_else(Read::default, |file| Read::of(file, cache));
    let Read { segments, table } = catch_unwind(AssertUnwindSafe(read)).unwrap_or_default();
    Built { executable: executable.id, table, segments, unreadable: file.is_none() }
}

/// What was read of one file.
#[derive(Default)]
struct Read {
    segments: Segments,
    table: Option<(TableKey, Table)>,
}

impl Read {
    fn of(file: &File, cache: &TableCache) -> Self {
        let elf = Elf::read(file).or_else(|_| Elf::read_loaded(file));
        let segments = elf.map(|elf| elf.segments).unwrap_or_default();
        let source = Source::open(file);
        if let Err(error) = &source {
            tracing::debug!("no unwind table: {error}");
        }
        Self { segments, table: source.ok().map(|source| (source.key(), cache.find_or_build(&source))) }
    }
}
