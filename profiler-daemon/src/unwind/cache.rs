//! Tables on disk, so that a daemon that starts again does not make them again.
//!
//! One file per table, named by its key, in a directory that only the daemon may write to. A file that is not exactly what
//! was stored is deleted. Files used least recently make room for new ones. Where nothing can be written the daemon works
//! without, and says so once.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fstat, futimens, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{geteuid, getpid};

use super::key::TableKey;
use super::limits;
use super::source::Source;
use super::stored::{decode_table, encode_table};
use super::table::Table;

/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a directory is not used for tables.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Others could put tables there.
    #[error("`{path}` is no place for unwind tables: {problem}")]
    Unsafe {
        /// The directory as given.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Tables on disk.
#[derive(Debug)]
pub struct TableCache {
    /// None if there is no place for tables.
    directory: Option<OwnedFd>,
    limit_bytes: u64,
    /// What the files take.
    used_bytes: Mutex<u64>,
    /// Names temporary files.
    stores: AtomicU64,
    warned: AtomicBool,
}

/// A file of the directory.
struct Stored {
    name: Vec<u8>,
    used: (i64, i64),
    bytes: u64,
}

impl TableCache {
    /// Keeps tables in a directory, which is made if it does not exist; together they take at most `limit_bytes`.
    /// An error if others could write there; a cache that keeps nothing if the directory cannot be had.
    pub fn open(path: &Path, limit_bytes: u64) -> Result<Self, CacheError> {
        let mut cache = Self { limit_bytes, ..Self::disabled() };
        match create_and_open(path) {
            Ok(directory) => {
                check_directory(path, &directory)?;
                cache.directory = Some(directory);
                *cache.lock_used() = cache.list().iter().map(|stored| stored.bytes).sum();
            }
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(refuse(path, "it is no directory")),
            Err(error) => cache.warn(&error.into()),
        }
        Ok(cache)
    }

    /// A cache that keeps nothing.
    pub fn disabled() -> Self {
        Self {
            directory: None,
            limit_bytes: 0,
            used_bytes: Mutex::new(0),
            stores: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// The table of a source, from disk or made now.
    pub fn find_or_build(&self, source: &Source) -> Table {
        let key = source.key();
        self.load(&key).unwrap_or_else(|| {
            let table = source.build();
            self.store(&key, &table);
            table
        })
    }

    /// The table of this key, if it was stored.
    pub fn load(&self, key: &TableKey) -> Option<Table> {
        let directory = self.directory.as_ref()?;
        let name = file_name(key);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(directory, &name, flags, Mode::empty()).ok()?);
        let table = read_table(&file, key);
        match table {
            Some(_) => drop(futimens(&file, &NOW)),
            None => drop(unlinkat(directory, &name, AtFlags::empty())),
        }
        table
    }

    /// Keeps a table. One that finds no room is not kept.
    pub fn store(&self, key: &TableKey, table: &Table) {
        let Some(directory) = &self.directory else { return };
        let content = encode_table(key, table);
        let bytes = counted_bytes(content.len() as u64);
        if bytes > self.limit_bytes || !self.make_room(directory, bytes) {
            return;
        }
        match self.write(directory, &file_name(key), &content) {
            Ok(()) => *self.lock_used() += bytes,
            Err(error) => self.warn(&error),
        }
    }

    /// Writes a file under a name of its own first, so that nobody sees half of it.
    fn write(&self, directory: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("new-{}-{number}", getpid().as_raw_pid());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(content).and_then(|()| Ok(renameat(directory, &temporary, directory, name)?));
        if written.is_err() {
            let _ = unlinkat(directory, &temporary, AtFlags::empty());
        }
        written
    }

    /// Deletes the files used least recently until there is room, with some to spare; whether there is room now.
    fn make_room(&self, directory: &OwnedFd, bytes: u64) -> bool {
        let mut used = self.lock_used();
        if *used + bytes <= self.limit_bytes {
            return true;
        }
        let mut files = self.list();
        files.sort_by_key(|stored| stored.used);
        *used = files.iter().map(|stored| stored.bytes).sum();
        for stored in files {
            if *used + bytes <= self.limit_bytes / 8 * 7 {
                break;
            }
            if unlinkat(directory, &*stored.name, AtFlags::empty()).is_ok() {
                *used -= stored.bytes;
            }
        }
        *used + bytes <= self.limit_bytes
    }

    fn list(&self) -> Vec<Stored> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let Ok(entries) = Dir::read_from(directory) else { return Vec::new() };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_bytes().to_vec()));
        names.filter_map(|name| Stored::read(directory, name)).collect()
    }

    fn lock_used(&self) -> std::sync::MutexGuard<'_, u64> {
        self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, error: &io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("unwind tables are not kept on disk: {error}");
        }
    }
}

impl Stored {
    /// A regular file of the directory.
    fn read(directory: &OwnedFd, name: Vec<u8>) -> Option<Self> {
        let facts = statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let regular = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
        let used = (facts.st_mtime as i64, facts.st_mtime_nsec as i64);
        regular.then(|| Self { name, used, bytes: counted_bytes(facts.st_size as u64) })
    }
}

/// This moment, for the time of change, which is the time of use here.
const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

fn create_and_open(path: &Path) -> Result<OwnedFd, Errno> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, path, flags, Mode::empty());
    match (opened, created) {
        (Err(Errno::NOENT), Err(error)) => Err(Errno::from_io_error(&error).unwrap_or(Errno::NOENT)),
        (opened, _) => opened,
    }
}

fn check_directory(path: &Path, directory: impl AsFd) -> Result<(), CacheError> {
    let facts = fstat(directory).map_err(|_| refuse(path, "its owner is not known"))?;
    if facts.st_uid != geteuid().as_raw() {
        return Err(refuse(path, "it belongs to another user"));
    }
    if facts.st_mode & WRITABLE_BY_OTHERS != 0 {
        return Err(refuse(path, "others may write to it"));
    }
    Ok(())
}

fn refuse(path: &Path, problem: &'static str) -> CacheError {
    CacheError::Unsafe { path: path.to_owned(), problem }
}

fn read_table(file: &File, key: &TableKey) -> Option<Table> {
    let facts = fstat(file).ok()?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile || facts.st_size as u64 > limits::STORED_BYTES {
        return None;
    }
    let mut content = Vec::with_capacity(facts.st_size as usize);
    file.take(limits::STORED_BYTES).read_to_end(&mut content).ok()?;
    decode_table(key, &content)
}

fn file_name(key: &TableKey) -> String {
    format!("{key}.table")
}

fn counted_bytes(bytes: u64) -> u64 {
    bytes.max(limits::STORED_FILE_BYTES)
}
