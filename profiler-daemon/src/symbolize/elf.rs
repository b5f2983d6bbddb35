//! Just enough of ELF to know where a file keeps its code, its symbols and its debug information.
//!
//! 64-bit little-endian files only. Nothing here trusts the file: every read is bounded and checked.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::limits;
use crate::process::FileOffset;

/// The size of the file header, and of a section header.
pub(super) const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_NOTE: u32 = 4;
/// A section without content in the file.
pub(super) const SECTION_NOBITS: u32 = 8;
const FLAG_COMPRESSED: u64 = 0x800;
const NOTE_BUILD_ID: u32 = 3;
const BUILD_ID_SECTION: &[u8] = b".note.gnu.build-id";
/// The longest note segment that is searched for a build id.
const NOTES_BYTES: u64 = 4096;
/// The longest table of section names that is read.
const NAMES_BYTES: u64 = 1 << 20;

/// The tables of an ELF file.
#[derive(Debug)]
pub(super) struct Elf {
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) sections: Vec<Section>,
    /// The section of section names.
    pub(super) names: usize,
    pub(super) segments: Segments,
    notes: Vec<(u64, u64)>,
}

/// One section: its header as it stands in the file, and its name.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) raw: [u8; HEADER_BYTES],
    pub(super) name: Vec<u8>,
}

/// What tells a build of a program from all others, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BuildId(Arc<str>);

/// Which part of a file is loaded at which address of the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments(Vec<Segment>);

#[derive(Debug, Clone, Copy)]
struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl Elf {
    /// Reads the tables of a file; an error if it is none that can be understood.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        if header[..6] != *b"\x7fELF\x02\x01" {
            return Err(broken("not a 64-bit little-endian ELF file"));
        }
        let (segments, notes) = read_segments(file, &header)?;
        let mut sections = read_sections(file, &header)?;
        let names = usize::from(u16_at(&header, 62));
        name_sections(file, &mut sections, names);
        Ok(Self { header, sections, names, segments, notes })
    }

    /// The build id, if the file has one. In files of debug information the segments lie elsewhere than they claim,
    /// so the section is asked first.
    pub(super) fn read_build_id(&self, file: &File) -> Option<BuildId> {
        let section = self.section(BUILD_ID_SECTION).map(|section| (section.offset(), section.size()));
        section.iter().chain(&self.notes).find_map(|&(offset, size)| {
            let mut notes = vec![0; size.min(NOTES_BYTES) as usize];
            file.read_exact_at(&mut notes, offset).ok()?;
            find_build_id(&notes)
        })
    }

    /// Whether a section of this name has content.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.section(name).is_some()
    }

    /// The section of this name, if it has content.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section> {
        let has_content = |section: &&Section| section.kind() != SECTION_NOBITS && section.size() > 0;
        self.sections.iter().filter(|section| section.name == name).find(has_content)
    }
}

impl BuildId {
    /// `None` for an id too short to be the only one, or too long to be a file's name.
    fn new(bytes: &[u8]) -> Option<Self> {
        let text = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        limits::BUILD_ID_BYTES.contains(&bytes.len()).then(|| Self(text()))
    }

    /// Digits and lower-case letters only.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Section {
    pub(super) fn kind(&self) -> u32 {
        u32_at(&self.raw, 4)
    }

    pub(super) fn is_compressed(&self) -> bool {
        u64_at(&self.raw, 8) & FLAG_COMPRESSED != 0
    }

    /// Where it is loaded, as an address of the module.
    pub(super) fn address(&self) -> u64 {
        u64_at(&self.raw, 16)
    }

    pub(super) fn offset(&self) -> u64 {
        u64_at(&self.raw, 24)
    }

    pub(super) fn size(&self) -> u64 {
        u64_at(&self.raw, 32)
    }

    /// The content, if it is not compressed; an error if it is longer than `limit_bytes`.
    pub(super) fn read(&self, file: &File, limit_bytes: u64) -> io::Result<Vec<u8>> {
        if self.is_compressed() || self.size() > limit_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // What the file is too short for is not allocated.
        if self.offset().saturating_add(self.size()) > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut content = vec![0; self.size() as usize];
        file.read_exact_at(&mut content, self.offset())?;
        Ok(content)
    }

    /// The content as it stands in the file, to be read from the beginning.
    pub(super) fn open<'a>(&self, file: &'a File) -> Part<'a> {
        Part::new(file, self.offset(), self.size())
    }

    /// Makes the header say that the content is `size` plain bytes at `offset`.
    pub(super) fn move_to(&mut self, offset: u64, size: u64) {
        let flags = u64_at(&self.raw, 8) & !FLAG_COMPRESSED;
        self.raw[8..16].copy_from_slice(&flags.to_le_bytes());
        self.raw[24..32].copy_from_slice(&offset.to_le_bytes());
        self.raw[32..40].copy_from_slice(&size.to_le_bytes());
    }
}

/// A part of a file, read without moving the file's own position, which others use too.
pub(super) struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> Part<'a> {
    pub(super) fn new(file: &'a File, offset: u64, size: u64) -> Self {
        Self { file, at: offset, end: offset.saturating_add(size) }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Segments {
    /// The address within the module that a byte of the file is loaded at.
    pub(super) fn address_of(&self, offset: FileOffset) -> Option<u64> {
        let holds = |segment: &&Segment| offset.0 >= segment.offset && offset.0 - segment.offset < segment.size;
        let segment = self.0.iter().find(holds)?;
        segment.address.checked_add(offset.0 - segment.offset)
    }
}

fn read_segments(file: &File, header: &[u8]) -> io::Result<(Segments, Vec<(u64, u64)>)> {
    let table = read_table(file, u64_at(header, 32), u16_at(header, 54), u16_at(header, 56), SEGMENT_BYTES)?;
    let (mut segments, mut notes) = (Vec::new(), Vec::new());
    for entry in table.chunks_exact(SEGMENT_BYTES) {
        let (offset, address, size) = (u64_at(entry, 8), u64_at(entry, 16), u64_at(entry, 32));
        match u32_at(entry, 0) {
            SEGMENT_LOAD => segments.push(Segment { offset, address, size }),
            SEGMENT_NOTE => notes.push((offset, size)),
            _ => {}
        }
    }
    Ok((Segments(segments), notes))
}

fn read_sections(file: &File, header: &[u8]) -> io::Result<Vec<Section>> {
    let table = read_table(file, u64_at(header, 40), u16_at(header, 58), u16_at(header, 60), HEADER_BYTES)?;
    let headers = table.chunks_exact(HEADER_BYTES);
    Ok(headers
        .map(|entry| {
            let mut raw = [0; HEADER_BYTES];
            raw.copy_from_slice(entry);
            Section { raw, name: Vec::new() }
        })
        .collect())
}

fn read_table(file: &File, offset: u64, entry: u16, count: u16, expected: usize) -> io::Result<Vec<u8>> {
    let count = usize::from(count);
    if count > 0 && (usize::from(entry) != expected || count > limits::ELF_SECTIONS) {
        return Err(broken("a table of unexpected shape"));
    }
    let mut table = vec![0; count * expected];
    file.read_exact_at(&mut table, offset)?;
    Ok(table)
}

/// Sections stay without names if the names cannot be read.
fn name_sections(file: &File, sections: &mut [Section], names: usize) {
    let Some(table) = sections.get(names) else { return };
    let mut text = vec![0; table.size().min(NAMES_BYTES) as usize];
    if file.read_exact_at(&mut text, table.offset()).is_err() {
        return;
    }
    for section in sections {
        let rest = text.get(u32_at(&section.raw, 0) as usize..).unwrap_or_default();
        section.name = rest.iter().take(64).take_while(|byte| **byte != 0).copied().collect();
    }
}

fn find_build_id(notes: &[u8]) -> Option<BuildId> {
    let mut rest = notes;
    while rest.len() >= 12 {
        let (name, content, kind) = (u32_at(rest, 0) as usize, u32_at(rest, 4) as usize, u32_at(rest, 8));
        let content_at = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = content_at.checked_add(content)?;
        if kind == NOTE_BUILD_ID && rest.get(12..16) == Some(b"GNU\0") {
            return BuildId::new(rest.get(content_at..end)?);
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

/// An error about a file that is not what it should be.
pub(super) fn broken(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The number at an offset within the bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// The number at an offset within the bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    #[test]
    fn the_tables_of_the_test_itself_are_read() {
        let file = File::open(env::current_exe().unwrap()).unwrap();
        let elf = Elf::read(&file).unwrap();
        assert!(elf.has(b".symtab") && elf.has(b".debug_line") && elf.has(b".text") && !elf.has(b".bss"));
        assert!(elf.read_build_id(&file).is_none_or(|id| id.as_str().len() >= 16));
        assert_eq!(elf.segments.address_of(FileOffset(0)), Some(0));
        assert_eq!(elf.segments.address_of(FileOffset(u64::MAX)), None);
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(Elf::read(&File::open("/proc/self/maps").unwrap()).is_err());
        assert!(Elf::read(&File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = [4u32, 5, 1].map(u32::to_le_bytes).concat();
        notes.extend(b"GNU\0abcde\0\0\0");
        notes.extend([4u32, 8, NOTE_BUILD_ID].map(u32::to_le_bytes).concat());
        notes.extend(b"GNU\0\x01\xab\xff\0\0\0\0\x10");
        assert_eq!(find_build_id(&notes).unwrap().as_str(), "01abff0000000010");
        assert_eq!(find_build_id(&[0xff; 64]), None);
    }

    #[test]
    fn a_build_id_that_is_too_short_or_too_long_is_none() {
        assert_eq!(
            [0, 7, 8, 20, 64, 65].map(|length| BuildId::new(&vec![0; length]).is_some()),
            [false, false, true, true, true, false]
        );
    }
}
