//! Executables and libraries held open, so that stacks of a process that ended, or of a container, are still named.
//!
//! A file is opened when a mapping of it is first seen and shared by all processes that map it. The number of open files
//! is bounded: beyond it the least recently used are closed, and their frames count as unavailable from then on.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::process::{Resource, getrlimit};

use super::limits;
use super::maps::{MappedInode, Mapping};
use super::recent::RecentMap;
use super::vdso::{VDSO_MODULE, read_vdso};
use super::world::World;
use crate::sys::openat2::{FileFacts, read_facts};

/// The identity of an executable within one run of the daemon; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutableId(pub u64);

/// One executable or library, as it was when it was opened.
#[derive(Debug)]
pub struct Executable {
    /// Its identity.
    pub id: ExecutableId,
    /// The file name it was first seen under. Untrusted text.
    pub name: Arc<str>,
    /// Size, owner and time of change when it was opened.
    pub facts: FileFacts,
    file: Mutex<Option<Arc<File>>>,
}

impl Executable {
    /// An executable that no process showed but the daemon itself provides, under an identity below all others.
    pub fn from_daemon(id: ExecutableId, name: &str, file: File) -> io::Result<Self> {
        let facts = read_facts(&file)?;
        Ok(Self { id, name: name.into(), facts, file: Mutex::new(Some(Arc::new(file))) })
    }

    /// The open file; `None` once it was closed to stay within the bound.
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the open file still has the content it had when it was opened, as far as size and times tell.
    pub fn is_unchanged(&self) -> bool {
        self.file().is_some_and(|file| read_facts(&file).is_ok_and(|facts| facts == self.facts))
    }

    fn close(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// All executables held open.
#[derive(Debug)]
pub struct Executables {
    open: Mutex<RecentMap<MappedInode, Arc<Executable>>>,
    vdso: OnceLock<Option<Arc<Executable>>>,
}

impl Default for Executables {
    fn default() -> Self {
        Self::with_capacity(descriptor_share())
    }
}

impl Executables {
    /// Holds at most `capacity` files open.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { open: Mutex::new(RecentMap::new(capacity)), vdso: OnceLock::new() }
    }

    /// The executable a mapping shows, opened now unless a process showed the same file before.
    pub fn open(&self, pid: u32, mapping: &Mapping, world: &dyn World) -> io::Result<Arc<Executable>> {
        if let Some(known) = self.find_unchanged(&mapping.inode) {
            return Ok(known);
        }
        let file = world.open_mapped(pid, mapping)?;
        let facts = read_facts(&file)?;
        if facts.size_bytes > limits::EXECUTABLE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(self.keep(mapping, file, facts))
    }

    /// The code the kernel maps into every process, read from the daemon's own mapping of it.
    pub fn vdso(&self) -> Option<Arc<Executable>> {
        let read = || Some(Arc::new(Executable::from_daemon(ExecutableId(0), VDSO_MODULE, read_vdso().ok()?).ok()?));
        self.vdso.get_or_init(read).clone()
    }

    /// How many are held open.
    pub fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is held open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An inode number is not given to another file while the first is held open, so equal numbers mean the same file.
    fn find_unchanged(&self, inode: &MappedInode) -> Option<Arc<Executable>> {
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).find(inode).cloned()?;
        known.is_unchanged().then_some(known)
    }

    fn keep(&self, mapping: &Mapping, file: File, facts: FileFacts) -> Arc<Executable> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let executable = Arc::new(Executable {
            id: ExecutableId(NEXT.fetch_add(1, Ordering::Relaxed)),
            name: mapping.file_name().into(),
            facts,
            file: Mutex::new(Some(Arc::new(file))),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = open.insert(mapping.inode, executable.clone());
        forgotten.iter().for_each(|(_, old)| old.close());
        executable
    }
}

/// How many descriptors executables may take of what the daemon is allowed.
fn descriptor_share() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let share = usize::try_from(allowed / limits::DESCRIPTOR_SHARE).unwrap_or(usize::MAX);
    share.clamp(limits::EXECUTABLES_MIN, limits::EXECUTABLES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::process::maps::Mappings;

    fn world_with(pid: u32, inodes: std::ops::Range<u64>) -> (FixtureWorld, Mappings) {
        let world = FixtureWorld::default();
        let mut process = FixtureProcess::default();
        for inode in inodes {
            process.maps += &format!("{:x}000-{:x}000 r-xp 0 fe:00 {inode} /lib/{inode}\n", inode, inode + 1);
            process.files.insert(format!("/lib/{inode}").into(), format!("content {inode}").into());
        }
        let mappings = Mappings::parse(process.maps.as_bytes());
        world.insert(pid, process);
        (world, mappings)
    }

    #[test]
    fn processes_share_the_executables_they_map() {
        let (world, mappings) = world_with(7, 1..2);
        let executables = Executables::default();
        let mapping = mappings.iter().next().unwrap();
        let first = executables.open(7, mapping, &world).unwrap();
        world.remove(7);
        assert_eq!(executables.open(8, mapping, &world).unwrap().id, first.id);
        assert_eq!((first.name.as_ref(), executables.len()), ("1", 1));
    }

    #[test]
    fn a_file_that_changed_is_another_executable() {
        let (world, mappings) = world_with(7, 1..2);
        let executables = Executables::default();
        let mapping = mappings.iter().next().unwrap();
        let first = executables.open(7, mapping, &world).unwrap();
        rustix::fs::ftruncate(first.file().unwrap(), 1).unwrap();
        assert!(!first.is_unchanged());
        assert_ne!(executables.open(7, mapping, &world).unwrap().id, first.id);
    }

    #[test]
    fn the_number_of_open_files_is_bounded() {
        let (world, mappings) = world_with(7, 1..101);
        let executables = Executables::with_capacity(8);
        let all: Vec<_> = mappings.iter().map(|mapping| executables.open(7, mapping, &world).unwrap()).collect();
        let open = all.iter().filter(|executable| executable.file().is_some()).count();
        assert!(open <= 8 && executables.len() == open, "{open}");
        assert!(all[99].file().is_some() && all[0].file().is_none());
    }
}
