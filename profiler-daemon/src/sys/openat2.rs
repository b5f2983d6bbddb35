//! Opening files that belong to another process without being led out of its root or into a device.
//!
//! Every file is first found with `O_PATH`, which has no side effects, looked at, and only then opened for reading.
//! So a device, a FIFO or a socket under the expected name is refused before anything could block or react. The look is
//! at what the kernel knows already: a file server that never answers is not asked.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, MemfdFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, makedev, memfd_create, open, openat2,
    statx,
};

/// How often a lookup that raced with a rename is tried again.
const LOOKUP_ATTEMPTS: usize = 4;
/// What the kernel knows about an open regular file.
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

/// The number of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// The major device number.
    pub major: u32,
    /// The minor device number.
    pub minor: u32,
}

/// Where a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The mount it was reached through; `None` on kernels that do not tell.
    pub mount_id: Option<u64>,
    /// Its file system; some file systems show another number than their mount has.
    pub device: Device,
}

/// A regular file that was found and is not open for reading yet.
#[derive(Debug)]
pub struct Found {
    path: OwnedFd,
    /// Where it is.
    pub place: Place,
}

impl Found {
    fn new(path: OwnedFd) -> io::Result<Self> {
        let known = look(&path)?;
        if FileType::from_raw_mode(known.stx_mode.into()) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { place: to_place(&known), path })
    }

    /// Opens it for reading, which may ask its file system.
    pub fn open(&self) -> io::Result<File> {
        let again = format!("/proc/self/fd/{}", self.path.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(open(again, flags, Mode::empty())?.into())
    }
}

/// Which links a lookup may follow where the kernel has to ask a file system for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// All, except that the last component must not be one.
    Followed,
    /// None; those the kernel remembers are still followed.
    Refused,
}

/// Finds the regular file at `path` below `root`; symbolic links are resolved as if `root` were `/`.
///
/// Names the kernel remembers are looked up first, which asks no file system.
pub fn find_regular_below(root: &OwnedFd, path: &Path, links: Links) -> io::Result<Found> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if let Ok(found) = openat2(root, path, flags, Mode::empty(), resolve | ResolveFlags::CACHED) {
        return Found::new(found);
    }
    let resolve = if links == Links::Refused { resolve | ResolveFlags::NO_SYMLINKS } else { resolve };
    for _ in 0..LOOKUP_ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => continue,
            found => return Found::new(found?),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Finds the regular file a link under `/proc/PID` leads to; `path` is chosen by the daemon, never by a target.
pub fn find_regular_link(path: &Path) -> io::Result<Found> {
    Found::new(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the regular file at a path, following links; `path` is chosen by the daemon, never by a target.
pub fn open_regular_link(path: &Path) -> io::Result<File> {
    find_regular_link(path)?.open()
}

/// The type of what a link under `/proc/PID` leads to; `path` is chosen by the daemon, never by a target.
pub fn read_type(path: &Path) -> io::Result<FileType> {
    let known = look(&open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?;
    Ok(FileType::from_raw_mode(known.stx_mode.into()))
}

/// Where an open file or directory is.
pub fn read_place(file: &impl AsFd) -> io::Result<Place> {
    Ok(to_place(&look(file)?))
}

/// The file system of files that exist in memory only.
pub fn memory_device() -> io::Result<Device> {
    Ok(read_place(&memfd_create("device", MemfdFlags::CLOEXEC)?)?.device)
}

/// Size, owner and identity of an open file.
pub fn read_facts(file: &impl AsFd) -> io::Result<FileFacts> {
    let known = look(file)?;
    let seconds = i128::from(known.stx_mtime.tv_sec);
    Ok(FileFacts {
        device: makedev(known.stx_dev_major, known.stx_dev_minor),
        inode: known.stx_ino,
        size_bytes: known.stx_size,
        modified_ns: seconds * 1_000_000_000 + i128::from(known.stx_mtime.tv_nsec),
        uid: known.stx_uid,
    })
}

/// When the content, name or owner of an open file was last changed, in nanoseconds since the epoch.
pub fn read_changed_ns(file: &impl AsFd) -> io::Result<i128> {
    let known = look(file)?;
    let ns = |seconds: i64, rest: u32| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = ns(known.stx_mtime.tv_sec, known.stx_mtime.tv_nsec);
    Ok(modified.max(ns(known.stx_ctime.tv_sec, known.stx_ctime.tv_nsec)))
}

/// What the kernel knows of a file without asking a server.
fn look(file: &impl AsFd) -> io::Result<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(statx(file, c"", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?)
}

fn to_place(known: &Statx) -> Place {
    let tells_mount = known.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let device = Device { major: known.stx_dev_major, minor: known.stx_dev_minor };
    Place { mount_id: tells_mount.then_some(known.stx_mnt_id), device }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::{env, fs, process};

    fn open_regular_below(root: &OwnedFd, path: &Path) -> io::Result<File> {
        find_regular_below(root, path, Links::Followed)?.open()
    }

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
