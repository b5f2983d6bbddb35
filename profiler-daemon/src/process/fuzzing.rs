//! Fuzz targets of this room: ELF files, and the text of `/proc/PID/maps`.

use std::fs::File;
use std::io::Read;

use super::elf::{Elf, Part, Section};
use super::maps::{Address, FileOffset, Mapping, Mappings};
use crate::fuzzing::with_file;

/// How much of one section is read: enough to enter the decompressor, too little to spend the time there.
const SECTION_BYTES: u64 = 64 << 10;
/// How many sections are read.
const SECTIONS: usize = 64;
/// Addresses and offsets at which arithmetic may go wrong.
const EDGES: [u64; 7] = [0, 1, 0xfff, 0x1000, 1 << 48, u64::MAX - 0xfff, u64::MAX];

/// Reads the tables of a file, asks them everything they are asked, and reads the sections.
pub fn elf(bytes: &[u8]) {
    with_file(bytes, |file| {
        let loaded = Elf::read_loaded(file);
        let Ok(elf) = Elf::read(file) else { return };
        assert!(loaded.is_ok(), "what has sections can be loaded too");
        let _ = (elf.read_build_id(file), elf.is_program(), elf.has(b".symtab"));
        let code: Vec<_> = elf.segments.code().collect();
        let sections = elf.sections.iter().flat_map(|section| [section.address(), section.offset()]);
        for edge in EDGES.into_iter().chain([elf.entry()]).chain(code.iter().map(|range| range.start)).chain(sections) {
            ask_segments(&elf, edge);
        }
        for section in elf.sections.iter().take(SECTIONS) {
            read_section(file, section);
        }
    });
}

fn ask_segments(elf: &Elf, at: u64) {
    let _ = (elf.segments.address_of(FileOffset(at)), elf.segments.address_of_page(FileOffset(at)));
    if let Some(part) = elf.segments.part_at(at) {
        assert!(part.start < part.end, "{part:?} holds at least the byte that was asked for");
    }
}

fn read_section(file: &File, section: &Section) {
    let mut content = Vec::new();
    let part = Part::new(file, section.offset(), section.size());
    if !section.is_compressed() {
        let _ = part.take(SECTION_BYTES).read_to_end(&mut content);
    } else if let Ok((inflated, size)) = part.inflate() {
        let _ = inflated.take(size.min(SECTION_BYTES)).read_to_end(&mut content);
    }
    let mut moved = section.clone();
    moved.move_to(section.size(), section.offset());
    assert!(!moved.is_compressed() && moved.size() == section.offset());
}

/// Reads mappings, which must be in order, not overlap, and be found at their own addresses.
pub fn maps(bytes: &[u8]) {
    let mappings = Mappings::parse(bytes);
    let all: Vec<&Mapping> = mappings.iter().collect();
    assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for mapping in all {
        assert!(mapping.start < mapping.end && mapping.path.len() <= super::limits::PATH_BYTES);
        let last = Address(mapping.end.0 - 1);
        assert!([mapping.start, last].iter().all(|address| mappings.find(*address) == Some(mapping)));
        assert_ne!(mappings.find(mapping.end), Some(mapping));
        let _ = (mapping.offset_of(last), mapping.may_be_generated(), mapping.file_name(), mapping.path_text());
    }
    assert!(mappings.bytes() <= bytes.len() + mappings.len() * size_of::<Mapping>(), "no path is longer than its line");
}
