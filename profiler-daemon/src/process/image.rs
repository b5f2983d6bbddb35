//! One program image of a process: what was mapped, what it is, whose it is.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ProcessError;
use super::executables::{Executable, Executables};
use super::maps::{Address, MappedInode, Mapping, MappingKind, Mappings};
use super::stat::{ProcessCredentials, ProcessStat};
use super::world::{ProcFile, World};
use crate::profile::ImageId;
use crate::sys::clock;

/// How many images were read so far.
static READINGS: AtomicU64 = AtomicU64::new(0);

/// A program image as it was when its mappings were last read.
#[derive(Debug)]
pub struct Image {
    /// Which image of which process.
    pub id: ImageId,
    /// Which reading of it: never the same twice.
    pub revision: u64,
    /// When its mappings were read, on the monotonic clock: from then, at the earliest.
    pub read_from_ns: u64,
    /// Until then, at the latest.
    pub read_until_ns: u64,
    /// The name of the thread-group leader. Untrusted text.
    pub comm: String,
    /// The executable's path, without ` (deleted)`; absent for threads of the kernel. Untrusted.
    pub executable: Option<PathBuf>,
    /// The effective user id, in the initial user namespace.
    pub uid: u32,
    /// The effective group id, in the initial user namespace.
    pub gid: u32,
    /// The pid as the process itself sees it.
    pub namespace_pid: u32,
    /// Whether a Python interpreter is mapped.
    pub is_python: bool,
    /// Whether a Java virtual machine is mapped.
    pub is_jvm: bool,
    /// Whether it has, or is of a kind that will have, code generated at run time.
    pub generates_code: bool,
    /// The executable mappings.
    pub mappings: Mappings,
    executables: HashMap<MappedInode, Arc<Executable>>,
    vdso: Option<Arc<Executable>>,
}

impl Image {
    /// Reads an image of a living process and opens the files it maps.
    ///
    /// The start time is compared after everything was read, so that a pid given to another process meanwhile is noticed.
    pub fn read(id: ImageId, executables: &Executables, world: &dyn World) -> Result<Self, ProcessError> {
        let pid = id.process.pid;
        let read_from_ns = clock::monotonic_ns();
        let maps = world.read(pid, ProcFile::Maps)?;
        let read_until_ns = clock::monotonic_ns();
        let mappings = Mappings::parse(&maps);
        let status = world.read(pid, ProcFile::Status)?;
        let credentials = ProcessCredentials::parse(&status).ok_or(ProcessError::Gone(pid))?;
        let executable = world.executable_path(pid).ok().map(without_deleted);
        let opened = open_all(pid, &mappings, executables, world);
        let stat = read_stat(pid, world)?;
        if !stat.started_at(id.process.start_ns) {
            return Err(ProcessError::Gone(pid));
        }
        let is_python = mappings.iter().any(|mapping| is_python_file(&mapping.file_name()));
        let is_jvm = mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so");
        Ok(Self {
            id,
            revision: READINGS.fetch_add(1, Ordering::Relaxed),
            read_from_ns,
            read_until_ns,
            comm: stat.comm,
            executable,
            uid: credentials.uid,
            gid: credentials.gid,
            namespace_pid: credentials.namespace_pid,
            is_python,
            is_jvm,
            generates_code: is_python || is_jvm || mappings.iter().any(Mapping::may_be_generated),
            mappings,
            executables: opened,
            vdso: executables.vdso(),
        })
    }

    /// The executable mappings, each with the open file it shows, if it shows one that could be opened.
    pub fn code(&self) -> impl Iterator<Item = (&Mapping, Option<&Arc<Executable>>)> {
        self.mappings.iter().map(|mapping| (mapping, self.executable_of(mapping)))
    }

    /// The mapping of an address, and the open file it shows, if it shows one that could be opened.
    pub fn find(&self, address: Address) -> Option<(&Mapping, Option<&Arc<Executable>>)> {
        let mapping = self.mappings.find(address)?;
        Some((mapping, self.executable_of(mapping)))
    }

    /// Whether a later reading shows the same program at the same addresses, or at least does not show that it is another.
    pub fn runs_on_in(&self, later: &Self) -> bool {
        let mut program = self.mappings.iter().filter(|mapping| self.is_of_program(mapping)).peekable();
        let is_kept =
            |mapping: &Mapping| later.mappings.find(mapping.start).is_some_and(|now| now.inode == mapping.inode);
        program.peek().is_none()
            || program.any(is_kept)
            || self.vdso_start().is_some()
                && (self.vdso_start(), &self.executable) == (later.vdso_start(), &later.executable)
    }

    fn is_of_program(&self, mapping: &Mapping) -> bool {
        let path = self.executable.as_ref().map(|path| path.as_os_str().as_bytes());
        mapping.kind == MappingKind::File && path == Some(&*mapping.path)
    }

    fn vdso_start(&self) -> Option<Address> {
        self.mappings.iter().find(|mapping| mapping.kind == MappingKind::Vdso).map(|mapping| mapping.start)
    }

    fn executable_of(&self, mapping: &Mapping) -> Option<&Arc<Executable>> {
        match mapping.kind {
            MappingKind::File => self.executables.get(&mapping.inode),
            MappingKind::Vdso => self.vdso.as_ref(),
            MappingKind::Anonymous | MappingKind::Special => None,
        }
    }
}

/// Whether a file of this name is, or contains, the Python interpreter.
pub fn is_python_file(name: &str) -> bool {
    let version = name.strip_prefix("libpython").or_else(|| name.strip_prefix("python"));
    version.is_some_and(|version| version.is_empty() || version.starts_with(|first: char| first.is_ascii_digit()))
}

/// Reads name, parent and start of a process.
pub fn read_stat(pid: u32, world: &dyn World) -> Result<ProcessStat, ProcessError> {
    ProcessStat::parse(&world.read(pid, ProcFile::Stat)?).ok_or(ProcessError::Gone(pid))
}

/// The path without the mark the kernel puts behind the path of an unlinked file.
pub fn without_deleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => PathBuf::from(text),
        None => path,
    }
}

/// Opens the files that lie on file systems known to be local: others may have a server that never answers.
fn open_all(
    pid: u32,
    mappings: &Mappings,
    executables: &Executables,
    world: &dyn World,
) -> HashMap<MappedInode, Arc<Executable>> {
    let mut opened = HashMap::new();
    let mounts = world.mounts(pid).unwrap_or_default();
    for mapping in mappings.iter().filter(|mapping| mapping.kind == MappingKind::File) {
        if opened.contains_key(&mapping.inode) || !mounts.is_device_local(mapping.device()) {
            continue;
        }
        if let Ok(executable) = executables.open(pid, mapping, world) {
            opened.insert(mapping.inode, executable);
        }
    }
    opened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcWorld;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::profile::ProcessId;

    #[test]
    fn the_test_process_has_an_image_with_open_files() {
        let pid = std::process::id();
        let start_ns = read_stat(pid, &ProcWorld).unwrap().start_ticks * super::super::stat::TICK_NS + 1;
        let id = ImageId { process: ProcessId { pid, start_ns }, exec_ns: 0 };
        let image = Image::read(id, &Executables::default(), &ProcWorld).unwrap();
        let (mapping, executable) = image.find(Address(is_python_file as *const () as u64)).unwrap();
        assert_eq!(executable.unwrap().name.as_ref(), mapping.file_name());
        assert!(!image.is_python && !image.is_jvm);
        assert_eq!(image.namespace_pid, pid);
    }

    #[test]
    fn a_file_that_lies_with_a_server_is_not_opened() {
        let world = FixtureWorld::default();
        let maps = "1000-2000 r-xp 0 fe:00 1 /bin/a\n2000-3000 r-xp 0 00:28 2 /srv/b\n3000-4000 r-xp 0 00:29 3 /c\n";
        let files = ["/bin/a", "/srv/b", "/c"].map(|path| (path.into(), path.into()));
        let mounts = "1 0 254:0 / / rw - ext4 x rw\n2 1 0:40 / /srv rw - fuse x rw\n";
        let (maps, mounts) = (maps.into(), mounts.into());
        world.insert(7, FixtureProcess { maps, mounts, files: files.into_iter().collect(), ..Default::default() });
        let id = ImageId { process: ProcessId { pid: 7, start_ns: 0 }, exec_ns: 0 };
        let image = Image::read(id, &Executables::default(), &world).unwrap();
        let is_open = |address| image.find(Address(address)).unwrap().1.is_some();
        assert_eq!([0x1000, 0x2000, 0x3000].map(is_open), [true, false, false]);
        assert_eq!(world.opens(), 1);
    }

    #[test]
    fn interpreters_are_told_by_their_file_names() {
        for name in ["python", "python3", "python3.12", "libpython3.13.so.1.0", "libpython2.7.so"] {
            assert!(is_python_file(name), "{name}");
        }
        for name in ["", "pythonic", "libpythonic.so", "cpython-310.so", "java"] {
            assert!(!is_python_file(name), "{name}");
        }
    }
}
