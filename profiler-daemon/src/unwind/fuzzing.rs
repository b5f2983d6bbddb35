//! Fuzz targets of this room: from the bytes of an executable to a table that can be searched, and tables from disk.

use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{Directory, PAGE_SHIFT, Row};
use sha2::{Digest, Sha256};

use super::key::TableKey;
use super::pool::{Pool, TableMaps};
use super::source::Source;
use super::stored::{decode_table, encode_table, is_valid};
use super::table::Table;
use crate::bpf::{LoadError, Shard};
use crate::fuzzing::with_file;

/// Where the key stands in a stored table, behind the mark of the format.
const KEY_AT: usize = 8;
const KEY: TableKey = TableKey([7; 32]);
/// Shards a pool may use up, so that one input does not fill memory.
const SHARDS: usize = 8;

/// Makes the table of an executable: it must be valid, come again the same, and survive being stored and placed.
pub fn unwind_table(bytes: &[u8]) {
    with_file(bytes, |file| {
        let Ok(source) = Source::open(file) else { return };
        let (key, table) = (source.key(), source.build());
        assert!(is_valid(&table));
        assert_eq!(source.key(), key);
        assert_eq!(decode_table(&key, &encode_table(&key, &table)).as_ref(), Some(&table));
        search(&table);
        place(&table);
    });
}

/// Decodes the bytes as a table from disk. Mark, key and digest are made right first: they are no secret, and would
/// keep a fuzzer from everything behind them.
pub fn stored_table(bytes: &[u8]) {
    let mut stored = encode_table(&KEY, &Table::empty(Default::default()));
    let head = KEY_AT + KEY.0.len();
    stored.truncate(head);
    stored.extend_from_slice(bytes);
    stored.extend_from_slice(&Sha256::digest(&stored));
    let Some(table) = decode_table(&KEY, &stored) else { return };
    assert!(is_valid(&table));
    assert_eq!(encode_table(&KEY, &table), stored);
    search(&table);
    place(&table);
}

/// Looks up the edges of every page and of every row. No search may leave the table.
fn search(table: &Table) {
    for edge in [0, 1, u64::from(u32::MAX), 1 << 48, u64::MAX] {
        table.find(edge);
    }
    for (number, page) in table.pages.iter().enumerate() {
        let start = (u64::from(table.first_page) + number as u64) << PAGE_SHIFT;
        for word in table.rows_of(page) {
            let row = Row::from_word(*word);
            let found = table.find(start + u64::from(row.low));
            assert_eq!(found, table.rules[usize::from(row.rule)], "a row is found at its first address");
        }
        table.find(start.wrapping_add((1 << PAGE_SHIFT) - 1));
    }
}

fn place(table: &Table) {
    let mut pool = Pool::with_shards(SHARDS);
    if let Ok(number) = pool.place(table, &mut Nowhere) {
        pool.remove(number, &mut Nowhere);
    }
    assert_eq!(pool.usage().shards, 0, "what was removed, or was never placed, takes no room");
}

/// Maps that take everything and keep nothing.
struct Nowhere;

impl TableMaps for Nowhere {
    fn write_rule(&mut self, _: u16, _: &Rule) -> Result<(), LoadError> {
        Ok(())
    }

    fn write_shard(&mut self, _: u32, _: &Shard) -> Result<(), LoadError> {
        Ok(())
    }

    fn free_shard(&mut self, _: u32) -> Result<(), LoadError> {
        Ok(())
    }

    fn write_directory(&mut self, _: u32, _: &Directory) -> Result<(), LoadError> {
        Ok(())
    }
}
