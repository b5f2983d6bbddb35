//! Rows by address, in pages of 64 KiB of code, so that a row needs only the low half of its address.
//!
//! Rows and directories of all executables lie packed in *shards* of one size. The table of an executable begins with a
//! directory: two words per page that say where its rows are. Each page begins with a row for its first byte, so a search
//! within a page always finds one.

/// Bytes of code a page covers, as a shift.
pub const PAGE_SHIFT: u32 = 16;

/// Words of a shard: rows take one, directory entries two.
pub const SHARD_WORDS: usize = 16_384;

/// Halvings that find one row among the most a shard can hold.
pub const SEARCH_STEPS: u32 = 14;

/// Words a directory entry takes.
pub const ENTRY_WORDS: u32 = 2;

/// One row: the rule in force from an address on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The low half of the address.
    pub low: u16,
    /// The number of the rule.
    pub rule: u16,
}

impl Row {
    /// The row as a word: ordered by address.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        (self.low as u32) << 16 | self.rule as u32
    }

    /// The row of a word.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self { low: (word >> 16) as u16, rule: word as u16 }
    }
}

/// Where the rows of one page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The shard.
    pub shard: u16,
    /// The first row, in words.
    pub start: u16,
    /// How many rows; zero if the page has no code.
    pub count: u16,
}

impl Entry {
    /// The entry as two words.
    #[inline(always)]
    pub const fn to_words(self) -> [u32; 2] {
        [(self.shard as u32) << 16 | self.start as u32, self.count as u32]
    }

    /// The entry of two words.
    #[inline(always)]
    pub const fn from_words(words: [u32; 2]) -> Self {
        Self { shard: (words[0] >> 16) as u16, start: words[0] as u16, count: words[1] as u16 }
    }
}

/// Where the directory of an executable is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Directory {
    /// The shard.
    pub shard: u32,
    /// The first entry, in words.
    pub start: u32,
    /// The number of the first page: its first address, shifted.
    pub first_page: u32,
    /// How many pages; zero if there is no table.
    pub pages: u32,
}

/// The last of `count` rows from `start` on whose address is at most `low`. The first row always is.
///
/// `word(at)` is the word of a shard; `at` is masked to be within it.
#[inline(always)]
pub fn search(start: u32, count: u32, low: u16, word: impl Fn(u32) -> u32) -> Row {
    let wanted = u32::from(low) << 16 | 0xffff;
    let (mut first, mut end) = (start, start.wrapping_add(count));
    for _ in 0..SEARCH_STEPS {
        // The row sought lies in first..end, and first is known to qualify.
        if end.wrapping_sub(first) <= 1 {
            break;
        }
        let middle = (first + end) / 2;
        if word(middle) <= wanted {
            first = middle;
        } else {
            end = middle;
        }
    }
    Row::from_word(word(first))
}
