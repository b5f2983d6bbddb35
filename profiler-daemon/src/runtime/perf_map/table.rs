//! The entries of a perf map, sorted by address.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::Address;
use crate::runtime::limits;
use crate::sys::openat2::FileFacts;

/// Bytes of all tables in memory.
static BYTES_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The entries of one version of a perf map. Ranges do not overlap: a later line replaces what it covers of earlier ones,
/// because a runtime appends when it uses memory again.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Box<[Entry]>,
    names: Box<[u8]>,
    read_from: Option<FileFacts>,
    reservation: Reservation,
}

/// A part of the memory for all maps, given back when dropped.
#[derive(Debug, Default)]
struct Reservation(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    start: u64,
    end: u64,
    name_at: u32,
    name_len: u16,
}

impl Table {
    /// Reads the lines of a map whose file has these facts. A map that would exceed the memory for all maps is left out.
    pub(super) fn parse(text: &[u8], facts: FileFacts) -> Self {
        let mut builder = Builder::default();
        for line in text.split(|byte| *byte == b'\n').take(limits::PERF_MAP_ENTRIES) {
            if let Some((start, end, name)) = parse_line(line) {
                builder.add(start, end, name);
            }
        }
        let mut table = builder.finish();
        table.read_from = Some(facts);
        table.reserve();
        table
    }

    /// The entry an address lies in: where it starts, and its name.
    pub(super) fn find(&self, address: Address) -> Option<(Address, &[u8])> {
        let after = self.entries.partition_point(|entry| entry.start <= address.0);
        let entry = self.entries[..after].last().filter(|entry| address.0 < entry.end)?;
        let name_at = entry.name_at as usize;
        Some((Address(entry.start), &self.names[name_at..name_at + entry.name_len as usize]))
    }

    /// Whether no file was read yet.
    pub(super) fn is_unread(&self) -> bool {
        self.read_from.is_none()
    }

    /// Whether the table holds the version of the file that has these facts.
    pub(super) fn is_read_from(&self, facts: &FileFacts) -> bool {
        self.read_from.as_ref() == Some(facts)
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes sure that all maps together stay within their memory, by giving up this one if need be.
    fn reserve(&mut self) {
        self.reservation = Reservation::of(size_of_val(&*self.entries) + self.names.len());
        if BYTES_IN_USE.load(Ordering::Relaxed) > limits::PERF_MAPS_BYTES {
            *self = Self { read_from: self.read_from, ..Self::default() };
        }
    }
}

impl Reservation {
    fn of(bytes: usize) -> Self {
        BYTES_IN_USE.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        BYTES_IN_USE.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Entries while lines are added.
#[derive(Debug, Default)]
struct Builder {
    by_start: BTreeMap<u64, Entry>,
    names: Vec<u8>,
}

impl Builder {
    fn add(&mut self, start: u64, end: u64, name: &[u8]) {
        let name = &name[..name.len().min(limits::NAME_BYTES)];
        let name_at = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.make_room(start, end);
        self.by_start.insert(start, Entry { start, end, name_at, name_len: name.len() as u16 });
    }

    /// Cuts what earlier entries have between `start` and `end`.
    fn make_room(&mut self, start: u64, end: u64) {
        while let Some((_, &earlier)) = self.by_start.range(..end).next_back() {
            if earlier.end <= start {
                break;
            }
            self.by_start.remove(&earlier.start);
            if earlier.end > end {
                self.by_start.insert(end, Entry { start: end, ..earlier });
            }
            if earlier.start < start {
                self.by_start.insert(earlier.start, Entry { end: start, ..earlier });
            }
        }
    }

    fn finish(self) -> Table {
        let entries = self.by_start.into_values().collect();
        Table { entries, names: self.names.into(), ..Table::default() }
    }
}

/// `START SIZE NAME`, numbers in hex with or without `0x`; the name may contain spaces.
pub(super) fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let start = parse_hex(fields.next()?)?;
    let size = parse_hex(fields.next()?)?;
    let name = fields.next()?.trim_ascii();
    let end = start.checked_add(size)?;
    (size > 0 && !name.is_empty()).then_some((start, end, name))
}

fn parse_hex(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: FileFacts = FileFacts { device: 1, inode: 2, size_bytes: 3, modified_ns: 4, uid: 5 };

    fn name_at(table: &Table, address: u64) -> Option<String> {
        table.find(Address(address)).map(|(_, name)| String::from_utf8_lossy(name).into_owned())
    }

    #[test]
    fn both_ways_to_write_numbers_are_read() {
        let text = "7f810710d7dd b py::leaf:/tmp/w.py\n\
                    0x00007fceb8eca9a0 0x00000000000002b8 long com.foo.Bar.compute(int, java.lang.String)\n";
        let table = Table::parse(text.as_bytes(), FACTS);
        assert_eq!(name_at(&table, 0x7f81_0710_d7e7).as_deref(), Some("py::leaf:/tmp/w.py"));
        assert_eq!(name_at(&table, 0x7f81_0710_d7e8), None);
        let java = name_at(&table, 0x7fce_b8ec_a9a0);
        assert_eq!(java.as_deref(), Some("long com.foo.Bar.compute(int, java.lang.String)"));
    }

    #[test]
    fn lines_without_sense_are_left_out() {
        let text = b"\n1\n1 2\n1 2 \nx y z\n1 0 empty\nffffffffffffffff 2 wraps\n-1 2 n\n\xff\xfe 1 n\n10 10 good";
        let table = Table::parse(text, FACTS);
        assert_eq!(table.entries.len(), 1);
        assert_eq!(name_at(&table, 0x1f).as_deref(), Some("good"));
    }

    #[test]
    fn later_lines_replace_what_they_cover() {
        let text = "100 100 a\n200 100 b\n180 100 c\n1c0 10 d\n0 10 e\n";
        let table = Table::parse(text.as_bytes(), FACTS);
        for (address, name) in [
            (0x17f, Some("a")),
            (0x180, Some("c")),
            (0x1c0, Some("d")),
            (0x1d0, Some("c")),
            (0x27f, Some("c")),
            (0x280, Some("b")),
            (0x300, None),
            (0xf, Some("e")),
            (0x10, None),
        ] {
            assert_eq!(name_at(&table, address).as_deref(), name, "{address:#x}");
        }
    }

    #[test]
    fn names_and_entries_are_bounded_and_memory_is_given_back() {
        let text = format!("1 1 {}\n", "x".repeat(1 << 20));
        let table = Table::parse(text.as_bytes(), FACTS);
        assert_eq!(name_at(&table, 1).unwrap().len(), limits::NAME_BYTES);
        assert!(table.reservation.0 >= limits::NAME_BYTES);
    }
}
