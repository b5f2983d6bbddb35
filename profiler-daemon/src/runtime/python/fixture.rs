//! A made-up interpreter: the memory of a process that maps one, byte by byte.

use std::ops::Range;

use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::process::{Mappings, ProcFile, World};

use super::fuzzing::MEMORY_AT;
use super::{Detected, detect};

/// The pid of the process that has the memory.
pub(in crate::runtime) const PID: u32 = 7;
/// Where `Py_Version` is.
const NUMBER: u64 = 0x800;
/// Where `PyCode_Type` is.
pub(super) const CODE_TYPE: u64 = 0x900;
/// Where `_PyRuntime` is.
pub(super) const RUNTIME: u64 = 0x1000;
const DYNAMIC: u64 = 0x100;
const HASHES: u64 = 0x200;
const SYMBOLS: u64 = 0x400;
const NAMES: u64 = 0x700;
const BYTES: usize = 0x3000;

/// Which hash table the executable has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Hashes {
    Gnu,
    SystemV,
}

/// An executable in memory; offsets count from where it is mapped.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct MadeUp {
    pub(in crate::runtime) bytes: Vec<u8>,
    pub(in crate::runtime) file: &'static str,
}

impl MadeUp {
    /// An executable that exports these symbols: name, offset, size.
    pub(in crate::runtime) fn exporting(symbols: &[(&str, u64, u64)], hashes: Hashes) -> Self {
        let mut made = Self { bytes: vec![0; BYTES], file: "/usr/bin/python3" };
        made.put(0, b"\x7fELF\x02\x01\x01");
        made.put(18, &62u16.to_le_bytes());
        made.put_words(32, &[64]);
        made.put(56, &2u16.to_le_bytes());
        made.put(64, &1u32.to_le_bytes());
        made.put(64 + 56, &2u32.to_le_bytes());
        made.put_words(64 + 56 + 16, &[DYNAMIC]);
        made.put_words(64 + 56 + 40, &[0x100]);
        let tag = if hashes == Hashes::Gnu { 0x6fff_fef5 } else { 4 };
        made.put_words(DYNAMIC, &[tag, HASHES, 5, NAMES, 6, SYMBOLS]);
        made.put_symbols(symbols);
        made.put_hashes(symbols, hashes);
        made
    }

    /// An interpreter with a number, and with sizes of the type of code and of the runtime's state.
    pub(super) fn interpreter(number: u32, runtime_bytes: u64) -> Self {
        let symbols =
            [("_PyRuntime", RUNTIME, runtime_bytes), ("PyCode_Type", CODE_TYPE, 408), ("Py_Version", NUMBER, 4)];
        let mut made = Self::exporting(&symbols, Hashes::Gnu);
        made.put(NUMBER, &number.to_le_bytes());
        made
    }

    fn put_symbols(&mut self, symbols: &[(&str, u64, u64)]) {
        let mut name_at = 1u32;
        for (number, (name, offset, size)) in (1..).zip(symbols) {
            let symbol = SYMBOLS + 24 * number;
            self.put(symbol, &name_at.to_le_bytes());
            self.put(symbol + 6, &[1, 0]);
            self.put_words(symbol + 8, &[*offset, *size]);
            self.put(NAMES + u64::from(name_at), name.as_bytes());
            name_at += name.len() as u32 + 1;
        }
    }

    /// One bucket with all symbols, and a filter that lets all pass.
    fn put_hashes(&mut self, symbols: &[(&str, u64, u64)], hashes: Hashes) {
        let last = symbols.len() as u32;
        let table: Vec<u32> = match hashes {
            Hashes::Gnu => {
                let hash = |name: &str| crate::runtime::image::gnu_hash(name) & !1;
                let chain = (1..).zip(symbols).map(|(number, (name, ..))| hash(name) | u32::from(number == last));
                [1, 1, 1, 6, u32::MAX, u32::MAX, u32::from(last > 0)].into_iter().chain(chain).collect()
            }
            Hashes::SystemV => [1, last + 1, last].into_iter().chain((0..=last).map(|n| n.saturating_sub(1))).collect(),
        };
        let bytes: Vec<u8> = table.into_iter().flat_map(u32::to_le_bytes).collect();
        self.put(HASHES, &bytes);
    }

    pub(in crate::runtime) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(in crate::runtime) fn put_words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().copied().flat_map(u64::to_le_bytes).collect();
        self.put(at, &bytes);
    }

    /// Writes the address of what is at an offset.
    pub(in crate::runtime) fn put_pointer(&mut self, at: u64, to: u64) {
        self.put_words(at, &[MEMORY_AT + to]);
    }

    /// A process that maps it.
    pub(in crate::runtime) fn world(&self) -> FixtureWorld {
        self.world_without(&[])
    }

    /// The same, where what begins in these ranges of offsets has to be waited for.
    pub(in crate::runtime) fn world_without(&self, absent: &[Range<u64>]) -> FixtureWorld {
        let absent = absent.iter().map(|range| MEMORY_AT + range.start..MEMORY_AT + range.end).collect();
        let (world, end) = (FixtureWorld::default(), MEMORY_AT + self.bytes.len() as u64);
        let maps = format!("{MEMORY_AT:x}-{end:x} r-xp 0 fe:00 1 {}\n", self.file);
        let memory = [(MEMORY_AT, self.bytes.clone())].into();
        world.insert(PID, FixtureProcess { maps, memory, absent, ..Default::default() });
        world
    }

    /// What is found in the process.
    pub(super) fn detect(&self) -> Vec<Detected> {
        let world = self.world();
        detect(PID, &Mappings::parse(&world.read(PID, ProcFile::Maps).unwrap()), &world)
    }
}
