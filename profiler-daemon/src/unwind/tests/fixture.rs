//! Made-up unwind information, and files that hold it.

use std::fs::File;
use std::io::Write;

use rustix::fs::{MemfdFlags, memfd_create};

use super::super::linkage::Linkage;
use super::super::machine::Machine;
use super::super::source::{Section, Source};

pub(super) const X86_64: u16 = 62;
pub(super) const AARCH64: u16 = 183;
/// Where made-up code begins.
pub(super) const CODE: u64 = 0x1000;

/// What every function of x86_64 begins with: the CFA is `rsp + 8`, the return address below it.
pub(super) const CALLED: [u8; 5] = [0x0c, 7, 8, 0x90, 1];
/// The same on aarch64: the CFA is `sp`.
pub(super) const CALLED_AARCH64: [u8; 3] = [0x0c, 31, 0];

/// A section of unwind information under construction.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) bytes: Vec<u8>,
    common_at: usize,
    augmented: bool,
    /// Whether it is a `.debug_frame`.
    for_debuggers: bool,
}

impl Described {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), common_at: 0, augmented: false, for_debuggers: false }
    }

    pub(super) fn for_debuggers() -> Self {
        Self { for_debuggers: true, ..Self::new() }
    }

    /// A section with one common part of x86_64.
    pub(super) fn x86_64() -> Self {
        Self::new().common("", 16, &CALLED)
    }

    /// A section with one common part of aarch64.
    pub(super) fn aarch64() -> Self {
        Self::new().common("zR", 30, &CALLED_AARCH64)
    }

    /// The common part of the functions that follow.
    pub(super) fn common(mut self, augmentation: &str, return_address: u8, instructions: &[u8]) -> Self {
        self.common_at = self.bytes.len();
        self.augmented = augmentation.starts_with('z');
        let mut content = if self.for_debuggers { vec![0xff; 4] } else { vec![0; 4] };
        content.push(1);
        content.extend(augmentation.bytes().chain([0, 1, 0x78, return_address]));
        match augmentation {
            "zR" => content.extend([1, 0]),
            "zS" => content.push(0),
            _ => {}
        }
        content.extend(instructions);
        self.entry(&content)
    }

    /// A function at `start`.
    pub(super) fn function(self, start: u64, length: u64, instructions: &[u8]) -> Self {
        let reference = if self.for_debuggers { self.common_at } else { self.bytes.len() + 4 - self.common_at };
        let mut content = (reference as u32).to_le_bytes().to_vec();
        content.extend(start.to_le_bytes());
        content.extend(length.to_le_bytes());
        if self.augmented {
            content.push(0);
        }
        content.extend(instructions);
        self.entry(&content)
    }

    fn entry(mut self, content: &[u8]) -> Self {
        self.bytes.extend((content.len() as u32).to_le_bytes());
        self.bytes.extend(content);
        self
    }

    /// A source that has this section, and code from [`CODE`] on.
    pub(super) fn source(self, machine: u16) -> Source {
        let for_debuggers = self.for_debuggers;
        let section = Some(Section { address: 0x200, bytes: self.bytes });
        let (eh_frame, debug_frame) = if for_debuggers { (None, section) } else { (section, None) };
        Source {
            machine: Machine::find(machine).unwrap(),
            entry: 0,
            is_program: false,
            code: std::iter::once(CODE..1 << 40).collect(),
            linkage: Linkage::default(),
            eh_frame,
            debug_frame,
        }
    }
}

/// A file in memory.
pub(super) fn memory_file(content: &[u8]) -> File {
    let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(content).unwrap();
    file
}

/// A section of a made-up file.
pub(super) struct FileSection<'a> {
    pub(super) name: &'a str,
    pub(super) address: u64,
    pub(super) content: &'a [u8],
    pub(super) compressed: bool,
}

impl<'a> FileSection<'a> {
    pub(super) fn new(name: &'a str, address: u64, content: &'a [u8]) -> Self {
        Self { name, address, content, compressed: false }
    }
}

/// An ELF file with these sections and 64 KiB of code from [`CODE`] on.
pub(super) fn elf_file(machine: u16, entry: u64, sections: &[FileSection<'_>]) -> Vec<u8> {
    let count = sections.len() as u16 + 1;
    let (mut file, mut headers, mut names) = (vec![0; 64 + 56], Vec::new(), Vec::new());
    for section in sections {
        headers.extend(section_header(names.len(), section, file.len()));
        names.extend(section.name.bytes().chain([0]));
        file.extend(section.content);
    }
    let listed = FileSection::new("", 0, &names);
    headers.extend(section_header(names.len() - 1, &listed, file.len()));
    file.extend(&names);
    let table = file.len() as u64;
    file.extend(headers);
    file[..64].copy_from_slice(&file_header(machine, entry, table, count));
    file[64..120].copy_from_slice(&code_segment());
    file
}

fn file_header(machine: u16, entry: u64, table: u64, sections: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend([3, machine].map(u16::to_le_bytes).concat());
    header.extend(1u32.to_le_bytes());
    header.extend([entry, 64, table].map(u64::to_le_bytes).concat());
    header.extend(0u32.to_le_bytes());
    header.extend([64, 56, 1, 64, sections, sections - 1].map(u16::to_le_bytes).concat());
    header
}

fn code_segment() -> Vec<u8> {
    let mut segment = [1u32, 5].map(u32::to_le_bytes).concat();
    segment.extend([0, CODE, CODE, 0x1_0000, 0x1_0000, 0x1000].map(u64::to_le_bytes).concat());
    segment
}

fn section_header(name: usize, section: &FileSection<'_>, offset: usize) -> Vec<u8> {
    let flags = if section.compressed { 0x800 } else { 0 };
    let mut header = [name as u32, 1].map(u32::to_le_bytes).concat();
    header.extend([flags, section.address, offset as u64, section.content.len() as u64].map(u64::to_le_bytes).concat());
    header.resize(64, 0);
    header
}
