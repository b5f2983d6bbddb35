//! Debug information kept apart from the code: where it may lie, and whether it is meant for that code.
//!
//! In comes an executable that has none; out comes the file that has it. A build id names one file of the host. A link
//! (`.gnu_debuglink`) is a file name and a checksum, looked for beside the executable and below [`DEBUG_DIRECTORY`], first
//! on the host, then inside the root of the process. Names, paths and checksums were written by processes, and a checksum of
//! 32 bits is easy to meet: so a file of the host has to be root's, and one inside a process's root has to be of the same
//! owner and file system as the executable itself, whose author could have named the functions just as well.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;

use super::limits;
use crate::process::elf::{Elf, u32_at};
use crate::process::image::read_stat;
use crate::process::{Mapping, World};
use crate::profile::ProcessId;
use crate::sys::openat2::{self, FileFacts, read_facts};

/// Where distributions install the debug information they split off.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug";
/// The section that names the file with the debug information.
const LINK_SECTION: &[u8] = b".gnu_debuglink";
/// The longest link: a file name and a checksum.
const LINK_BYTES: u64 = 512;

/// Where an executable was seen.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The process that maps it.
    pub(super) process: ProcessId,
    /// The mapping that shows it.
    pub(super) mapping: &'a Mapping,
    /// Whom to ask for files.
    pub(super) world: &'a dyn World,
}

/// The file with the debug information of `source`, if there is one that can be believed. `facts` are of `source`.
pub(super) fn find(source: &File, elf: &Elf, facts: &FileFacts, origin: Option<&Origin<'_>>) -> Option<(File, Elf)> {
    find_by_build_id(source, elf).or_else(|| {
        let origin = origin?;
        let link = Link::read(source, elf)?;
        link.open(&link.paths(&origin.mapping.path), facts, origin)
    })
}

/// The id is all the file decides about the path.
fn find_by_build_id(source: &File, elf: &Elf) -> Option<(File, Elf)> {
    let id = elf.read_build_id(source)?;
    let (directory, name) = id.as_str().split_at(2);
    let path = Path::new(DEBUG_DIRECTORY).join(".build-id").join(directory).join(format!("{name}.debug"));
    let file = openat2::open_regular_link(&path).ok()?;
    let trusted = is_from_host(&read_facts(&file).ok()?);
    let (file, elf) = with_symbols(file)?;
    (trusted && elf.read_build_id(&file) == Some(id)).then_some((file, elf))
}

/// What an executable says about the file with its debug information.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    name: Vec<u8>,
    checksum: u32,
}

impl Link {
    fn read(source: &File, elf: &Elf) -> Option<Self> {
        Self::decode(&elf.find(LINK_SECTION)?.read(source, LINK_BYTES).ok()?)
    }

    /// The name ends with a zero and is filled up to a multiple of four bytes; the checksum follows.
    fn decode(content: &[u8]) -> Option<Self> {
        let length = content.iter().position(|byte| *byte == 0)?;
        let name = &content[..length];
        let checksum = content.get((length + 1).next_multiple_of(4)..)?.get(..4)?;
        let is_file_name = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
        is_file_name.then(|| Self { name: name.to_vec(), checksum: u32_at(checksum, 0) })
    }

    /// The paths it may mean, for an executable at a path.
    fn paths(&self, executable: &[u8]) -> Vec<PathBuf> {
        let Some(directory) = Path::new(OsStr::from_bytes(executable)).parent() else { return Vec::new() };
        let Ok(below) = directory.strip_prefix("/") else { return Vec::new() };
        let places = [directory.to_owned(), directory.join(".debug"), Path::new(DEBUG_DIRECTORY).join(below)];
        places.into_iter().map(|place| place.join(OsStr::from_bytes(&self.name))).collect()
    }

    fn open(&self, paths: &[PathBuf], facts: &FileFacts, origin: &Origin<'_>) -> Option<(File, Elf)> {
        let mut on_host = origin.world.open_each_below_root(process::id(), paths).unwrap_or_default();
        on_host.retain(|file| read_facts(file).is_ok_and(|found| is_from_host(&found)));
        let on_host = on_host.into_iter().find_map(|file| self.check(file));
        on_host.or_else(|| files_of_process(paths, facts, origin).into_iter().find_map(|file| self.check(file)))
    }

    fn check(&self, file: File) -> Option<(File, Elf)> {
        let (file, elf) = with_symbols(file)?;
        (read_checksum(&file).ok()? == self.checksum).then_some((file, elf))
    }
}

/// Opens those files in the root of the process that are as trustworthy as the executable.
///
/// The start time is compared after opening, so that a pid given to another process meanwhile is noticed.
fn files_of_process(paths: &[PathBuf], facts: &FileFacts, origin: &Origin<'_>) -> Vec<File> {
    let ProcessId { pid, start_ns } = origin.process;
    let mut files = origin.world.open_each_below_root(pid, paths).unwrap_or_default();
    let is_same = read_stat(pid, origin.world).is_ok_and(|stat| stat.started_at(start_ns));
    files.retain(|file| is_same && read_facts(file).is_ok_and(|found| is_as_trusted(&found, facts)));
    files
}

/// Whether a file of the host was installed by its administrator.
fn is_from_host(found: &FileFacts) -> bool {
    found.uid == 0
}

/// Whether whoever wrote the file could have written the executable as well.
fn is_as_trusted(found: &FileFacts, executable: &FileFacts) -> bool {
    (found.uid, found.device) == (executable.uid, executable.device)
}

/// Files without symbols of their own are of no use: the executable's symbols are at hand already.
fn with_symbols(file: File) -> Option<(File, Elf)> {
    let elf = Elf::read(&file).ok()?;
    elf.has(b".symtab").then_some((file, elf))
}

/// The checksum of the whole file, which is an error if the file is too large to be used.
fn read_checksum(file: &File) -> io::Result<u32> {
    if read_facts(file)?.size_bytes > limits::DEBUG_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = file.take(limits::DEBUG_FILE_BYTES);
    let (mut checksum, mut chunk) = (crc32fast::Hasher::new(), vec![0; 256 << 10]);
    loop {
        match content.read(&mut chunk)? {
            0 => return Ok(checksum.finalize()),
            read => checksum.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(uid: u32, device: u64) -> FileFacts {
        FileFacts { device, inode: 1, size_bytes: 1, modified_ns: 0, uid }
    }

    #[test]
    fn a_link_is_a_file_name_and_a_checksum() {
        let link = |name: &str| Link { name: name.into(), checksum: 0x0403_0201 };
        for (content, expected) in [
            (&b"abc\0\x01\x02\x03\x04"[..], Some(link("abc"))),
            (b"a.debug\0\x01\x02\x03\x04more", Some(link("a.debug"))),
            (b"ab\0\xff\x01\x02\x03\x04", Some(link("ab"))),
            (b"abc\0\x01\x02\x03", None),
            (b"abc", None),
            (b"", None),
            (b"\0\0\0\0\x01\x02\x03\x04", None),
            (b"..\0\0\x01\x02\x03\x04", None),
            (b"/etc/passwd\0\x01\x02\x03\x04", None),
        ] {
            assert_eq!(Link::decode(content), expected, "{content:?}");
        }
    }

    #[test]
    fn a_link_is_looked_for_beside_the_executable_and_below_the_debug_directory() {
        let link = Link { name: b"a.debug".to_vec(), checksum: 0 };
        let expected = ["/opt/x/a.debug", "/opt/x/.debug/a.debug", "/usr/lib/debug/opt/x/a.debug"];
        assert_eq!(link.paths(b"/opt/x/a"), expected.map(PathBuf::from));
        assert!(link.paths(b"a").is_empty() && link.paths(b"").is_empty());
    }

    #[test]
    fn only_who_could_have_written_the_executable_is_believed() {
        assert!(is_from_host(&facts(0, 1)) && !is_from_host(&facts(1000, 1)));
        assert!(is_as_trusted(&facts(1000, 1), &facts(1000, 1)));
        assert!(!is_as_trusted(&facts(1000, 1), &facts(0, 1)));
        assert!(!is_as_trusted(&facts(0, 2), &facts(0, 1)), "a container's root is not the host's");
    }
}
