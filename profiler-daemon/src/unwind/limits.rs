//! Every bound of this room: what one file may cost, and what a table may hold.

use profiler_common::unwind::table::{ENTRY_WORDS, SHARD_WORDS};

/// Bytes of one section with unwind information; a file with a larger one has no table.
pub const SECTION_BYTES: u64 = 128 << 20;
/// Functions described in one section; further ones are left out.
pub const FRAMES: usize = 4 << 20;
/// Bytes of a description that functions share, which is read again for each of them; a function with a longer one is left
/// out. Those of compilers have some twenty.
pub const COMMON_BYTES: u64 = 4096;
/// Shared descriptions of one section; functions with a further one are left out.
pub const COMMONS: usize = 1 << 16;
/// Bytes of descriptions carried out for one file, shared ones once per function; rules beyond it are not known.
pub const INSTRUCTION_BYTES: u64 = 96 << 20;
/// Rows made for one file before equal ones are merged; rules beyond it are not known. 300 MB of code have some five
/// millions.
pub const ROWS: u64 = 8 << 20;
/// Rows remembered at once within one function; one that remembers more is not known from there on. Compilers remember
/// one.
pub const REMEMBERED: usize = 16;
/// Operations of an expression that are looked at; a longer one cannot be expressed.
pub const OPERATIONS: usize = 12;
/// Pages of a table, from the first with code on: their directory must fit a shard. Rules of code beyond it, some
/// 500 MiB, are left out.
pub const PAGES: usize = SHARD_WORDS / ENTRY_WORDS as usize - 192;
/// Rows of a page, so that a page fits a shard; a page with more has no rules. Compilers write up to some 6,000.
pub const PAGE_ROWS: usize = SHARD_WORDS;
/// Rules of a table; a row with a further one has none. All tables share numbers of 16 bits, and no single file may take them
/// all. The most seen in one file are 2,528; all 3,000 files of a developer's machine have 10,061.
pub const RULES: usize = 8192;
/// The end of what user code may occupy; descriptions of code above it are left out.
pub const ADDRESS_END: u64 = 1 << 48;
/// Bytes of code without unwind information, from the entry point on, that count as the outermost frame.
pub const ENTRY_BYTES: u64 = 64;
/// Bytes of a stored table that is read; a larger file is no table.
pub const STORED_BYTES: u64 = 256 << 20;
