//! A made-up host for tests: processes and files in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::maps::{Mapping, Mappings};
use super::mounts::Mounts;
use super::sockets::inode_of;
use super::stat::TICK_NS;
use super::world::{PresentMemory, ProcFile, Sockets, ThreadFile, World};
use crate::sys::openat2::Device;

/// One made-up process.
#[derive(Debug, Clone, Default)]
pub struct FixtureProcess {
    /// The name of its leader.
    pub comm: String,
    /// Its parent's pid.
    pub parent: u32,
    /// When it started, since boot.
    pub start_ns: u64,
    /// Its owner.
    pub uid: u32,
    /// Its pid in its own namespace; zero for the same as outside.
    pub namespace_pid: u32,
    /// The text of its mappings.
    pub maps: String,
    /// Its executable's path.
    pub executable: PathBuf,
    /// Its root directory; empty for the host's.
    pub root: PathBuf,
    /// Its working directory.
    pub directory: PathBuf,
    /// The text of its mounts; empty for one local file system behind every device in `maps`.
    pub mounts: String,
    /// The text of its cgroup file.
    pub cgroup: String,
    /// Files in its root and in its mappings, by path.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Its threads: the texts of their files.
    pub threads: BTreeMap<u32, BTreeMap<ThreadFile, String>>,
    /// What its descriptors refer to.
    pub descriptors: BTreeMap<u32, (PathBuf, FileType)>,
    /// The network it is in.
    pub network: u64,
    /// The texts of its lists of sockets.
    pub sockets: BTreeMap<Sockets, String>,
    /// Memory that can be read, by the address it begins at.
    pub memory: BTreeMap<u64, Vec<u8>>,
    /// Where it has to be waited for.
    pub absent: Vec<Range<u64>>,
}

/// A made-up host whose processes tests put there and change.
#[derive(Debug, Default)]
pub struct FixtureWorld {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    processes: BTreeMap<u32, FixtureProcess>,
    /// What a pid becomes once its mappings were read: for races between reading and reuse.
    successors: BTreeMap<u32, FixtureProcess>,
    reads: BTreeMap<ProcFile, usize>,
    descriptor_scans: usize,
    opens: usize,
    gate: Option<Arc<Barrier>>,
}

impl FixtureWorld {
    /// Puts a process at a pid, in place of any there.
    pub fn insert(&self, pid: u32, process: FixtureProcess) {
        self.lock().processes.insert(pid, process);
    }

    /// Ends a process.
    pub fn remove(&self, pid: u32) {
        self.lock().processes.remove(&pid);
    }

    /// Gives the pid to another process right after the mappings of the present one were read.
    pub fn replace_after_maps(&self, pid: u32, process: FixtureProcess) {
        self.lock().successors.insert(pid, process);
    }

    /// How often the file was read, over all processes.
    pub fn reads(&self, file: ProcFile) -> usize {
        self.lock().reads.get(&file).copied().unwrap_or_default()
    }

    /// How often the descriptors of a process were looked through.
    pub fn descriptor_scans(&self) -> usize {
        self.lock().descriptor_scans
    }

    /// How often a file in a root was opened, or could not be.
    pub fn opens(&self) -> usize {
        self.lock().opens
    }

    /// From now on every opening of a file meets `gate` twice: when it begins, and to go on.
    pub fn hold_opens(&self, gate: Arc<Barrier>) {
        self.lock().gate = Some(gate);
    }

    fn note_open(&self) {
        let mut state = self.lock();
        state.opens += 1;
        let gate = state.gate.clone();
        drop(state);
        if let Some(gate) = gate {
            gate.wait();
            gate.wait();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T>(&self, pid: u32, question: impl FnOnce(&FixtureProcess) -> Option<T>) -> io::Result<T> {
        self.lock().processes.get(&pid).and_then(question).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl World for FixtureWorld {
    fn pids(&self) -> io::Result<Vec<u32>> {
        Ok(self.lock().processes.keys().copied().collect())
    }

    fn read(&self, pid: u32, file: ProcFile) -> io::Result<Vec<u8>> {
        *self.lock().reads.entry(file).or_default() += 1;
        let text = self.ask(pid, |process| Some(text_of(pid, process, file)))?;
        if file == ProcFile::Maps {
            let mut state = self.lock();
            if let Some(successor) = state.successors.remove(&pid) {
                state.processes.insert(pid, successor);
            }
        }
        Ok(text.into_bytes())
    }

    fn threads(&self, pid: u32) -> io::Result<Vec<u32>> {
        self.ask(pid, |process| Some(process.threads.keys().copied().collect()))
    }

    fn read_thread(&self, pid: u32, tid: u32, file: ThreadFile) -> io::Result<Vec<u8>> {
        self.ask(pid, |process| Some(process.threads.get(&tid)?.get(&file)?.clone().into_bytes()))
    }

    fn descriptor(&self, pid: u32, number: u32) -> io::Result<(PathBuf, FileType)> {
        self.ask(pid, |process| process.descriptors.get(&number).cloned())
    }

    fn socket_inodes(&self, pid: u32, descriptors: usize) -> io::Result<Vec<u64>> {
        self.lock().descriptor_scans += 1;
        self.ask(pid, |process| {
            let links = process.descriptors.values().take(descriptors);
            Some(links.filter_map(|(path, _)| inode_of(path.to_str()?)).collect())
        })
    }

    fn network(&self, pid: u32) -> io::Result<u64> {
        self.ask(pid, |process| Some(process.network))
    }

    fn executable_path(&self, pid: u32) -> io::Result<PathBuf> {
        self.ask(pid, |process| Some(process.executable.clone()))
    }

    fn working_directory(&self, pid: u32) -> io::Result<PathBuf> {
        self.ask(pid, |process| Some(process.directory.clone()))
    }

    fn root_path(&self, pid: u32) -> io::Result<PathBuf> {
        self.ask(pid, |process| Some(Path::new("/").join(&process.root)))
    }

    fn canonical_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn mounts(&self, pid: u32) -> io::Result<Mounts> {
        Ok(Mounts::parse(&self.read(pid, ProcFile::Mountinfo)?, b"", None))
    }

    fn read_memory(&self, pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
        let found = self.ask(pid, |process| copy_memory(&process.memory, address, to));
        found.map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    fn present_memory(&self, pid: u32) -> Box<dyn PresentMemory + '_> {
        Box::new(FixtureMemory { pid, world: self })
    }

    fn open_mapped(&self, pid: u32, mapping: &Mapping) -> io::Result<File> {
        self.open_below_root(pid, Path::new(&mapping.path_text()))
    }

    fn open_below_root(&self, pid: u32, path: &Path) -> io::Result<File> {
        self.note_open();
        let content = self.ask(pid, |process| process.files.get(path).cloned())?;
        let mut file = File::from(rustix::fs::memfd_create("fixture", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(&content)?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }
}

/// What of a process's memory does not begin in an absent region.
struct FixtureMemory<'a> {
    pid: u32,
    world: &'a FixtureWorld,
}

impl PresentMemory for FixtureMemory<'_> {
    fn read(&self, address: u64, to: &mut [u8]) -> Option<io::Result<()>> {
        let is_absent = |process: &FixtureProcess| Some(process.absent.iter().any(|region| region.contains(&address)));
        match self.world.ask(self.pid, is_absent) {
            Ok(false) => Some(self.world.read_memory(self.pid, address, to)),
            _ => None,
        }
    }
}

/// Copies from within one region.
fn copy_memory(regions: &BTreeMap<u64, Vec<u8>>, address: u64, to: &mut [u8]) -> Option<()> {
    let (start, region) = regions.range(..=address).next_back()?;
    let begin = usize::try_from(address - start).ok()?;
    to.copy_from_slice(region.get(begin..begin.checked_add(to.len())?)?);
    Some(())
}

fn text_of(pid: u32, process: &FixtureProcess, file: ProcFile) -> String {
    let FixtureProcess { comm, parent, start_ns, uid, .. } = process;
    let inner = if process.namespace_pid == 0 { pid } else { process.namespace_pid };
    match file {
        ProcFile::Stat => format!("{pid} ({comm}) S {parent} {}{} 0", "0 ".repeat(17), start_ns / TICK_NS),
        ProcFile::Status => {
            let ids = format!("{uid}\t{uid}\t{uid}\t{uid}");
            format!("Name:\t{comm}\nUid:\t{ids}\nGid:\t{ids}\nNSpid:\t{pid}\t{inner}\n")
        }
        ProcFile::Maps => process.maps.clone(),
        ProcFile::Cgroup => process.cgroup.clone(),
        ProcFile::Mountinfo if process.mounts.is_empty() => local_mounts(&process.maps),
        ProcFile::Mountinfo => process.mounts.clone(),
        ProcFile::Net(kind) => process.sockets.get(&kind).cloned().unwrap_or_default(),
    }
}

fn local_mounts(maps: &str) -> String {
    let devices = Mappings::parse(maps.as_bytes()).iter().map(Mapping::device).collect::<Vec<_>>();
    devices.iter().map(|Device { major, minor }| format!("1 0 {major}:{minor} / / rw - ext4 disk rw\n")).collect()
}
