//! The symbols and debug information of an executable, copied into a file of the daemon's own.
//!
//! The library that reads symbols maps files into memory and follows the links to further files it finds in them. A process
//! could cut its own library short, which would kill whoever reads the mapping, could compress nothing into terabytes, or could
//! link to any path of the host. So the library only ever sees files the daemon wrote itself, in memory, with the sections
//! that name things and nothing else: bounded, uncompressed, without links, and not to be changed by anyone.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr;

use rustix::fs::{MemfdFlags, memfd_create};

use super::{dwarf_check, limits};
use crate::process::elf::{Elf, HEADER_BYTES, Part, SECTION_NOBITS};

/// The sections that hold symbols.
const SYMBOL_SECTIONS: [&[u8]; 5] = [b".symtab", b".strtab", b".dynsym", b".dynstr", b".symtab_shndx"];
/// The sections that tell lines and inlined functions.
const DEBUG_SECTIONS: [&[u8]; 11] = [
    b".debug_abbrev",
    b".debug_addr",
    b".debug_aranges",
    b".debug_info",
    b".debug_line",
    b".debug_line_str",
    b".debug_ranges",
    b".debug_rnglists",
    b".debug_str",
    b".debug_str_offsets",
    b".debug_types",
];
/// The section that says that a part of the debug information is in yet another file, which is not followed.
const ALTERNATE_LINKS: [&[u8]; 2] = [b".gnu_debugaltlink", b".debug_sup"];

/// An ELF file in memory that holds nothing but symbols and debug information.
#[derive(Debug)]
pub(super) struct SymbolFile {
    file: File,
    /// The memory it takes.
    pub(super) bytes: u64,
    /// Whether it has debug information.
    pub(super) has_debug: bool,
    /// Whether it has neither debug information nor more symbols than the dynamic linker needs.
    pub(super) is_stripped: bool,
}

impl SymbolFile {
    /// Copies what names the code of `source`; without the debug information if that is too large or cannot be read.
    pub(super) fn copy(source: &File, elf: &Elf) -> io::Result<Self> {
        let debug = elf.has(b".debug_info") && !ALTERNATE_LINKS.iter().any(|link| elf.has(link));
        match Self::copy_sections(source, elf, debug) {
            Err(error) if debug && error.kind() != io::ErrorKind::UnexpectedEof => {
                Self::copy_sections(source, elf, false)
            }
            copied => copied,
        }
    }

    /// The path under which this process can open it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    fn copy_sections(source: &File, elf: &Elf, debug: bool) -> io::Result<Self> {
        let mut writer = Writer::new(source)?;
        let mut headers = Vec::with_capacity(elf.sections.len() * HEADER_BYTES);
        for (at, section) in elf.sections.iter().enumerate() {
            let named = SYMBOL_SECTIONS.contains(&&*section.name) || debug && DEBUG_SECTIONS.contains(&&*section.name);
            // Of several sections of the same name, all who read the copy are to see the same one.
            let wanted = named && elf.find(&section.name).is_some_and(|first| ptr::eq(first, section));
            let mut copied = section.clone();
            if (wanted || at == elf.names) && section.kind() != SECTION_NOBITS {
                let (offset, size) = writer.add(section.offset(), section.size(), section.is_compressed())?;
                copied.move_to(offset, size);
            } else {
                copied.raw.fill(0);
            }
            headers.extend_from_slice(&copied.raw);
        }
        let bytes = writer.finish(&elf.header, &headers)?;
        if debug && !dwarf_check::is_bounded(&writer.file)? {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "debug information that takes too much to read"));
        }
        Ok(Self { file: writer.file, bytes, has_debug: debug, is_stripped: !debug && !elf.has(b".symtab") })
    }
}

/// A file under construction.
struct Writer<'a> {
    source: &'a File,
    file: File,
    end: u64,
}

impl<'a> Writer<'a> {
    fn new(source: &'a File) -> io::Result<Self> {
        let mut file = File::from(memfd_create("symbols", MemfdFlags::CLOEXEC)?);
        file.write_all(&[0; HEADER_BYTES])?;
        Ok(Self { source, file, end: HEADER_BYTES as u64 })
    }

    /// Appends a part of the source, and returns where it is now and how long.
    fn add(&mut self, offset: u64, size: u64, compressed: bool) -> io::Result<(u64, u64)> {
        self.end = self.end.next_multiple_of(16);
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut part = Part::new(self.source, offset, size);
        let written = if compressed {
            let (mut content, size) = part.inflate()?;
            self.append(&mut content, size)?
        } else {
            self.append(&mut part, size)?
        };
        let start = self.end;
        self.end += written;
        Ok((start, written))
    }

    /// Appends exactly `size` bytes.
    fn append(&mut self, content: &mut dyn Read, size: u64) -> io::Result<u64> {
        if size > limits::SYMBOL_BYTES_PER_FILE.saturating_sub(self.end) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match io::copy(&mut content.take(size), &mut self.file)? == size {
            true => Ok(size),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Writes the header, which now knows of no segments, and the section headers; returns the length of the file.
    fn finish(&mut self, header: &[u8; HEADER_BYTES], sections: &[u8]) -> io::Result<u64> {
        let table = self.end.next_multiple_of(16);
        let mut header = *header;
        header[32..40].fill(0);
        header[40..48].copy_from_slice(&table.to_le_bytes());
        header[56..58].fill(0);
        self.file.write_all_at(sections, table)?;
        self.file.write_all_at(&header, 0)?;
        Ok(table + sections.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::io::Write;

    use crate::process::elf::{COMPRESSED_ZLIB, COMPRESSED_ZSTD};

    fn memory_file(content: &[u8]) -> File {
        let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_copy_has_the_symbols_and_lines_and_no_code() {
        let source = File::open(env::current_exe().unwrap()).unwrap();
        let copy = SymbolFile::copy(&source, &Elf::read(&source).unwrap()).unwrap();
        let elf = Elf::read(&copy.file).unwrap();
        assert!(elf.has(b".symtab") && elf.has(b".debug_info") && !elf.has(b".text"));
        assert!(copy.has_debug && !copy.is_stripped && copy.bytes < source.metadata().unwrap().len());
    }

    #[test]
    fn a_file_cut_short_is_an_error() {
        let mut content = std::fs::read(env::current_exe().unwrap()).unwrap();
        let elf = Elf::read(&memory_file(&content)).unwrap();
        content.truncate(4096);
        assert!(SymbolFile::copy(&memory_file(&content), &elf).is_err());
    }

    #[test]
    fn a_compressed_section_is_inflated_to_the_size_it_claims_and_no_further() {
        let content = vec![b'x'; 100_000];
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&content).unwrap();
        let (zlib, zstd) = (encoder.finish().unwrap(), zstd::bulk::compress(&content, 1).unwrap());
        for (method, compressed) in [(COMPRESSED_ZLIB, zlib), (COMPRESSED_ZSTD, zstd)] {
            let packed = [&[u64::from(method), 5, 1].map(u64::to_le_bytes).concat()[..], &compressed].concat();
            let source = memory_file(&packed);
            let mut writer = Writer::new(&source).unwrap();
            assert_eq!(writer.add(0, packed.len() as u64, true).unwrap().1, 5);
            assert!(writer.add(4, packed.len() as u64, true).is_err());
        }
    }

    #[test]
    fn a_section_that_claims_too_much_is_refused_before_it_is_read() {
        let source = memory_file(b"x");
        let mut writer = Writer::new(&source).unwrap();
        assert_eq!(writer.add(0, u64::MAX, false).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
