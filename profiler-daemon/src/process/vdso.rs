//! The kernel's code for fast system calls, which every process has mapped: read from the daemon's own mapping.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::maps::{MappingKind, Mappings};

/// The module name of its frames.
pub const VDSO_MODULE: &str = "[vdso]";
/// The largest one that is read.
const VDSO_BYTES: u64 = 1 << 20;

/// A copy of the daemon's own, as a file.
pub(crate) fn read_vdso() -> io::Result<File> {
    let mappings = Mappings::parse(&fs::read("/proc/self/maps")?);
    let mapping = mappings.iter().find(|mapping| mapping.kind == MappingKind::Vdso).ok_or(io::ErrorKind::NotFound)?;
    let mut content = vec![0; (mapping.end.0 - mapping.start.0).min(VDSO_BYTES) as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut content, mapping.start.0)?;
    let mut file = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC)?);
    file.write_all(&content)?;
    Ok(file)
}
