//! The unwind tables of the executables that sleepers are in, from the disk or made now.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use profiler_common::unwind::rule::Rule;

use super::limits;
use crate::process::elf::{Elf, Segments};
use crate::process::{Executable, ExecutableId, Mapping};
use crate::unwind::{Source, Table, TableCache};

/// The tables in memory.
pub(super) struct Tables {
    cache: Arc<TableCache>,
    /// By executable; no table where the file has none.
    known: HashMap<ExecutableId, Entry>,
    bytes: usize,
    /// Counts the processes that were read.
    turn: u64,
}

struct Entry {
    table: Option<Table>,
    segments: Segments,
    used: u64,
}

impl Tables {
    pub(super) fn new(cache: Arc<TableCache>) -> Self {
        Self { cache, known: HashMap::new(), bytes: 0, turn: 0 }
    }

    /// Another process is read: forgets what was not used for the longest time, if there is too much.
    pub(super) fn begin_process(&mut self) {
        self.turn += 1;
        while self.bytes > limits::TABLE_BYTES {
            let Some(oldest) = self.known.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id) else { return };
            self.bytes -= self.known.remove(&oldest).map_or(0, |entry| entry.bytes());
        }
    }

    /// What to subtract from an address of a mapping to get that of its executable's table, if that has one.
    pub(super) fn bias(&mut self, mapping: &Mapping, executable: &Arc<Executable>) -> Option<u64> {
        let turn = self.turn;
        if !self.known.contains_key(&executable.id) {
            let entry = read(executable, &self.cache);
            self.bytes += entry.bytes();
            self.known.insert(executable.id, entry);
        }
        let entry = self.known.get_mut(&executable.id)?;
        entry.used = turn;
        entry.table.as_ref()?;
        Some(mapping.start.0.wrapping_sub(entry.segments.address_of_page(mapping.file_offset)?))
    }

    /// The rule at an address of an executable's table.
    pub(super) fn find(&self, executable: ExecutableId, address: u64) -> Rule {
        let table = self.known.get(&executable).and_then(|entry| entry.table.as_ref());
        table.map_or(Rule::NONE, |table| table.find(address))
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.table.as_ref().map_or(0, Table::bytes)
    }
}

/// A panic in reading a hostile file costs that file its table.
fn read(executable: &Executable, cache: &TableCache) -> Entry {
    let read = || {
        let file = executable.file()?;
        let segments = Elf::read(&file).or_else(|_| Elf::read_loaded(&file)).ok()?.segments;
        let table = Source::open(&file).ok().map(|source| cache.find_or_build(&source));
        Some((table, segments))
    };
    let (table, segments) = catch_unwind(AssertUnwindSafe(read)).ok().flatten().unwrap_or_default();
    Entry { table, segments, used: 0 }
}
