//! What names the code of one executable: debug information, symbols, the tables of runtimes, in order of what they tell.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::debuginfod::Debuginfod;
use super::engine::{Engine, Function};
use super::go_table::GoTable;
use super::separate::{self, Origin};
use super::symbol_file::SymbolFile;
use super::{limits, mini_symbols};
use crate::process::elf::{BuildId, Elf, Segments};
use crate::sys::openat2::FileFacts;

/// An executable whose symbols are in memory; the default is one that could not be read.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Where its code is loaded.
    pub(super) segments: Segments,
    /// What the library reads, the best first; none if the file could not be read.
    symbols: Vec<SymbolFile>,
    /// The Go runtime's own names, where there is no debug information.
    go_table: Option<GoTable>,
    /// The time spent on its debug information so far.
    spent: Duration,
    /// When an address was last looked up.
    used: Option<Instant>,
    /// Whose debug information is looked for on servers.
    wanted: Option<BuildId>,
}

impl Module {
    /// Reads what names the code of a file. `facts` are of the file; `origin` is where it was seen, if a process showed it.
    pub(super) fn read(
        file: &File,
        facts: &FileFacts,
        origin: Option<&Origin<'_>>,
        debuginfod: Option<&mut Debuginfod>,
    ) -> io::Result<Self> {
        let elf = Elf::read(file)?;
        let (mut separate, mut wanted) = (None, None);
        if !elf.has(b".debug_info") {
            separate = separate::find(file, &elf, facts, origin);
            if let (None, Some(servers), Some(_)) = (&separate, debuginfod, origin) {
                wanted = elf.read_build_id(file);
                separate = wanted.as_ref().and_then(|id| servers.find_or_ask(id));
            }
        }
        let separate = separate.and_then(|(file, elf)| SymbolFile::copy(&file, &elf).ok());
        let symbols = match separate {
            Some(separate) => vec![separate],
            None => copy_own(file, &elf)?,
        };
        let has_debug = symbols.iter().any(|symbols| symbols.has_debug);
        let go_table = if has_debug { None } else { GoTable::read(file, &elf).ok() };
        Ok(Self { segments: elf.segments, symbols, go_table, spent: Duration::ZERO, used: None, wanted })
    }

    /// Whether the file could be read.
    pub(super) fn is_available(&self) -> bool {
        !self.symbols.is_empty()
    }

    /// Whether functions that the dynamic linker does not need have no names.
    pub(super) fn is_stripped(&self) -> bool {
        self.symbols.iter().all(|symbols| symbols.is_stripped)
    }

    /// Whether it would be read differently now that debug information for these build ids has arrived.
    pub(super) fn wants(&self, arrived: &[BuildId]) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| arrived.contains(wanted))
    }

    /// Notes that an address is looked up.
    pub(super) fn use_at(&mut self, now: Instant) {
        self.used = Some(now);
    }

    /// Whether it can be let go: nobody has asked for long, and reading it again costs little.
    pub(super) fn is_unused(&self, now: Instant) -> bool {
        let is_old = self.used.is_none_or(|used| now.saturating_duration_since(used) > limits::SYMBOLS_UNUSED);
        is_old && self.spent < limits::SYMBOLS_DEAR
    }

    /// The functions at an address, innermost first; empty if none is known.
    pub(super) fn resolve(&mut self, address: u64, engine: &mut Engine) -> Vec<Function> {
        if let Some(function) = self.go_table.as_ref().and_then(|table| table.resolve(address)) {
            return vec![function];
        }
        let begun = Instant::now();
        let in_time = self.spent < limits::DEBUG_TIME;
        let mut each =
            self.symbols.iter().map(|file| engine.resolve_native(&file.path(), address, file.has_debug && in_time));
        let functions = each.find(|functions| !functions.is_empty()).unwrap_or_default();
        self.spent += begun.elapsed();
        functions
    }

    /// The memory it takes, without what the library makes of it.
    pub(super) fn bytes(&self) -> u64 {
        let symbols: u64 = self.symbols.iter().map(|symbols| symbols.bytes).sum();
        symbols + self.go_table.as_ref().map_or(0, GoTable::bytes)
    }

    /// Lets go of it, in the library, too.
    pub(super) fn forget(self, engine: &mut Engine) {
        self.symbols.iter().for_each(|symbols| engine.forget(&symbols.path()));
    }
}

/// The symbols inside the file: its own, after those that were put into it in a compressed file of their own.
fn copy_own(file: &File, elf: &Elf) -> io::Result<Vec<SymbolFile>> {
    let own = SymbolFile::copy(file, elf)?;
    let more = own.is_stripped.then(|| mini_symbols::read(file, elf)).flatten();
    Ok(more.into_iter().chain([own]).collect())
}
