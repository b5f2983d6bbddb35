//! What the kernel half is told about the code of a process: which address space it has, and what is mapped there.
//!
//! A process has a *space*: a number that stands for one set of mappings. A forked child shares its parent's until it
//! executes a program, so its first stack is as good as its last. Mappings are found by space and address in a trie of
//! prefixes, each mapping cut into aligned blocks.

use super::walk::Code;

/// The unit of start times in `/proc`.
pub const TICK_NS: u64 = 10_000_000;

/// A code mapping has a table of unwind rules.
pub const TABLED: u32 = 1;
/// It has none: frame pointers are followed.
pub const UNTABLED: u32 = 0;
/// It will have one soon: frame pointers are followed until then, and a stack they do not lead to the end of says why.
pub const PENDING: u32 = 2;

/// The space of a process, valid for one program image of it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Space {
    /// When the process started, in [`TICK_NS`] since boot, which is all `/proc` tells: a reused pid does not fit.
    pub start_ticks: u64,
    /// When the program image was executed, as in [`crate::record::Identity`].
    pub exec_ns: u64,
    /// When the reading of its mappings began, on the monotonic clock.
    pub read_ns: u64,
    /// The number of the space.
    pub space: u32,
    /// Zero.
    pub padding: u32,
}

/// One executable mapping.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The first address no longer part of it; zero means no mapping.
    pub end: u64,
    /// What to subtract from an address to get that of the table.
    pub bias: u64,
    /// The number of the table.
    pub table: u32,
    /// [`TABLED`], [`UNTABLED`] or [`PENDING`].
    pub kind: u32,
}

impl Mapping {
    /// Whether the address lies in it.
    #[inline(always)]
    pub fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.end.wrapping_sub(self.start)
    }

    /// What lies there.
    #[inline(always)]
    pub fn code(&self) -> Code {
        if self.kind == TABLED { Code::Tabled { table: self.table, bias: self.bias } } else { Code::Untabled }
    }
}

/// Code that was mapped into a process since its mappings were read: other code may have been known there before.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct NewCode {
    /// When some was mapped last, on the monotonic clock; zero if none was.
    pub at_ns: u64,
    /// The first address of all of it.
    pub start: u64,
    /// The first address behind all of it.
    pub end: u64,
}

impl NewCode {
    /// None.
    pub const NONE: Self = Self { at_ns: 0, start: 0, end: 0 };

    /// Adds code that is mapped now. What mappings read at `read_ns` show is not new any more.
    #[inline(always)]
    pub fn add(&self, now: Self, read_ns: u64) -> Self {
        if self.at_ns < read_ns {
            return now;
        }
        Self { at_ns: now.at_ns, start: self.start.min(now.start), end: self.end.max(now.end) }
    }

    /// What of it is new to mappings read at `read_ns`.
    #[inline(always)]
    pub fn since(self, read_ns: u64) -> Self {
        if self.at_ns < read_ns { Self { start: 0, end: 0, ..self } } else { self }
    }

    /// Whether a mapping may not be there any more.
    #[inline(always)]
    pub fn may_replace(&self, mapping: &Mapping) -> bool {
        (mapping.start < self.end) & (self.start < mapping.end)
    }
}

/// Bits of a trie key.
pub const KEY_BITS: u32 = 96;

/// Bits of a trie key that tell the space.
pub const SPACE_BITS: u32 = 32;

/// The key of an address within a space, in the byte order the trie compares.
#[inline(always)]
pub fn key(space: u32, address: u64) -> [u32; 3] {
    [space.to_be(), ((address >> 32) as u32).to_be(), (address as u32).to_be()]
}

/// The aligned blocks a range of addresses consists of: each with its first address and the bits its addresses share.
///
/// At most two blocks of each size.
pub fn blocks(start: u64, end: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut at = start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let largest = (end - at).ilog2();
        let bits = if at == 0 { largest } else { largest.min(at.trailing_zeros()) };
        let block = (at, 64 - bits);
        at = at.wrapping_add(1 << bits);
        if at == 0 {
            at = end;
        }
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_new_until_the_mappings_are_read_after_it() {
        let mapping = |start| Mapping { start, end: start + 0x1000, ..Mapping::default() };
        let first = NewCode::NONE.add(NewCode { at_ns: 50, start: 0x3000, end: 0x4000 }, 10);
        let both = first.add(NewCode { at_ns: 60, start: 0x1000, end: 0x2000 }, 10);
        assert_eq!(both, NewCode { at_ns: 60, start: 0x1000, end: 0x4000 });
        let replaced = |code: NewCode| [0, 0x1000, 0x3000, 0x4000].map(|start| code.may_replace(&mapping(start)));
        assert_eq!(replaced(both.since(10)), [false, true, true, false]);
        assert_eq!(replaced(both.since(60)), [false, true, true, false], "the reading may have begun too early");
        assert_eq!(replaced(both.since(61)), [false; 4]);
        assert_eq!(
            replaced(both.add(NewCode { at_ns: 70, start: 0x3000, end: 0x4000 }, 61)),
            [false, false, true, false]
        );
        assert_eq!(replaced(NewCode::NONE), [false; 4]);
    }

    #[test]
    fn blocks_cover_a_range_exactly_and_in_order() {
        for (start, end) in [(0x1000, 0x2000), (0x1000, 0x9000), (0, 0x3000), (0x7f12_3456_7000, 0x7f12_3fff_f000)] {
            let mut at = start;
            for (block, bits) in blocks(start, end) {
                assert_eq!(block, at);
                let size = 1u64 << (64 - bits);
                assert_eq!(block % size, 0);
                at += size;
            }
            assert_eq!(at, end);
            assert!(blocks(start, end).count() <= 2 * 64);
        }
        assert_eq!(blocks(5, 5).count(), 0);
    }
}
