//! What one file says about its frames: everything a table is made from.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian, Pointer};

use super::UnwindError;
use super::builder::Builder;
use super::key::TableKey;
use super::limits;
use super::linkage::Linkage;
use super::machine::Machine;
use super::table::Table;
use crate::process::elf::{self, Elf, HEADER_BYTES, Part};

/// Bytes read of the index of unwind information, which begins by saying where that is.
const INDEX_BYTES: u64 = 16;

/// The parts of a file that a table is made from, read and bounded.
#[derive(Debug)]
pub struct Source {
    pub(super) machine: &'static Machine,
    /// Where the first instruction is, if that has no caller.
    pub(super) entry: u64,
    /// Whether the file is surely a program, and `entry` not a linker's guess.
    pub(super) is_program: bool,
    pub(super) code: Vec<Range<u64>>,
    pub(super) linkage: Linkage,
    pub(super) eh_frame: Option<Section>,
    pub(super) debug_frame: Option<Section>,
}

/// The content of a section and its address.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

impl Source {
    /// Reads what a file says about its frames.
    pub fn open(file: &File) -> Result<Self, UnwindError> {
        let machine = read_machine(file)?;
        let elf = Elf::read(file).or_else(|_| Elf::read_loaded(file)).map_err(UnwindError::Malformed)?;
        let (eh_frame, debug_frame) = (read_eh_frame(file, &elf)?, read_debug_frame(file, &elf));
        let debug_frame = if eh_frame.is_some() { debug_frame.unwrap_or_default() } else { debug_frame? };
        if eh_frame.is_none() && debug_frame.is_none() {
            return Err(UnwindError::NoUnwindInformation);
        }
        Ok(Self {
            machine,
            entry: elf.entry(),
            is_program: elf.is_program(),
            code: elf.segments.code().filter(|range| range.end <= limits::ADDRESS_END).collect(),
            linkage: Linkage::read(&elf),
            eh_frame,
            debug_frame,
        })
    }

    /// The name of everything the table is made from.
    pub fn key(&self) -> TableKey {
        TableKey::of(self)
    }

    /// The memory it takes, in bytes, which is what was read of unwind information.
    pub fn bytes(&self) -> u64 {
        [&self.eh_frame, &self.debug_frame].into_iter().flatten().map(|section| section.bytes.len() as u64).sum()
    }

    /// Makes the table. What cannot be understood is left out and counted.
    pub fn build(&self) -> Table {
        Builder::new(self).build()
    }
}

/// The machine the file is for, if it is an ELF file for one that is known.
fn read_machine(file: &File) -> Result<&'static Machine, UnwindError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    Part::new(file, 0, HEADER_BYTES as u64).read_to_end(&mut header)?;
    if header.len() < HEADER_BYTES || !header.starts_with(b"\x7fELF") {
        return Err(UnwindError::NotElf);
    }
    if header[4..6] != [2, 1] {
        return Err(UnwindError::Machine(0));
    }
    let number = u16::from_le_bytes([header[18], header[19]]);
    Machine::find(number).ok_or(UnwindError::Machine(number))
}

fn read_eh_frame(file: &File, elf: &Elf) -> Result<Option<Section>, UnwindError> {
    if let Some(section) = elf.find(b".eh_frame") {
        return read_section(file, section);
    }
    let Some((address, part)) = find_eh_frame(file, elf) else { return Ok(None) };
    let part = Part::new(file, part.start, part.end - part.start);
    let bytes = elf::read_bounded(part, limits::SECTION_BYTES).map_err(too_large)?;
    Ok(Some(Section { address, bytes }))
}

/// Where the unwind information begins by what the file's index says; it ends with its segment, or before.
fn find_eh_frame(file: &File, elf: &Elf) -> Option<(u64, Range<u64>)> {
    let offset = elf.frame_header?;
    let mut index = [0; INDEX_BYTES as usize];
    file.read_exact_at(&mut index, offset.0).ok()?;
    let bases = BaseAddresses::default().set_eh_frame_hdr(elf.segments.address_of(offset)?);
    let Pointer::Direct(address) = EhFrameHdr::new(&index, LittleEndian).parse(&bases, 8).ok()?.eh_frame_ptr() else {
        return None;
    };
    Some((address, elf.segments.part_at(address)?))
}

fn read_debug_frame(file: &File, elf: &Elf) -> Result<Option<Section>, UnwindError> {
    elf.find(b".debug_frame").map_or(Ok(None), |section| read_section(file, section))
}

fn read_section(file: &File, section: &elf::Section) -> Result<Option<Section>, UnwindError> {
    let bytes = section.read(file, limits::SECTION_BYTES).map_err(too_large)?;
    Ok(Some(Section { address: section.address(), bytes }))
}

fn too_large(error: io::Error) -> UnwindError {
    if error.kind() == io::ErrorKind::FileTooLarge { UnwindError::TooLarge } else { error.into() }
}
