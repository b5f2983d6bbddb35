//! Tables on disk, so that a daemon that starts again does not make them again.
//!
//! One file per table, named by its key, in a private directory. A file that is not exactly what was stored is deleted. Files
//! used least recently make room for new ones. Where nothing can be written the daemon works without, and says so once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key::TableKey;
use super::limits;
use super::source::Source;
use super::stored::{decode_table, encode_table};
use super::table::Table;
use crate::sys::private_directory::{PrivateDirectory, counted_bytes};

/// The directory of these files, below the one the user named.
const DIRECTORY: &str = "unwind";

/// Tables on disk.
#[derive(Debug)]
pub struct TableCache {
    /// None if there is no place for tables.
    directory: Option<PrivateDirectory>,
    limit_bytes: u64,
    /// What the files take, or more: it is known exactly each time room was made.
    used_bytes: Mutex<u64>,
    warned: AtomicBool,
}

impl TableCache {
    /// Keeps tables below a directory; together they take at most `limit_bytes`.
    /// An error if their directory cannot be had, or if others could write there.
    pub fn open(directory: &PrivateDirectory, limit_bytes: u64) -> io::Result<Self> {
        let directory = directory.open_below(DIRECTORY)?;
        let mut cache = Self { limit_bytes, ..Self::disabled() };
        // Where nothing can be deleted, tables can be read all the same.
        *cache.lock_used() = directory.trim(limit_bytes).unwrap_or(limit_bytes);
        cache.directory = Some(directory);
        Ok(cache)
    }

    /// A cache that keeps nothing.
    pub fn disabled() -> Self {
        Self { directory: None, limit_bytes: 0, used_bytes: Mutex::new(0), warned: AtomicBool::new(false) }
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
        let file = directory.open_file(&name).ok()?;
        let table = read_table(&file, key);
        if table.is_none() {
            // If it cannot be deleted it is refused again.
            let _ = directory.remove_file(&name);
        }
        table
    }

    /// Keeps a table. One that finds no room is not kept.
    pub fn store(&self, key: &TableKey, table: &Table) {
        let Some(directory) = &self.directory else { return };
        let content = encode_table(key, table);
        let bytes = counted_bytes(content.len() as u64);
        if bytes > self.limit_bytes {
            return;
        }
        let kept = self
            .make_room(directory, bytes)
            .and_then(|()| directory.keep_file(&file_name(key), |file| file.write_all(&content)));
        match kept {
            Ok(()) => *self.lock_used() += bytes,
            Err(error) => self.warn(&error),
        }
    }

    /// Deletes the files used least recently if there is no room, until there is some to spare, too.
    fn make_room(&self, directory: &PrivateDirectory, bytes: u64) -> io::Result<()> {
        let mut used = self.lock_used();
        if *used + bytes > self.limit_bytes {
            *used = directory.trim((self.limit_bytes / 8 * 7).saturating_sub(bytes))?;
        }
        Ok(())
    }

    fn lock_used(&self) -> MutexGuard<'_, u64> {
        self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, error: &io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("unwind tables are not kept on disk: {error}");
        }
    }
}

fn read_table(file: &File, key: &TableKey) -> Option<Table> {
    let size_bytes = file.metadata().ok()?.len();
    if size_bytes > limits::STORED_BYTES {
        return None;
    }
    let mut content = Vec::with_capacity(size_bytes as usize);
    file.take(limits::STORED_BYTES).read_to_end(&mut content).ok()?;
    decode_table(key, &content)
}

fn file_name(key: &TableKey) -> String {
    format!("{key}.table")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::sys::private_directory::FILE_BYTES;
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
        let path = parent.path().join(DIRECTORY);
        (parent, path)
    }

    /// The cache whose directory is at a path.
    fn open(path: &Path, limit_bytes: u64) -> io::Result<TableCache> {
        TableCache::open(&PrivateDirectory::open(path.parent().unwrap())?, limit_bytes)
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
        let cache = open(&path, LIMIT).unwrap();
        assert_eq!(cache.load(&key(1)), None);
        cache.store(&key(1), &table(5));
        assert_eq!(cache.load(&key(1)), Some(table(5)));
        let next = open(&path, LIMIT).unwrap();
        assert_eq!((next.load(&key(1)), next.load(&key(2))), (Some(table(5)), None));
        assert_eq!((fs::metadata(&path).unwrap().mode() & 0o777, names(&path)), (0o700, 1));
    }

    #[test]
    fn a_source_is_built_once() {
        let (_keep, path) = place();
        let cache = open(&path, 1 << 30).unwrap();
        let source = Source::open(&File::open("/proc/self/exe").unwrap()).unwrap();
        let built = cache.find_or_build(&source);
        assert_eq!(names(&path), 1);
        assert!(built.rows.len() > 1000 && cache.find_or_build(&source) == built);
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        let (_keep, path) = place();
        fs::create_dir(&path).unwrap();
        let refused = |path: &Path| open(path, LIMIT).is_err_and(|error| error.to_string().contains("may write to it"));
        for mode in [0o777, 0o720, 0o702] {
            set_mode(&path, mode);
            assert!(refused(&path), "{mode:o}");
        }
        set_mode(&path, 0o755);
        assert!(open(&path, LIMIT).is_ok());
        if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
            assert!(refused(&path));
        }
        let elsewhere = path.with_file_name("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(open(&path, LIMIT).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(open(&path, LIMIT).is_err());
    }

    #[test]
    fn a_file_that_is_not_what_was_stored_is_deleted() {
        let (_keep, path) = place();
        let cache = open(&path, LIMIT).unwrap();
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
        let cache = open(&path, 16 * FILE_BYTES).unwrap();
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
        let cache = open(&path, FILE_BYTES - 1).unwrap();
        cache.store(&key(1), &table(5));
        assert_eq!((cache.load(&key(1)), names(&path)), (None, 0));
    }

    #[test]
    fn without_a_place_nothing_is_kept_and_nothing_fails() {
        let cache = TableCache::disabled();
        cache.store(&key(1), &table(5));
        assert_eq!(cache.load(&key(1)), None);
    }

    #[test]
    fn what_was_kept_with_more_room_is_bounded_again() {
        let (_keep, path) = place();
        let cache = open(&path, LIMIT).unwrap();
        (0..8).for_each(|number| cache.store(&key(number), &table(5)));
        assert_eq!(names(&path), 8);
        let smaller = open(&path, 2 * FILE_BYTES).unwrap();
        assert_eq!((names(&path), *smaller.lock_used()), (2, 2 * FILE_BYTES));
    }

    #[test]
    fn a_table_that_cannot_be_written_costs_a_warning_and_nothing_else() {
        // A directory that is gone can be listed, and nothing can be made in it.
        let (_keep, path) = place();
        let cache = open(&path, LIMIT).unwrap();
        fs::remove_dir(&path).unwrap();
        cache.store(&key(1), &table(5));
        assert_eq!(cache.load(&key(1)), None);
        assert!(cache.warned.load(Ordering::Relaxed));
    }
}
