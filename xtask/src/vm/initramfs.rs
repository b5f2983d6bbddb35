//! A root file system as the kernel unpacks it at boot: a cpio archive in the `newc` form, written without privileges.
use crate::command::Command;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What an entry is, in the bits of `st_mode`.
#[derive(Clone, Copy)]
enum Mode {
    Directory = 0o040_755,
    Program = 0o100_755,
    Console = 0o020_600,
}

/// The archive while it is put together.
#[derive(Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    known: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// An archive with the console, on which the first process talks.
    pub(crate) fn new() -> Self {
        let mut archive = Self::default();
        archive.add_parents(Path::new("/dev/console"));
        archive.entry("dev/console", Mode::Console, &[]);
        archive
    }

    /// Adds an executable file and the folders above it. A path that is there already is left as it is.
    pub(crate) fn add_program(&mut self, path: &str, content: &[u8]) {
        if self.known.insert(path.into()) {
            self.add_parents(Path::new(path));
            self.entry(path.trim_start_matches('/'), Mode::Program, content);
        }
    }

    /// Adds an executable of this machine as `path`, with the libraries it is linked to.
    pub(crate) fn add_program_with_libraries(&mut self, path: &str, file: &Path) -> Result<()> {
        self.add_program(path, &read(file)?);
        let listed = Command::new("ldd").arg(file).read().unwrap_or_default();
        for library in libraries(&listed) {
            self.add_program(library, &read(Path::new(library))?);
        }
        Ok(())
    }

    /// Ends the archive and writes it to `file`.
    pub(crate) fn write(mut self, file: &Path) -> Result<()> {
        self.entry("TRAILER!!!", Mode::Program, &[]);
        std::fs::write(file, &self.bytes).with_context(|| format!("failed to write `{}`", file.display()))
    }

    fn add_parents(&mut self, path: &Path) {
        let parents: Vec<_> =
            path.ancestors().skip(1).filter(|dir| *dir != Path::new("/")).map(Path::to_owned).collect();
        for dir in parents.into_iter().rev() {
            if self.known.insert(dir.clone()) {
                self.entry(dir.to_string_lossy().trim_start_matches('/'), Mode::Directory, &[]);
            }
        }
    }

    /// Header of 13 numbers of 8 hexadecimal digits, then name and content, each padded to 4 bytes.
    fn entry(&mut self, name: &str, mode: Mode, content: &[u8]) {
        let (major, minor) = if matches!(mode, Mode::Console) { (5, 1) } else { (0, 0) };
        let size = u32::try_from(content.len()).expect("files of an initramfs are smaller than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("paths are short");
        let inode = u32::try_from(self.bytes.len() / 4 + 1).expect("an initramfs is smaller than 16 GiB");
        let numbers = [inode, mode as u32, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}

/// The paths in what `ldd` prints: `NAME => PATH (ADDRESS)` and `PATH (ADDRESS)`.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        path.split_whitespace().next().filter(|path| path.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_absolute_paths_ldd_lists() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld-linux.so.2 (0x7f)\n";
        assert_eq!(libraries(text).collect::<Vec<_>>(), ["/lib/x/libc.so.6", "/lib64/ld-linux.so.2"]);
        assert_eq!(libraries("\tnot a dynamic executable\n").count(), 0);
    }

    #[test]
    fn every_entry_begins_on_four_bytes_and_parents_come_first_and_once() {
        let mut archive = Initramfs::new();
        archive.add_program("/a/b/one", b"12345");
        archive.add_program("/a/b/two", b"");
        archive.add_program("/a/b/one", b"again");
        let text = String::from_utf8_lossy(&archive.bytes).into_owned();
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        let names: Vec<_> = starts.iter().map(|at| text[at + 110..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["dev", "dev/console", "a", "a/b", "a/b/one", "a/b/two"]);
    }
}
