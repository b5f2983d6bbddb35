//! Names of an executable, looked up in the memory of the process that maps it.
//!
//! In comes the address of an ELF header; out come addresses and sizes of exported symbols. No file is opened, so neither
//! mount namespaces nor replaced files matter. Few reads tell that a name is not there, which is the answer for nearly every
//! executable. All that is read is untrusted: each table is bounded, and no address is believed to be readable.

use super::memory::ProcessMemory;
use crate::process::elf::{u32_at, u64_at};
use crate::runtime::limits;

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const MACHINE_X86_64: u16 = 62;
const SYMBOL_BYTES: u64 = 24;

const TAG_END: u64 = 0;
const TAG_HASH: u64 = 4;
const TAG_NAMES: u64 = 5;
const TAG_SYMBOLS: u64 = 6;
const TAG_GNU_HASH: u64 = 0x6fff_fef5;

/// What lies at the beginning of a mapped file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// An executable whose names can be looked up.
    Executable(LoadedImage),
    /// An executable for a 32-bit processor.
    ThirtyTwoBit,
    /// An executable for another processor.
    OtherMachine,
    /// Nothing that has names.
    Nameless,
}

/// An executable in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedImage {
    /// What is added to the addresses within the executable.
    bias: u64,
    symbols: u64,
    names: u64,
    index: Index,
}

/// How symbols are found by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    Gnu(GnuTable),
    SystemV(u64),
}

/// An exported symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Where it is in the process.
    pub address: u64,
    /// How many bytes it has.
    pub size: u64,
}

impl Header {
    /// Reads what begins at `address`; `None` if it cannot be read.
    pub fn read(address: u64, memory: &ProcessMemory<'_>) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        memory.read(address, &mut header)?;
        let machine = u16::from_le_bytes([header[18], header[19]]);
        Some(match (&header[..4], header[4]) {
            (b"\x7fELF", CLASS_32) => Self::ThirtyTwoBit,
            (b"\x7fELF", CLASS_64) if machine != MACHINE_X86_64 => Self::OtherMachine,
            (b"\x7fELF", CLASS_64) => {
                LoadedImage::read(address, &header, memory).map_or(Self::Nameless, Self::Executable)
            }
            _ => Self::Nameless,
        })
    }
}

impl LoadedImage {
    fn read(address: u64, header: &[u8], memory: &ProcessMemory<'_>) -> Option<Self> {
        let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
        if count > limits::IMAGE_SEGMENTS {
            return None;
        }
        let table = memory.read_bytes(address.wrapping_add(u64_at(header, 32)), count * SEGMENT_BYTES)?;
        let mut segments = table.chunks_exact(SEGMENT_BYTES);
        let first = segments.clone().find(|segment| u32_at(segment, 0) == SEGMENT_LOAD)?;
        let bias = address.wrapping_sub(u64_at(first, 16).wrapping_sub(u64_at(first, 8)));
        let dynamic = segments.find(|segment| u32_at(segment, 0) == SEGMENT_DYNAMIC)?;
        let length = u64_at(dynamic, 40).min(limits::IMAGE_DYNAMIC_BYTES as u64) as usize;
        let entries = memory.read_bytes(bias.wrapping_add(u64_at(dynamic, 16)), length)?;
        Self::from_dynamic(bias, &entries, memory)
    }

    fn from_dynamic(bias: u64, entries: &[u8], memory: &ProcessMemory<'_>) -> Option<Self> {
        let pairs = entries.chunks_exact(16).map(|entry| (u64_at(entry, 0), u64_at(entry, 8)));
        let pairs: Vec<_> = pairs.take_while(|(tag, _)| *tag != TAG_END).collect();
        // glibc makes addresses of what it reads here, musl leaves the file's.
        let place = |value: u64| if value < bias { value.wrapping_add(bias) } else { value };
        let find = |tag| pairs.iter().find(|(known, _)| *known == tag).map(|(_, value)| place(*value));
        let index = match find(TAG_GNU_HASH) {
            Some(table) => Index::Gnu(GnuTable::read(table, memory)?),
            None => Index::SystemV(find(TAG_HASH)?),
        };
        Some(Self { bias, symbols: find(TAG_SYMBOLS)?, names: find(TAG_NAMES)?, index })
    }

    /// The symbol of this name, if the executable defines and exports one.
    pub fn find(&self, name: &str, memory: &ProcessMemory<'_>) -> Option<Symbol> {
        match self.index {
            Index::Gnu(table) => self.find_by_gnu_hash(&table, name, memory),
            Index::SystemV(table) => self.find_by_hash(table, name, memory),
        }
    }

    fn find_by_gnu_hash(&self, table: &GnuTable, name: &str, memory: &ProcessMemory<'_>) -> Option<Symbol> {
        let hash = gnu_hash(name);
        if !table.may_have(hash, memory)? {
            return None;
        }
        let chain = table.first_of(hash, memory)?..=u32::MAX;
        for number in chain.take(limits::IMAGE_SYMBOL_CHAIN) {
            let found = table.hash_of(number, memory)?;
            if found | 1 == hash | 1
                && let Some(symbol) = self.read_symbol(number, name, memory)
            {
                return Some(symbol);
            }
            if found & 1 == 1 {
                return None;
            }
        }
        None
    }

    fn find_by_hash(&self, table: u64, name: &str, memory: &ProcessMemory<'_>) -> Option<Symbol> {
        let buckets = memory.read_u32(table)?;
        let word = |index: u64| memory.read_u32(table.wrapping_add(8).wrapping_add(4 * index));
        let mut number = word(u64::from(system_v_hash(name).checked_rem(buckets)?))?;
        for _ in 0..limits::IMAGE_SYMBOL_CHAIN {
            if number == 0 {
                return None;
            }
            if let Some(symbol) = self.read_symbol(number, name, memory) {
                return Some(symbol);
            }
            number = word(u64::from(buckets) + u64::from(number))?;
        }
        None
    }

    /// The symbol of a number, if it has this name and is defined here.
    fn read_symbol(&self, number: u32, name: &str, memory: &ProcessMemory<'_>) -> Option<Symbol> {
        let mut symbol = [0; SYMBOL_BYTES as usize];
        memory.read(self.symbols.wrapping_add(SYMBOL_BYTES * u64::from(number)), &mut symbol)?;
        let found = memory.read_bytes(self.names.wrapping_add(u32_at(&symbol, 0).into()), name.len() + 1)?;
        let is_defined = symbol[6..8] != [0, 0];
        let is_it = found.split_last() == Some((&0, name.as_bytes()));
        let (value, size) = (u64_at(&symbol, 8), u64_at(&symbol, 16));
        (is_defined && is_it).then(|| Symbol { address: value.wrapping_add(self.bias), size })
    }
}

/// The hash table GNU's linkers make: a filter that tells most absent names, and chains of hashes in the order of symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GnuTable {
    filter: u64,
    filter_words: u32,
    shift: u32,
    buckets: u64,
    bucket_count: u32,
    chains: u64,
    /// The symbols before this one are in no chain.
    first: u32,
}

impl GnuTable {
    fn read(address: u64, memory: &ProcessMemory<'_>) -> Option<Self> {
        let mut header = [0; 16];
        memory.read(address, &mut header)?;
        let [bucket_count, first, filter_words, shift] = [0, 4, 8, 12].map(|at| u32_at(&header, at));
        let filter = address.wrapping_add(16);
        let buckets = filter.wrapping_add(8 * u64::from(filter_words));
        let chains = buckets.wrapping_add(4 * u64::from(bucket_count));
        Some(Self { filter, filter_words, shift, buckets, bucket_count, chains, first })
    }

    /// Whether a symbol of this hash may be there.
    fn may_have(&self, hash: u32, memory: &ProcessMemory<'_>) -> Option<bool> {
        let word = u64::from((hash / 64).checked_rem(self.filter_words)?);
        let word = memory.read_u64(self.filter.wrapping_add(8 * word))?;
        let bits = [hash, hash.checked_shr(self.shift)?];
        Some(bits.iter().all(|bit| word >> (bit % 64) & 1 == 1))
    }

    /// The number of the first symbol of the hash's chain.
    fn first_of(&self, hash: u32, memory: &ProcessMemory<'_>) -> Option<u32> {
        let bucket = u64::from(hash.checked_rem(self.bucket_count)?);
        memory.read_u32(self.buckets.wrapping_add(4 * bucket)).filter(|number| *number >= self.first.max(1))
    }

    /// The hash of a symbol; its lowest bit says whether the chain ends with it.
    fn hash_of(&self, number: u32, memory: &ProcessMemory<'_>) -> Option<u32> {
        memory.read_u32(self.chains.wrapping_add(4 * u64::from(number.checked_sub(self.first)?)))
    }
}

/// The hash of a name in such a table.
pub(super) fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

fn system_v_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}
