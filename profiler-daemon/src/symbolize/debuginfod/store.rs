//! Files of debug information on disk, by build id.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::process::elf::{BuildId, Elf, broken};
use crate::sys::private_directory::PrivateDirectory;

/// The directory of these files, below the one the user named.
const DIRECTORY: &str = "debuginfo";

/// The files kept, shared by who looks for them and who fetches them.
#[derive(Debug, Clone)]
pub(super) struct Store {
    directory: Arc<PrivateDirectory>,
    limit_bytes: u64,
}

impl Store {
    pub(super) fn open(directory: &PrivateDirectory, limit_bytes: u64) -> io::Result<Self> {
        let directory = directory.open_below(DIRECTORY)?;
        Ok(Self { directory: Arc::new(directory), limit_bytes })
    }

    /// The file for a build id; one that became another is removed.
    pub(super) fn find(&self, id: &BuildId) -> Option<(File, Elf)> {
        let file = self.directory.open_file(&name_of(id)).ok()?;
        match check(&file, id) {
            Ok(elf) => Some((file, elf)),
            Err(_) => {
                // If it cannot be removed it is refused again.
                let _ = self.directory.remove_file(&name_of(id));
                None
            }
        }
    }

    /// Keeps the file that `write` fills, if it turns out to be the one for the build id, and makes room for it.
    pub(super) fn keep(&self, id: &BuildId, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        self.directory.keep_file(&name_of(id), |file| {
            write(file)?;
            check(file, id).map(drop)
        })?;
        self.directory.trim(self.limit_bytes).map(drop)
    }
}

fn name_of(id: &BuildId) -> String {
    format!("{}.debug", id.as_str())
}

fn check(file: &File, id: &BuildId) -> io::Result<Elf> {
    let elf = Elf::read(file).map_err(|_| broken("no ELF file"))?;
    if elf.read_build_id(file).as_ref() != Some(id) {
        return Err(broken("a file of another build id"));
    }
    if elf.has(b".symtab") { Ok(elf) } else { Err(broken("a file without symbols")) }
}
