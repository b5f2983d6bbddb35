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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::unwind::omission::Omissions;

    const LIMIT: u64 = 1 << 20;

    fn key(number: u8) -> TableKey {
        TableKey([number; 32])
    }

    fn table(first_page: u32) -> Table {
        Table { first_page, ..Table::empty(Omissions::default()) }
    }

    /// A directory for tables, within one that goes when the test ends.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("tables");
        (parent, path)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn names(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_table_is_found_again_by_the_next_daemon() {
        let (_keep, path) = place();
        let cache = TableCache::open(&path, LIMIT).unwrap();
        assert_eq!(cache.load(&key(1)), None);
        cache.store(&key(1), &table(5));
        assert_eq!(cache.load(&key(1)), Some(table(5)));
        let next = TableCache::open(&path, LIMIT).unwrap();
        assert_eq!((next.load(&key(1)), next.load(&key(2))), (Some(table(5)), None));
        assert_eq!((fs::metadata(&path).unwrap().mode() & 0o777, names(&path)), (0o700, 1));
    }

    #[test]
    fn a_source_is_built_once() {
        let (_keep, path) = place();
        let cache = TableCache::open(&path, 1 << 30).unwrap();
        let source = Source::open(&File::open("/proc/self/exe").unwrap()).unwrap();
        let built = cache.find_or_build(&source);
        assert_eq!(names(&path), 1);
        assert!(built.rows.len() > 1000 && cache.find_or_build(&source) == built);
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        let (_keep, path) = place();
        fs::create_dir(&path).unwrap();
        let open = |path: &Path| TableCache::open(path, LIMIT).map(|_| ()).map_err(|error| error.to_string());
        for mode in [0o777, 0o720, 0o702] {
            set_mode(&path, mode);
            assert!(open(&path).unwrap_err().contains("others may write"), "{mode:o}");
        }
        set_mode(&path, 0o755);
        assert!(open(&path).is_ok());
        let link = path.with_file_name("link");
        symlink(&path, &link).unwrap();
        assert!(open(&link).unwrap_err().contains("no directory"));
        fs::write(path.with_file_name("file"), "").unwrap();
        assert!(open(&path.with_file_name("file")).unwrap_err().contains("no directory"));
        if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
            assert!(open(&path).unwrap_err().contains("another user"));
        }
    }

    #[test]
    fn a_file_that_is_not_what_was_stored_is_deleted() {
        let (_keep, path) = place();
        let cache = TableCache::open(&path, LIMIT).unwrap();
        cache.store(&key(1), &table(5));
        let file = path.join(file_name(&key(1)));
        let stored = fs::read(&file).unwrap();
        fs::write(&file, &stored[1..]).unwrap();
        assert_eq!((cache.load(&key(1)), names(&path)), (None, 0));
        // One table under the name of another, and a link to a good one.
        fs::write(path.join(file_name(&key(2))), &stored).unwrap();
        assert_eq!((cache.load(&key(2)), names(&path)), (None, 0));
        let elsewhere = path.with_file_name("elsewhere");
        fs::write(&elsewhere, &stored).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert_eq!(cache.load(&key(1)), None);
    }

    #[test]
    fn tables_used_least_recently_make_room() {
        let (_keep, path) = place();
        let cache = TableCache::open(&path, 16 * limits::STORED_FILE_BYTES).unwrap();
        for number in 0..16 {
            cache.store(&key(number), &table(5));
            let used = SystemTime::now() - Duration::from_secs(1000 - u64::from(number));
            File::open(path.join(file_name(&key(number)))).unwrap().set_modified(used).unwrap();
        }
        assert!(cache.load(&key(0)).is_some());
        cache.store(&key(16), &table(5));
        let kept = (0..=16).filter(|number| cache.load(&key(*number)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [vec![0], (4..=16).collect()].concat());
    }

    #[test]
    fn a_table_larger_than_the_cache_is_not_kept() {
        let (_keep, path) = place();
        let cache = TableCache::open(&path, limits::STORED_FILE_BYTES - 1).unwrap();
        cache.store(&key(1), &table(5));
        assert_eq!((cache.load(&key(1)), names(&path)), (None, 0));
    }

    #[test]
    fn without_a_place_nothing_is_kept_and_nothing_fails() {
        for cache in [TableCache::disabled(), TableCache::open(Path::new("/proc/none/tables"), LIMIT).unwrap()] {
            cache.store(&key(1), &table(5));
            assert_eq!(cache.load(&key(1)), None);
        }
    }

    #[test]
    fn a_table_that_cannot_be_written_costs_a_warning_and_nothing_else() {
        // A directory that is gone can be listed, and nothing can be made in it.
        let (_keep, path) = place();
        let cache = TableCache::open(&path, LIMIT).unwrap();
        fs::remove_dir(&path).unwrap();
        cache.store(&key(1), &table(5));
        assert_eq!(cache.load(&key(1)), None);
        assert!(cache.warned.load(Ordering::Relaxed));
    }
}
