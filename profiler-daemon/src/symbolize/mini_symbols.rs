//! The names of all functions, compressed and put into the stripped executable itself (`.gnu_debugdata`), as Fedora does.
//!
//! In comes the executable, written by anyone; out come symbols without lines, unpacked within bounds.

use std::fs::File;
use std::io::{self, Read};

use lzma_rust2::XzReader;
use rustix::fs::{MemfdFlags, memfd_create};

use super::limits;
use super::symbol_file::SymbolFile;
use crate::process::elf::Elf;

const SECTION: &[u8] = b".gnu_debugdata";

/// The symbols, if there are any.
pub(super) fn read(file: &File, elf: &Elf) -> Option<SymbolFile> {
    let section = elf.find(SECTION).filter(|section| !section.is_compressed())?;
    let unpacked = unpack(section.open(file)).ok()?;
    let elf = Elf::read(&unpacked).ok()?;
    let symbols = SymbolFile::copy(&unpacked, &elf).ok()?;
    (!symbols.is_stripped).then_some(symbols)
}

fn unpack(packed: impl Read) -> io::Result<File> {
    let mut file = File::from(memfd_create("symbols", MemfdFlags::CLOEXEC)?);
    let plain = XzReader::new_mem_limit(packed, false, limits::UNPACKING_KIB);
    match io::copy(&mut plain.take(limits::MINI_SYMBOLS_BYTES + 1), &mut file)? {
        0..=limits::MINI_SYMBOLS_BYTES => Ok(file),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `functions`, packed by xz.
    const PACKED: [u8; 68] = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16, 0x00,
        0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x08, 0x66, 0x75, 0x6e, 0x63, 0x74, 0x69, 0x6f, 0x6e, 0x73,
        0x00, 0x00, 0x00, 0x00, 0x2b, 0x8e, 0xbd, 0xad, 0x00, 0x57, 0xea, 0x83, 0x00, 0x01, 0x21, 0x09, 0x6c, 0x18,
        0xc5, 0xd5, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    #[test]
    fn what_was_packed_is_unpacked_and_what_is_damaged_is_refused() {
        assert_eq!(unpack(&PACKED[..]).unwrap().metadata().unwrap().len(), 9);
        for at in 0..PACKED.len() {
            assert!(unpack(&PACKED[..at]).is_err(), "cut at {at}");
            let mut damaged = PACKED;
            damaged[at] ^= 0x55;
            assert!(unpack(&damaged[..]).is_err(), "damaged at {at}");
        }
    }
}
