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

/// It is a code heap of a virtual machine, whose frames it tells itself: see [`crate::hotspot`].
pub const GENERATED: u32 = 3;

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
    /// [`TABLED`], [`UNTABLED`], [`PENDING`] or [`GENERATED`].
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

/// Addresses in a row.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
}

impl Range {
    /// No addresses: whatever it is joined with is left.
    pub const EMPTY: Self = Self { start: u64::MAX, end: 0 };

    #[inline(always)]
    fn join(self, other: Self) -> Self {
        let start = if self.start < other.start { self.start } else { other.start };
        let end = if self.end > other.end { self.end } else { other.end };
        Self { start, end }
    }

    #[inline(always)]
    fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// How many addresses come in between if both are made one.
    #[inline(always)]
    fn gap(self, other: Self) -> u64 {
        self.join(other).length().saturating_sub(self.length().saturating_add(other.length()))
    }

    #[inline(always)]
    fn covers(self, other: Self) -> bool {
        (self.start <= other.start) & (other.end <= self.end)
    }
}

/// Where memory was about to be mapped since the mappings of a process were read: other code may be known there.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCode {
    /// When that was last, on the monotonic clock; zero if it never was.
    pub at_ns: u64,
    /// When the user half was last told.
    pub told_ns: u64,
    /// All of it, and what lies in between where it is in more than two places.
    pub ranges: [Range; 2],
}

impl NewCode {
    /// None.
    pub const NONE: Self = Self { at_ns: 0, told_ns: 0, ranges: [Range::EMPTY; 2] };

    /// Adds what comes now. What lies nearest to each other becomes one.
    #[inline(always)]
    pub fn add(&self, at_ns: u64, range: Range) -> Self {
        let [first, second] = self.ranges;
        let gaps = (first.gap(range), second.gap(range), first.gap(second));
        let ranges = if second.covers(range) {
            self.ranges
        } else if gaps.2 <= gaps.0 && gaps.2 <= gaps.1 && !first.covers(range) {
            [first.join(second), range]
        } else if gaps.0 <= gaps.1 {
            [first.join(range), second]
        } else {
            [first, second.join(range)]
        };
        Self { at_ns, ranges, ..*self }
    }

    /// What of it is new to mappings read at `read_ns`.
    #[inline(always)]
    pub fn since(self, read_ns: u64) -> Self {
        if self.at_ns < read_ns { Self { ranges: [Range::EMPTY; 2], ..self } } else { self }
    }

    /// Whether all of a range is part of it.
    #[inline(always)]
    pub fn covers(&self, range: Range) -> bool {
        self.ranges[0].covers(range) | self.ranges[1].covers(range)
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

    fn range(start: u64) -> Range {
        Range { start, end: start + 0x1000 }
    }

    /// Which of these pages are part of it.
    fn replaced<const N: usize>(code: NewCode, pages: [u64; N]) -> [bool; N] {
        pages.map(|start| code.covers(range(start)))
    }

    #[test]
    fn code_is_new_until_the_mappings_are_read_after_it() {
        let both = NewCode::NONE.add(50, range(0x3000)).add(60, range(0x1000));
        let pages = [0, 0x1000, 0x2000, 0x3000, 0x4000];
        assert_eq!(replaced(both.since(10), pages), [false, true, false, true, false]);
        assert_eq!(both.since(60), both, "the reading may have begun too early");
        assert_eq!(replaced(both.since(61), pages), [false; 5]);
        assert_eq!(replaced(both.since(61).add(70, range(0x3000)), pages), [false, false, false, true, false]);
        assert_eq!(replaced(NewCode::NONE, pages), [false; 5]);
    }

    #[test]
    fn new_code_in_distant_places_leaves_what_lies_between_as_it_was() {
        let (low, libc, high) = (0x10_0000, 0x50_0000, 0x90_0000);
        let mut code = NewCode::NONE;
        for turn in 0..10 {
            let page = turn % 2 * 0x1000;
            code = code.add(turn, range(low + page)).add(turn, range(high + page)).add(turn, range(low));
        }
        assert!(code.covers(range(low)) && code.covers(range(high + 0x1000)) && !code.covers(range(libc)));
        assert_eq!(replaced(code, [low, low + 0x1000, libc, high, high + 0x1000]), [true, true, false, true, true]);
        let third = code.add(20, range(libc));
        assert_eq!(replaced(third, [low, libc, high]), [true; 3]);
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
