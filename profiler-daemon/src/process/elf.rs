//! Just enough of ELF to know where a file keeps its code, its symbols, its debug and its unwind information.
//!
//! 64-bit little-endian files only. Nothing here trusts the file: every read is bounded and checked.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::limits;
use super::maps::FileOffset;

/// The size of the file header, and of a section header.
pub(crate) const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_INTERPRETER: u32 = 3;
const SEGMENT_NOTE: u32 = 4;
const SEGMENT_FRAME_HEADER: u32 = 0x6474_e550;
const SEGMENT_EXECUTABLE: u32 = 1;
/// A section without content in the file.
pub(crate) const SECTION_NOBITS: u32 = 8;
const FLAG_COMPRESSED: u64 = 0x800;
/// The marks of the two methods by which sections are compressed.
pub(crate) const COMPRESSED_ZLIB: u32 = 1;
pub(crate) const COMPRESSED_ZSTD: u32 = 2;
const COMPRESSION_HEADER_BYTES: usize = 24;
const KIND_EXECUTABLE: u16 = 2;
const NOTE_BUILD_ID: u32 = 3;
const BUILD_ID_SECTION: &[u8] = b".note.gnu.build-id";
/// The longest note segment that is searched for a build id.
const NOTES_BYTES: u64 = 4096;
/// The longest table of section names that is read.
const NAMES_BYTES: u64 = 1 << 20;

/// The tables of an ELF file.
#[derive(Debug)]
pub(crate) struct Elf {
    pub(crate) header: [u8; HEADER_BYTES],
    pub(crate) sections: Vec<Section>,
    /// The section of section names.
    pub(crate) names: usize,
    pub(crate) segments: Segments,
    /// The index of the unwind information, from the byte of the file on.
    pub(crate) frame_header: Option<FileOffset>,
    notes: Vec<(u64, u64)>,
    interpreted: bool,
}

/// One section: its header as it stands in the file, and its name.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) raw: [u8; HEADER_BYTES],
    pub(crate) name: Vec<u8>,
}

/// What tells a build of a program from all others, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BuildId(Arc<str>);

/// Which part of a file is loaded at which address of the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments(Vec<Segment>);

#[derive(Debug, Clone, Copy)]
struct Segment {
    offset: u64,
    address: u64,
    size: u64,
    executable: bool,
}

/// A part of a file, read without moving the file's own position, which others use too.
pub(crate) struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Elf {
    /// Reads the tables of a file; an error if it is none that can be understood.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut elf = Self::read_loaded(file)?;
        elf.sections = read_sections(file, &elf.header)?;
        name_sections(file, &mut elf.sections, elf.names);
        Ok(elf)
    }

    /// Reads what the kernel reads to load a file: no sections.
    pub(crate) fn read_loaded(file: &File) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        if header[..6] != *b"\x7fELF\x02\x01" {
            return Err(broken("not a 64-bit little-endian ELF file"));
        }
        let names = usize::from(u16_at(&header, 62));
        let mut elf = Self {
            header,
            sections: Vec::new(),
            names,
            segments: Segments::default(),
            frame_header: None,
            notes: Vec::new(),
            interpreted: false,
        };
        elf.read_segments(file)?;
        Ok(elf)
    }

    fn read_segments(&mut self, file: &File) -> io::Result<()> {
        let header = &self.header;
        let table = read_table(file, u64_at(header, 32), u16_at(header, 54), u16_at(header, 56), SEGMENT_BYTES)?;
        for entry in table.chunks_exact(SEGMENT_BYTES) {
            let (offset, address, size) = (u64_at(entry, 8), u64_at(entry, 16), u64_at(entry, 32));
            let executable = u32_at(entry, 4) & SEGMENT_EXECUTABLE != 0;
            match u32_at(entry, 0) {
                SEGMENT_LOAD => self.segments.0.push(Segment { offset, address, size, executable }),
                SEGMENT_INTERPRETER => self.interpreted = true,
                SEGMENT_NOTE => self.notes.push((offset, size)),
                SEGMENT_FRAME_HEADER => self.frame_header = Some(FileOffset(offset)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The address its first instruction has within the module; zero if it has none.
    pub(crate) fn entry(&self) -> u64 {
        u64_at(&self.header, 24)
    }

    /// Whether it is surely a program, and no library.
    pub(crate) fn is_program(&self) -> bool {
        self.interpreted || u16_at(&self.header, 16) == KIND_EXECUTABLE
    }

    /// The section of this name, if it has content.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name == name && section.kind() != SECTION_NOBITS && section.size() > 0)
    }

    /// The build id, if the file has one. In files of debug information the segments lie elsewhere than they claim,
    /// so the section is asked first.
    pub(crate) fn read_build_id(&self, file: &File) -> Option<BuildId> {
        let section = self.find(BUILD_ID_SECTION).map(|section| (section.offset(), section.size()));
        section.iter().chain(&self.notes).find_map(|&(offset, size)| {
            let mut notes = vec![0; size.min(NOTES_BYTES) as usize];
            file.read_exact_at(&mut notes, offset).ok()?;
            find_build_id(&notes)
        })
    }

    /// Whether a section of this name has content.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }
}

impl BuildId {
    /// `None` for an id too short to be the only one, or too long to be a file's name.
    fn new(bytes: &[u8]) -> Option<Self> {
        let text = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        limits::BUILD_ID_BYTES.contains(&bytes.len()).then(|| Self(text()))
    }

    /// Digits and lower-case letters only.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Section {
    pub(crate) fn kind(&self) -> u32 {
        u32_at(&self.raw, 4)
    }

    pub(crate) fn is_compressed(&self) -> bool {
        u64_at(&self.raw, 8) & FLAG_COMPRESSED != 0
    }

    /// Where it is loaded within the module.
    pub(crate) fn address(&self) -> u64 {
        u64_at(&self.raw, 16)
    }

    pub(crate) fn offset(&self) -> u64 {
        u64_at(&self.raw, 24)
    }

    pub(crate) fn size(&self) -> u64 {
        u64_at(&self.raw, 32)
    }

    /// The plain content, as far as the file has it; an error if it is longer than `limit_bytes`.
    pub(crate) fn read(&self, file: &File, limit_bytes: u64) -> io::Result<Vec<u8>> {
        if !self.is_compressed() {
            return read_bounded(self.open(file), limit_bytes);
        }
        let (content, size) = self.open(file).inflate()?;
        read_bounded(content.take(size), limit_bytes)
    }

    /// The content as it stands in the file, to be read from the beginning.
    pub(crate) fn open<'a>(&self, file: &'a File) -> Part<'a> {
        Part::new(file, self.offset(), self.size())
    }

    /// Makes the header say that the content is `size` plain bytes at `offset`.
    pub(crate) fn move_to(&mut self, offset: u64, size: u64) {
        let flags = u64_at(&self.raw, 8) & !FLAG_COMPRESSED;
        self.raw[8..16].copy_from_slice(&flags.to_le_bytes());
        self.raw[24..32].copy_from_slice(&offset.to_le_bytes());
        self.raw[32..40].copy_from_slice(&size.to_le_bytes());
    }
}

impl Segments {
    /// The address within the module that a byte of the file is loaded at.
    pub(crate) fn address_of(&self, offset: FileOffset) -> Option<u64> {
        let holds = |segment: &&Segment| offset.0 >= segment.offset && offset.0 - segment.offset < segment.size;
        let segment = self.0.iter().find(holds)?;
        segment.address.checked_add(offset.0 - segment.offset)
    }

    /// The address within the module that a page of the file is mapped at: it may begin before its segment does.
    pub(crate) fn address_of_page(&self, offset: FileOffset) -> Option<u64> {
        const PAGE: u64 = 0xfff;
        let holds = |segment: &&Segment| {
            segment.executable
                && offset.0 >= segment.offset & !PAGE
                && offset.0 < segment.offset.saturating_add(segment.size)
        };
        let segment = self.0.iter().find(holds)?;
        Some(segment.address.wrapping_add(offset.0.wrapping_sub(segment.offset)))
    }

    /// The part of the file that is loaded from an address on, up to the end of its segment.
    pub(crate) fn part_at(&self, address: u64) -> Option<Range<u64>> {
        let holds = |segment: &&Segment| address >= segment.address && address - segment.address < segment.size;
        let segment = self.0.iter().find(holds)?;
        let start = segment.offset.checked_add(address - segment.address)?;
        Some(start..segment.offset.checked_add(segment.size)?)
    }

    /// The addresses of code, as far as they come from the file.
    pub(crate) fn code(&self) -> impl Iterator<Item = Range<u64>> {
        let code = self.0.iter().filter(|segment| segment.executable);
        code.map(|segment| segment.address..segment.address.saturating_add(segment.size))
    }
}

impl<'a> Part<'a> {
    /// `size` bytes from `offset` on.
    pub(crate) fn new(file: &'a File, offset: u64, size: u64) -> Self {
        Self { file, at: offset, end: offset.saturating_add(size) }
    }

    /// The content of a compressed section, and how long it claims to be.
    pub(crate) fn inflate(mut self) -> io::Result<(Box<dyn Read + 'a>, u64)> {
        let mut header = [0; COMPRESSION_HEADER_BYTES];
        self.read_exact(&mut header)?;
        let content: Box<dyn Read + 'a> = match u32_at(&header, 0) {
            COMPRESSED_ZLIB => Box::new(flate2::read::ZlibDecoder::new(self)),
            COMPRESSED_ZSTD => Box::new(zstd::stream::read::Decoder::new(self)?),
            _ => return Err(broken("a compression that is not supported")),
        };
        Ok((content, u64_at(&header, 8)))
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

/// Reads to the end, which may come earlier than the file says; an error if it comes later than after `limit_bytes`.
pub(crate) fn read_bounded(content: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    bytes.shrink_to_fit();
    Ok(bytes)
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
pub(crate) fn broken(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The number at an offset within the bytes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// The number at an offset within the bytes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
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
