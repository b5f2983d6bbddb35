//! The open file of a perf map: whose it must be, and how much of it is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::process::image::read_stat;
use crate::process::{Image, World};
use crate::sys::openat2::{FileFacts, read_facts};

/// A perf map held open, so that it can still be read when its process has ended.
#[derive(Debug)]
pub(super) struct MapFile(File);

impl MapFile {
    /// Opens the file at the path in the root of the image's process, if it can be trusted to be that process's map.
    ///
    /// The start time is compared after opening, so that a pid given to another process meanwhile is noticed.
    pub(super) fn open(path: &Path, image: &Image, world: &dyn World) -> Option<Self> {
        let process = image.id.process;
        let file = world.open_below_root(process.pid, path).ok()?;
        let facts = read_facts(&file).ok()?;
        let same = read_stat(process.pid, world).is_ok_and(|stat| stat.started_at(process.start_ns));
        (same && is_owner_trusted(facts.uid, image.uid)).then_some(Self(file))
    }

    /// Size and time of change now.
    pub(super) fn facts(&self) -> io::Result<FileFacts> {
        read_facts(&self.0)
    }

    /// The content, from the beginning up to `limit` bytes.
    pub(super) fn read(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut chunk = vec![0; 256 << 10];
        while text.len() < limit {
            match self.0.read_at(&mut chunk, text.len() as u64)? {
                0 => break,
                read => text.extend_from_slice(&chunk[..read.min(limit - text.len())]),
            }
        }
        Ok(text)
    }
}

/// `/tmp` belongs to everybody: only a file of the process's own user, or of root, speaks for the process.
fn is_owner_trusted(owner: u32, process_uid: u32) -> bool {
    owner == process_uid || owner == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_speak_for_a_process() {
        assert!(is_owner_trusted(1000, 1000) && is_owner_trusted(0, 1000));
        assert!(!is_owner_trusted(1001, 1000) && !is_owner_trusted(1000, 0));
    }
}
