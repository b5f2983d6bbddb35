//! Whether debug information can be read within bounds of time, memory and stack, found out before the library reads it.
//!
//! The library trusts that a file was made by a compiler. It parses each unit anew with whatever tables the unit refers to,
//! keeps a record per line and per range, searches strings for their ends, and calls itself for each function inlined into
//! another. Some kilobytes, referred to often enough, would keep it busy for hours, and a deep nesting would overflow the
//! stack, which ends the daemon. So the units are walked here first, once, and everything the library would do is counted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use gimli::{
    Abbreviation, AttributeValue, DebugAbbrev, DebugInfo, DebugLine, DebugLineOffset, DebugRanges, DebugRngLists,
    DebugRngListsBase, Encoding, EndianSlice, EntriesRaw, LittleEndian, RangeLists, RangeListsOffset, Reader,
    UnitHeader, constants as dw,
};

use super::limits;
use crate::process::elf::Elf;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The sections of texts that attributes refer to.
const TEXT_SECTIONS: [&[u8]; 2] = [b".debug_str", b".debug_line_str"];

/// What the library keeps of an entry that has code, of a range of addresses, of a line, and of each byte of the list of files.
const ENTRY_BYTES: u64 = 128;
const RANGE_BYTES: u64 = 32;
const LINE_BYTES: u64 = 24;
const FILES_BYTES: u64 = 32;
/// The size of a range in the table of ranges of units.
const UNIT_RANGE_BYTES: u64 = 16;

/// Whether the debug information of a file that the daemon wrote itself can be read within bounds.
pub(super) fn is_bounded(file: &File) -> io::Result<bool> {
    let elf = Elf::read(file)?;
    for section in TEXT_SECTIONS.into_iter().filter_map(|name| elf.find(name)) {
        if !are_texts_short(&mut section.open(file))? {
            return Ok(false);
        }
    }
    let read = |name: &[u8]| match elf.find(name) {
        Some(section) => section.read(file, limits::SYMBOL_BYTES_PER_FILE),
        None => Ok(Vec::new()),
    };
    let (ranges, lists) = (read(b".debug_ranges")?, read(b".debug_rnglists")?);
    let (abbreviations, lines) = (read(b".debug_abbrev")?, read(b".debug_line")?);
    let unit_ranges = elf.find(b".debug_aranges").map_or(0, |section| section.size() / UNIT_RANGE_BYTES);
    let walk = Walk {
        abbreviations: slice(&abbreviations),
        table_bytes: HashMap::new(),
        lines: DebugLine::from(slice(&lines)),
        ranges: RangeLists::new(DebugRanges::from(slice(&ranges)), DebugRngLists::from(slice(&lists))),
        budget: Budget { steps: limits::DWARF_STEPS, memory: limits::DWARF_MEMORY_BYTES },
    };
    Ok(walk.end(unit_ranges, DebugInfo::from(slice(&read(b".debug_info")?))))
}

fn slice(bytes: &[u8]) -> Slice<'_> {
    EndianSlice::new(bytes, LittleEndian)
}

fn are_texts_short(section: &mut dyn Read) -> io::Result<bool> {
    let (mut chunk, mut length) = (vec![0; 256 << 10], 0);
    loop {
        let read = match section.read(&mut chunk)? {
            0 => return Ok(true),
            read => &chunk[..read],
        };
        for text in read.split_inclusive(|byte| *byte == 0) {
            length += text.len();
            if length > limits::DWARF_TEXT_BYTES {
                return Ok(false);
            }
            length = if text.ends_with(&[0]) { 0 } else { length };
        }
    }
}

/// Why a walk ended early.
enum Stop {
    /// The bounds are exceeded.
    TooMuch,
    /// It makes no sense from here on; the library ends here as well.
    Broken,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Self {
        Self::Broken
    }
}

/// What reading may still cost.
struct Budget {
    steps: u64,
    memory: u64,
}

impl Budget {
    fn take_steps(&mut self, count: u64) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(count).ok_or(Stop::TooMuch)?;
        Ok(())
    }

    fn take_memory(&mut self, count: u64, bytes: u64) -> Result<(), Stop> {
        self.memory = self.memory.checked_sub(count.saturating_mul(bytes)).ok_or(Stop::TooMuch)?;
        Ok(())
    }
}

/// A walk over all units.
struct Walk<'a> {
    abbreviations: Slice<'a>,
    /// The lengths of the tables of abbreviations by where they begin.
    table_bytes: HashMap<usize, u64>,
    lines: DebugLine<Slice<'a>>,
    ranges: RangeLists<Slice<'a>>,
    budget: Budget,
}

impl<'a> Walk<'a> {
    /// Whether the walk comes to its end within the budget.
    fn end(mut self, unit_ranges: u64, info: DebugInfo<Slice<'a>>) -> bool {
        if self.budget.take_memory(unit_ranges, RANGE_BYTES).is_err() {
            return false;
        }
        let mut headers = info.units();
        while let Ok(Some(header)) = headers.next() {
            if let Err(Stop::TooMuch) = self.walk_unit(&header) {
                return false;
            }
        }
        true
    }

    fn walk_unit(&mut self, header: &UnitHeader<Slice<'a>>) -> Result<(), Stop> {
        let table = header.debug_abbrev_offset();
        let bytes = self.table_bytes(table.0)?;
        self.budget.take_steps(bytes + 1)?;
        let abbreviations = DebugAbbrev::from(self.abbreviations).abbreviations(table)?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        let (mut inlined, mut base) = (Vec::new(), DebugRngListsBase(0));
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let Some(entry) = entries.read_abbreviation()? else {
                self.budget.take_steps(1)?;
                continue;
            };
            self.budget.take_steps(1 + entry.attributes().len() as u64)?;
            if entry.tag() == dw::DW_TAG_inlined_subroutine {
                note_inlined(&mut inlined, depth)?;
            }
            self.walk_entry(&mut entries, entry, header.encoding(), &mut base)?;
        }
        Ok(())
    }

    fn walk_entry(
        &mut self,
        entries: &mut EntriesRaw<'_, Slice<'a>>,
        entry: &Abbreviation,
        encoding: Encoding,
        base: &mut DebugRngListsBase<usize>,
    ) -> Result<(), Stop> {
        if entry.attributes().len() > limits::DWARF_ATTRIBUTES {
            return Err(Stop::TooMuch);
        }
        if !has_code(entry) {
            return Ok(entries.skip_attributes(entry.attributes())?);
        }
        self.budget.take_memory(1, ENTRY_BYTES)?;
        for attribute in entry.attributes() {
            match entries.read_attribute(*attribute)?.value() {
                AttributeValue::DebugLineRef(offset) => self.count_lines(offset, encoding)?,
                AttributeValue::DebugRngListsBase(found) => *base = found,
                AttributeValue::RangeListsRef(offset) => self.count_ranges(RangeListsOffset(offset.0), encoding)?,
                AttributeValue::DebugRngListsIndex(index) => {
                    if let Ok(offset) = self.ranges.get_offset(encoding, *base, index) {
                        self.count_ranges(offset, encoding)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A list that makes no sense does not end the unit for the library.
    fn count_ranges(&mut self, offset: RangeListsOffset, encoding: Encoding) -> Result<(), Stop> {
        let Ok(mut list) = self.ranges.raw_ranges(offset, encoding) else { return Ok(()) };
        while let Ok(Some(_)) = list.next() {
            self.budget.take_steps(1)?;
            self.budget.take_memory(1, RANGE_BYTES)?;
        }
        Ok(())
    }

    /// A program that makes no sense is run by the library up to there as well. It does not end the unit.
    fn count_lines(&mut self, offset: DebugLineOffset, encoding: Encoding) -> Result<(), Stop> {
        let Ok(program) = self.lines.program(offset, encoding.address_size, None, None) else { return Ok(()) };
        self.budget.take_steps(program.header().unit_length() as u64)?;
        self.budget.take_memory(program.header().header_length() as u64, FILES_BYTES)?;
        let mut rows = program.rows();
        while let Ok(Some(_)) = rows.next_row() {
            self.budget.take_memory(1, LINE_BYTES)?;
        }
        Ok(())
    }

    /// How long the table of abbreviations at an offset is.
    fn table_bytes(&mut self, offset: usize) -> Result<u64, Stop> {
        if let Some(known) = self.table_bytes.get(&offset) {
            return Ok(*known);
        }
        let mut rest = self.abbreviations;
        rest.skip(offset)?;
        let before = rest.len();
        // A table that makes no sense is read up to there by the library as well.
        let _ = skip_abbreviations(&mut rest);
        let length = (before - rest.len()) as u64;
        self.budget.take_steps(length)?;
        self.table_bytes.insert(offset, length);
        Ok(length)
    }
}

fn skip_abbreviations(table: &mut Slice<'_>) -> gimli::Result<()> {
    while !table.is_empty() && table.read_uleb128()? != 0 {
        table.read_uleb128()?;
        table.read_u8()?;
        loop {
            let (name, form) = (table.read_uleb128()?, table.read_uleb128()?);
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                table.read_sleb128()?;
            }
            if name == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// The entries the library reads the attributes of.
fn has_code(entry: &Abbreviation) -> bool {
    matches!(
        entry.tag(),
        dw::DW_TAG_compile_unit
            | dw::DW_TAG_partial_unit
            | dw::DW_TAG_skeleton_unit
            | dw::DW_TAG_subprogram
            | dw::DW_TAG_inlined_subroutine
    )
}

/// Notes a function inlined at a depth of the tree. `open` are the depths of those it may be inlined into.
fn note_inlined(open: &mut Vec<isize>, depth: isize) -> Result<(), Stop> {
    while open.last().is_some_and(|last| *last >= depth) {
        open.pop();
    }
    open.push(depth);
    if open.len() > limits::DWARF_NESTING { Err(Stop::TooMuch) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number 1: a unit with lines. Number 2: an inlined function with children. Number 3: one with a list of ranges.
    const ABBREVIATIONS: &[u8] = &[
        1, 0x11, 1, 0x10, 0x17, 0, 0, // stmt_list: sec_offset
        2, 0x1d, 1, 0, 0, //
        3, 0x1d, 0, 0x55, 0x17, 0, 0, // ranges: sec_offset
        0,
    ];
    const BUDGET: Budget = Budget { steps: 100_000, memory: 1 << 20 };

    /// A unit of version 4 whose table of abbreviations begins at the beginning.
    fn unit(entries: &[u8]) -> Vec<u8> {
        let length = (7 + 5 + entries.len() + 1) as u32;
        let root = [1, 0, 0, 0, 0];
        [&length.to_le_bytes()[..], &[4, 0], &[0; 4], &[8], &root, entries, &[0]].concat()
    }

    /// A program of version 4 with as many lines as wanted.
    fn lines(count: usize) -> Vec<u8> {
        let header = [1, 1, 1, 0xfb, 14, 4, 0, 0, 0, 0, 0];
        let length = (6 + header.len() + count) as u32;
        let header_length = (header.len() as u32).to_le_bytes();
        [&length.to_le_bytes()[..], &[4, 0], &header_length, &header, &vec![0xff; count]].concat()
    }

    fn is_bounded(abbreviations: &[u8], info: &[u8], lines: &[u8], ranges: &[u8]) -> bool {
        let walk = Walk {
            abbreviations: slice(abbreviations),
            table_bytes: HashMap::new(),
            lines: DebugLine::from(slice(lines)),
            ranges: RangeLists::new(DebugRanges::from(slice(ranges)), DebugRngLists::from(slice(&[]))),
            budget: BUDGET,
        };
        walk.end(0, DebugInfo::from(slice(info)))
    }

    #[test]
    fn the_debug_information_of_the_test_itself_is_bounded() {
        assert!(super::is_bounded(&File::open(std::env::current_exe().unwrap()).unwrap()).unwrap());
    }

    #[test]
    fn functions_inlined_into_each_other_too_deeply_are_refused() {
        let nested = |depth| unit(&[[2].repeat(depth), [0].repeat(depth)].concat());
        assert!(is_bounded(ABBREVIATIONS, &nested(limits::DWARF_NESTING), &[], &[]));
        assert!(!is_bounded(ABBREVIATIONS, &nested(limits::DWARF_NESTING + 1), &[], &[]));
        let siblings = unit(&[2, 2, 0, 0].repeat(limits::DWARF_NESTING));
        assert!(is_bounded(ABBREVIATIONS, &siblings, &[], &[]));
    }

    #[test]
    fn a_table_counts_for_every_unit_that_refers_to_it() {
        let mut long = ABBREVIATIONS[..ABBREVIATIONS.len() - 1].to_vec();
        (4..100).for_each(|code| long.extend([code, 0x34, 0, 0, 0]));
        long.push(0);
        for (units, bounded) in [(100, true), (1000, false)] {
            assert_eq!(is_bounded(&long, &unit(&[]).repeat(units), &[], &[]), bounded, "{units} units");
        }
    }

    #[test]
    fn lines_count_for_every_unit_that_refers_to_them() {
        for (count, units, bounded) in [(10_000, 1, true), (10_000, 10, false), (100, 100, true), (100_000, 1, false)] {
            let info = unit(&[]).repeat(units);
            assert_eq!(is_bounded(ABBREVIATIONS, &info, &lines(count), &[]), bounded, "{count} lines, {units} units");
        }
    }

    #[test]
    fn ranges_count_for_every_function_that_refers_to_them() {
        let ranges = [[1u64, 2].map(u64::to_le_bytes).concat().repeat(1000), vec![0; 16]].concat();
        for (functions, bounded) in [(10, true), (100, false)] {
            let info = unit(&[3, 0, 0, 0, 0].repeat(functions));
            assert_eq!(is_bounded(ABBREVIATIONS, &info, &[], &ranges), bounded, "{functions} functions");
        }
    }

    #[test]
    fn an_entry_of_too_many_attributes_is_refused() {
        for (count, bounded) in [(limits::DWARF_ATTRIBUTES, true), (limits::DWARF_ATTRIBUTES + 1, false)] {
            let abbreviations = [&[1, 0x11, 1][..], &[0x3f, 0x19].repeat(count), &[0, 0, 0]].concat();
            assert_eq!(is_bounded(&abbreviations, &unit(&[]), &[], &[]), bounded);
        }
    }

    #[test]
    fn a_text_without_an_end_is_refused() {
        let long = [b'x'].repeat(limits::DWARF_TEXT_BYTES);
        let short = b"some text\0".repeat(limits::DWARF_TEXT_BYTES);
        assert!(are_texts_short(&mut &short[..]).unwrap());
        assert!(are_texts_short(&mut &long[..]).unwrap());
        assert!(!are_texts_short(&mut &[&long[..], b"x\0"].concat()[..]).unwrap());
    }

    #[test]
    fn what_is_damaged_ends_the_walk_and_nothing_else() {
        let intact = unit(&[[2].repeat(20), [0].repeat(20), [3, 0, 0, 0, 0].repeat(20)].concat()).repeat(5);
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..5000 {
            let (mut info, mut abbreviations, mut lines) = (intact.clone(), ABBREVIATIONS.to_vec(), lines(50));
            for part in [&mut info, &mut abbreviations, &mut lines] {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let at = (random >> 16) as usize % part.len();
                part[at] = (random >> 48) as u8;
            }
            is_bounded(&abbreviations, &info, &lines, &[1; 100]);
        }
    }
}
