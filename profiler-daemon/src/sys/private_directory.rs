//! A directory that nobody else can write to: where the daemon keeps files that it will believe in a later run.
//!
//! Every operation goes through the open directory, so that renaming it, or a link in its place, changes nothing.

use std::ffi::CStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timestamps, fstat, futimens, mkdirat, open, openat, renameat, statat,
    unlinkat,
};

/// What the names of files begin with that are not whole yet.
const UNFINISHED: &str = ".new-";
/// The age at which an unfinished file was left by a process that ended.
const UNFINISHED_FOR: Duration = Duration::from_secs(3600);
/// The least a file counts where room is limited, in bytes, so that many small ones are bounded too.
pub const FILE_BYTES: u64 = 4096;

/// An open directory that belongs to the daemon's user and that no other user may write to.
#[derive(Debug)]
pub struct PrivateDirectory(OwnedFd);

/// One file of the directory.
struct Entry {
    name: std::ffi::CString,
    /// What it counts.
    bytes: u64,
    used: SystemTime,
}

impl PrivateDirectory {
    /// Opens the directory at a path chosen by the user, and makes it first if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::check(open(path, directory_flags(), Mode::empty())?)
    }

    /// Opens a directory inside of it, and makes it first if there is none.
    pub fn open_below(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {
                Self::check(openat(&self.0, name, directory_flags(), Mode::empty())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file that was kept, and notes that it was used.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        let known = fstat(&file)?;
        if FileType::from_raw_mode(known.st_mode) != FileType::RegularFile || !is_own(&known) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a file of the daemon's own"));
        }
        // Without it the file is only forgotten earlier than it could be.
        let _ = futimens(&file, &NOW);
        Ok(file)
    }

    /// Keeps a file that `write` fills; nothing is kept if it fails. One of the same name is replaced when this one is whole.
    pub fn keep_file<T>(&self, name: &str, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let unfinished = format!("{UNFINISHED}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, &unfinished, flags, Mode::RUSR | Mode::WUSR)?);
        let written = write(&mut file).and_then(|value| {
            renameat(&self.0, &unfinished, &self.0, name)?;
            Ok(value)
        });
        if written.is_err() {
            let _ = unlinkat(&self.0, &unfinished, AtFlags::empty());
        }
        written
    }

    /// Forgets a file.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes the files not used for the longest time until the rest takes no more than `limit_bytes`, and what was
    /// left unfinished long ago. Returns what the rest takes.
    pub fn trim(&self, limit_bytes: u64) -> io::Result<u64> {
        let mut entries = self.entries()?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut total = 0u64;
        for entry in entries {
            let with_it = total.saturating_add(entry.bytes);
            if with_it <= limit_bytes && !entry.is_left_over() {
                total = with_it;
                continue;
            }
            match unlinkat(&self.0, &entry.name, AtFlags::empty()) {
                // Another daemon may make room as well.
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for listed in Dir::read_from(&self.0)? {
            entries.extend(self.read_entry(listed?.file_name()));
        }
        Ok(entries)
    }

    /// `None` for what is no file, or is gone by now.
    fn read_entry(&self, name: &CStr) -> Option<Entry> {
        let known = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = FileType::from_raw_mode(known.st_mode) == FileType::RegularFile;
        let used = UNIX_EPOCH + Duration::from_secs(u64::try_from(known.st_mtime).ok()?);
        let used = used + Duration::from_nanos(u64::from(known.st_mtime_nsec as u32));
        is_file.then(|| Entry { name: name.to_owned(), bytes: counted_bytes(known.st_size.unsigned_abs()), used })
    }

    fn check(directory: OwnedFd) -> io::Result<Self> {
        let known = fstat(&directory)?;
        let others_write = Mode::from_raw_mode(known.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        if others_write || !is_own(&known) {
            let problem = "another user owns it or may write to it; what is kept there could not be believed";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        Ok(Self(directory))
    }
}

impl Entry {
    fn is_left_over(&self) -> bool {
        let unfinished = self.name.to_bytes().starts_with(UNFINISHED.as_bytes());
        unfinished && self.used.elapsed().is_ok_and(|age| age > UNFINISHED_FOR)
    }
}

const NOW: Timestamps = {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    Timestamps { last_access: now, last_modification: now }
};

/// What a file of a size counts where room is limited.
pub fn counted_bytes(size_bytes: u64) -> u64 {
    size_bytes.max(FILE_BYTES)
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_own(known: &Stat) -> bool {
    known.st_uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn kept(directory: &PrivateDirectory, name: &str) -> io::Result<String> {
        let mut text = String::new();
        directory.open_file(name)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_kept_is_found_again_and_what_failed_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        let inner = PrivateDirectory::open(&path).unwrap().open_below("inner").unwrap();
        inner.keep_file("x", |file| file.write_all(b"old")).unwrap();
        inner.keep_file("x", |file| file.write_all(b"new")).unwrap();
        let failed = inner.keep_file("x", |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::ErrorKind::TimedOut.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(kept(&inner, "x").unwrap(), "new");
        assert_eq!(fs::read_dir(path.join("inner")).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        inner.remove_file("x").unwrap();
        assert!(kept(&inner, "x").is_err());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("shared");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(PrivateDirectory::open(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        symlink(scratch.path(), scratch.path().join("link")).unwrap();
        assert!(PrivateDirectory::open(&scratch.path().join("link")).is_err());
    }

    #[test]
    fn links_in_the_place_of_files_are_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::open(scratch.path()).unwrap();
        symlink("/etc/hostname", scratch.path().join("x")).unwrap();
        assert!(directory.open_file("x").is_err());
    }

    #[test]
    fn the_files_used_last_stay_when_room_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::open(scratch.path()).unwrap();
        for (name, age) in [("old", 30), ("used", 20), ("young", 10), (".new-1-1", 7200)] {
            directory.keep_file(name, |file| file.write_all(&[0; 100])).unwrap();
            let file = File::options().write(true).open(scratch.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        directory.open_file("used").unwrap();
        assert_eq!(directory.trim(2 * FILE_BYTES).unwrap(), 2 * FILE_BYTES);
        let mut left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["used", "young"]);
    }
}
