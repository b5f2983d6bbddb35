//! Opening files that belong to another process without being led out of its root or into a device.
//!
//! Every file is first opened with `O_PATH`, which has no side effects, looked at, and only then opened for reading.
//! So a device, a FIFO or a socket under the expected name is refused before anything could block or react.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat2};

/// How often a lookup that raced with a rename is tried again.
const LOOKUP_ATTEMPTS: usize = 4;
/// The magic number of FUSE file systems: a process of the target could answer reads, or never answer them.
const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;

/// What `fstat` tells about an open regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileFacts {
    /// The device number.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// The length in bytes.
    pub size_bytes: u64,
    /// The last change of the content, in nanoseconds since the epoch.
    pub modified_ns: i128,
    /// The owner.
    pub uid: u32,
}

/// Opens a directory as the root of later lookups; `path` is chosen by the daemon, never by a target.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens the regular file at `path` below `root`; symbolic links are resolved as if `root` were `/`,
/// except that the last component must not be one.
pub fn open_regular_below(root: &OwnedFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..LOOKUP_ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => continue,
            found => return reopen_regular(&found?),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Opens the regular file a link under `/proc/PID` leads to; `path` is chosen by the daemon, never by a target.
pub fn open_regular_link(path: &Path) -> io::Result<File> {
    reopen_regular(&open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Size, owner and identity of an open file.
pub fn read_facts(file: &impl AsFd) -> io::Result<FileFacts> {
    let stat = fstat(file)?;
    let seconds = i128::from(stat.st_mtime);
    Ok(FileFacts {
        device: stat.st_dev,
        inode: stat.st_ino,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: seconds * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        uid: stat.st_uid,
    })
}

fn reopen_regular(found: &OwnedFd) -> io::Result<File> {
    let kind = FileType::from_raw_mode(fstat(found)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if fstatfs(found)?.f_type == FUSE_SUPER_MAGIC {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "a file system in user space"));
    }
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(again, flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::{env, fs, process};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("profilerd-openat2-{}-{name}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn an_absolute_link_inside_the_root_does_not_lead_out_of_it() {
        let scratch = Scratch::new("absolute");
        fs::create_dir(scratch.0.join("etc")).unwrap();
        fs::write(scratch.0.join("etc/passwd"), "inside").unwrap();
        symlink("/etc", scratch.0.join("link")).unwrap();
        let root = open_directory(&scratch.0).unwrap();
        let mut text = String::new();
        open_regular_below(&root, Path::new("/link/passwd")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert!(open_regular_below(&root, Path::new("/../../etc/hosts")).is_err());
    }

    #[test]
    fn links_directories_and_fifos_are_refused_without_blocking() {
        let scratch = Scratch::new("kinds");
        fs::write(scratch.0.join("file"), "x").unwrap();
        symlink("file", scratch.0.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, scratch.0.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = open_directory(&scratch.0).unwrap();
        assert!(open_regular_below(&root, Path::new("file")).is_ok());
        for name in ["link", "fifo", "."] {
            assert!(open_regular_below(&root, Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_facts_of_a_file_change_with_its_content() {
        let scratch = Scratch::new("facts");
        let path = scratch.0.join("file");
        fs::write(&path, "abc").unwrap();
        let before = read_facts(&open_regular_link(&path).unwrap()).unwrap();
        fs::write(&path, "abcdef").unwrap();
        let after = read_facts(&open_regular_link(&path).unwrap()).unwrap();
        assert_eq!((before.size_bytes, after.size_bytes, before.inode), (3, 6, after.inode));
    }
}
