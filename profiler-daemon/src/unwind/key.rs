//! The name of a table: a digest of everything it is made from.
//!
//! A build id would not do. Anyone can write another library's build id into a file of theirs, and would poison the table
//! that everybody who maps that library is walked with.

use std::fmt;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::source::{Section, Source};

/// Part of every key: to be raised when the same source would make another table.
const TABLE_VERSION: u64 = 1;

/// The name of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey(pub(super) [u8; 32]);

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableKey({self})")
    }
}

impl TableKey {
    pub(super) fn of(source: &Source) -> Self {
        let mut digest = Fields(Sha256::new());
        digest.add_number(TABLE_VERSION);
        digest.add_number(u64::from(source.machine.number));
        digest.add_number(source.entry);
        digest.add_number(u64::from(source.is_program));
        digest.add_ranges(source.code.iter());
        for stubs in [&source.linkage.lazy, &source.linkage.second, &source.linkage.plain] {
            digest.add_ranges(stubs.iter());
        }
        for section in [&source.eh_frame, &source.debug_frame] {
            digest.add_section(section.as_ref());
        }
        Self(digest.0.finalize().into())
    }
}

/// A digest of fields that cannot run into each other: each has a fixed length, or begins with it.
struct Fields(Sha256);

impl Fields {
    fn add_number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn add_ranges<'a>(&mut self, ranges: impl ExactSizeIterator<Item = &'a Range<u64>>) {
        self.add_number(ranges.len() as u64);
        for range in ranges {
            self.add_number(range.start);
            self.add_number(range.end);
        }
    }

    fn add_section(&mut self, section: Option<&Section>) {
        self.add_number(u64::from(section.is_some()));
        if let Some(section) = section {
            self.add_number(section.address);
            self.add_number(section.bytes.len() as u64);
            self.0.update(&section.bytes);
        }
    }
}
