//! Everything the daemon asks of processes, behind one trait: the real host, or a fixture in tests.
//!
//! The trait hands out text and open files and judges nothing; the rest of this room parses. All of it is untrusted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;

use rustix::fs::FileType;

use super::limits;
use super::maps::{Mapping, mapped_devices};
use super::mounts::Mounts;
use super::sockets::inode_of;
use super::stat::{ProcessCredentials, ProcessStat};
use crate::sys::identity::Reader;
use crate::sys::openat2::{self, Device, Found, Links};
use crate::sys::process_memory::{PresentPages, Process, Turn};

/// A text file under `/proc/PID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcFile {
    /// Name, parent, start time.
    Stat,
    /// User and pid namespace ids.
    Status,
    /// The memory mappings.
    Maps,
    /// The cgroup of each hierarchy.
    Cgroup,
    /// The mounts below its root.
    Mountinfo,
    /// The sockets of its network.
    Net(Sockets),
}

/// Sockets of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sockets {
    /// TCP over IPv4.
    Tcp,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
    /// Local ones.
    Unix,
}

impl ProcFile {
    fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Status => "status",
            Self::Maps => "maps",
            Self::Cgroup => "cgroup",
            Self::Mountinfo => "mountinfo",
            Self::Net(Sockets::Tcp) => "net/tcp",
            Self::Net(Sockets::Tcp6) => "net/tcp6",
            Self::Net(Sockets::Udp) => "net/udp",
            Self::Net(Sockets::Udp6) => "net/udp6",
            Self::Net(Sockets::Unix) => "net/unix",
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Maps => limits::MAPS_BYTES,
            Self::Mountinfo => limits::MOUNTINFO_BYTES,
            Self::Net(_) => limits::SOCKETS_BYTES,
            _ => limits::PROC_FILE_BYTES,
        }
    }
}

/// An open file of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The number of its inode.
    pub inode: u64,
    /// Its path as the process sees it, or what the kernel calls it.
    pub path: PathBuf,
}

/// A text file under `/proc/PID/task/TID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThreadFile {
    /// Name, state, CPU time.
    Stat,
    /// The ids by which its own pid namespaces know it.
    Status,
    /// What it asked of the kernel, if it is asleep there.
    Syscall,
    /// How long it ran, and how often.
    Schedstat,
}

impl ThreadFile {
    fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Status => "status",
            Self::Syscall => "syscall",
            Self::Schedstat => "schedstat",
        }
    }
}

/// What the daemon asks of processes. Errors of kind `NotFound` mean that the process or the file is gone.
pub trait World: Send + Sync {
    /// The pids of all processes.
    fn pids(&self) -> io::Result<Vec<u32>>;
    /// The text of a file under `/proc/PID`, cut at its limit.
    fn read(&self, pid: u32, file: ProcFile) -> io::Result<Vec<u8>>;
    /// The tids of the threads of a process.
    fn threads(&self, pid: u32) -> io::Result<Vec<u32>>;
    /// The text of a file under `/proc/PID/task/TID`, cut at the limit.
    fn read_thread(&self, pid: u32, tid: u32, file: ThreadFile) -> io::Result<Vec<u8>>;
    /// What a descriptor of the process refers to: its path as the kernel shows it, and of which type it is. Asks no server.
    fn descriptor(&self, pid: u32, number: u32) -> io::Result<(PathBuf, FileType)>;
    /// The path of the executable as the kernel shows it, perhaps with ` (deleted)` at its end.
    fn executable_path(&self, pid: u32) -> io::Result<PathBuf>;
    /// The path of the root directory of the process, as the host sees it.
    fn root_path(&self, pid: u32) -> io::Result<PathBuf>;
    /// The path with the host's symbolic links resolved.
    fn canonical_path(&self, path: &Path) -> io::Result<PathBuf>;
    /// The file systems the process can reach.
    fn mounts(&self, pid: u32) -> io::Result<Mounts>;
    /// Fills `to` with the memory of the process from `address` on; an error if not all of it can be read, asks no server of a
    /// file, and waits only so long for a process that provides it.
    fn read_memory(&self, pid: u32, address: u64, to: &mut [u8]) -> io::Result<()>;
    /// The memory of the process that is present, for one look at it.
    fn present_memory(&self, pid: u32) -> Box<dyn PresentMemory + '_>;
    /// Opens the regular file a mapping of the process shows, even if it was unlinked; asks no server if the mapping's device
    /// is local.
    fn open_mapped(&self, pid: u32, mapping: &Mapping) -> io::Result<File>;
    /// Opens a regular file at an absolute path inside the root of the process, never following a link out of it
    /// and never asking a server.
    fn open_below_root(&self, pid: u32, path: &Path) -> io::Result<File>;
    /// The path of the working directory of the process, as the host sees it.
    fn working_directory(&self, pid: u32) -> io::Result<PathBuf>;
    /// For each of the paths, the file that [`Self::open_below_root`] would open, if the reader may open it as well.
    fn open_each_as(&self, pid: u32, paths: &[PathBuf], reader: Reader) -> io::Result<Vec<Option<File>>> {
        let _ = reader;
        Ok(paths.iter().map(|path| self.open_below_root(pid, path).ok()).collect())
    }
    /// What an open descriptor of the process refers to.
    fn open_file(&self, pid: u32, descriptor: u32) -> io::Result<OpenFile> {
        let _ = (pid, descriptor);
        Err(io::ErrorKind::NotFound.into())
    }
    /// The inodes of the sockets among so many of its first open descriptors.
    fn socket_inodes(&self, pid: u32, descriptors: usize) -> io::Result<Vec<u64>> {
        let _ = (pid, descriptors);
        Err(io::ErrorKind::NotFound.into())
    }
    /// Which network the process is in: the inode of its namespace.
    fn network(&self, pid: u32) -> io::Result<u64> {
        let _ = pid;
        Err(io::ErrorKind::NotFound.into())
    }
    /// Those of the files that [`Self::open_below_root`] would open, in their order.
    fn open_each_below_root(&self, pid: u32, paths: &[PathBuf]) -> io::Result<Vec<File>> {
        Ok(paths.iter().filter_map(|path| self.open_below_root(pid, path).ok()).collect())
    }
}

/// The memory of one process that can be read without waiting for anybody.
pub trait PresentMemory {
    /// Fills `to` with the memory from `address` on; `None` if not all of it is present.
    fn read(&self, address: u64, to: &mut [u8]) -> Option<io::Result<()>>;
}

impl PresentMemory for PresentPages {
    fn read(&self, address: u64, to: &mut [u8]) -> Option<io::Result<()>> {
        Self::read(self, address, to)
    }
}

/// The host, through its `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcWorld;

impl World for ProcWorld {
    fn pids(&self) -> io::Result<Vec<u32>> {
        read_numbers("/proc")
    }

    fn read(&self, pid: u32, file: ProcFile) -> io::Result<Vec<u8>> {
        read_text(&format!("/proc/{pid}/{}", file.name()), file.limit())
    }

    fn threads(&self, pid: u32) -> io::Result<Vec<u32>> {
        read_numbers(&format!("/proc/{pid}/task"))
    }

    fn read_thread(&self, pid: u32, tid: u32, file: ThreadFile) -> io::Result<Vec<u8>> {
        read_text(&format!("/proc/{pid}/task/{tid}/{}", file.name()), limits::PROC_FILE_BYTES)
    }

    fn descriptor(&self, pid: u32, number: u32) -> io::Result<(PathBuf, FileType)> {
        let link = PathBuf::from(format!("/proc/{pid}/fd/{number}"));
        Ok((fs::read_link(&link)?, openat2::read_type(&link)?))
    }

    fn executable_path(&self, pid: u32) -> io::Result<PathBuf> {
        fs::read_link(format!("/proc/{pid}/exe"))
    }

    fn root_path(&self, pid: u32) -> io::Result<PathBuf> {
        fs::read_link(format!("/proc/{pid}/root"))
    }

    fn canonical_path(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn mounts(&self, pid: u32) -> io::Result<Mounts> {
        static MEMORY: LazyLock<Option<Device>> = LazyLock::new(|| openat2::memory_device().ok());
        let of_process = self.read(pid, ProcFile::Mountinfo)?;
        Ok(Mounts::parse(&of_process, &self.read(process::id(), ProcFile::Mountinfo)?, *MEMORY))
    }

    fn read_memory(&self, pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
        if let Some(read) = PresentPages::open(pid).read(address, to) {
            return read;
        }
        let turn = Turn::take(self.identify(pid)?)?;
        let end = address.saturating_add(to.len() as u64);
        let devices = mapped_devices(&self.read(pid, ProcFile::Maps)?, address, end);
        if !devices.is_empty() {
            let mounts = self.mounts(pid)?;
            if !devices.iter().all(|device| mounts.is_device_local(*device)) {
                return Err(with_a_server());
            }
        }
        turn.read(address, to)
    }

    fn present_memory(&self, pid: u32) -> Box<dyn PresentMemory + '_> {
        Box::new(PresentPages::open(pid))
    }

    fn open_mapped(&self, pid: u32, mapping: &Mapping) -> io::Result<File> {
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start.0, mapping.end.0);
        match openat2::find_regular_link(Path::new(&link)) {
            // Another device: the mapping changed meanwhile, or the file system numbers its files in its own way.
            Ok(found) if found.place.device == mapping.device() => found.open(),
            Ok(found) => open_if_local(&found, &self.mounts(pid)?),
            Err(_) if mapping.deleted => Err(io::ErrorKind::NotFound.into()),
            Err(_) => self.open_same_inode(pid, mapping),
        }
    }

    fn open_below_root(&self, pid: u32, path: &Path) -> io::Result<File> {
        Root::open(pid, self.mounts(pid)?)?.open_file(path)
    }

    /// Asks the file itself nothing, whose server may not answer. Before Linux 5.14 the kernel does not tell the inode.
    fn open_file(&self, pid: u32, descriptor: u32) -> io::Result<OpenFile> {
        let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"))?;
        let info = read_text(&format!("/proc/{pid}/fdinfo/{descriptor}"), limits::FDINFO_BYTES)?;
        let inode = String::from_utf8_lossy(&info);
        let inode = inode.lines().find_map(|line| line.strip_prefix("ino:")?.trim().parse().ok());
        Ok(OpenFile { inode: inode.ok_or(io::ErrorKind::Unsupported)?, path })
    }

    fn socket_inodes(&self, pid: u32, descriptors: usize) -> io::Result<Vec<u64>> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))?.take(descriptors);
        Ok(entries.filter_map(|entry| inode_of(fs::read_link(entry.ok()?.path()).ok()?.to_str()?)).collect())
    }

    fn network(&self, pid: u32) -> io::Result<u64> {
        let link = fs::read_link(format!("/proc/{pid}/ns/net"))?;
        let inode = link.to_str().and_then(|link| link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
        inode.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn working_directory(&self, pid: u32) -> io::Result<PathBuf> {
        fs::read_link(format!("/proc/{pid}/cwd"))
    }

    fn open_each_as(&self, pid: u32, paths: &[PathBuf], reader: Reader) -> io::Result<Vec<Option<File>>> {
        let root = Root::open(pid, self.mounts(pid)?)?;
        reader.act(|| paths.iter().map(|path| root.open_file(path).ok()).collect())
    }

    /// Reads the mounts only once.
    fn open_each_below_root(&self, pid: u32, paths: &[PathBuf]) -> io::Result<Vec<File>> {
        let root = Root::open(pid, self.mounts(pid)?)?;
        Ok(paths.iter().filter_map(|path| root.open_file(path).ok()).collect())
    }
}

fn read_text(path: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit as u64).read_to_end(&mut text).map_err(gone_as_not_found)?;
    Ok(text)
}

/// The entries of a directory that are numbers.
fn read_numbers(path: &str) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(path)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The root of a process, and what is mounted below it.
struct Root {
    directory: OwnedFd,
    mounts: Mounts,
}

impl Root {
    fn open(pid: u32, mounts: Mounts) -> io::Result<Self> {
        let directory = openat2::open_directory(Path::new(&format!("/proc/{pid}/root")))?;
        match mounts.is_place_local(&openat2::read_place(&directory)?) {
            true => Ok(Self { directory, mounts }),
            false => Err(with_a_server()),
        }
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        if !self.mounts.is_path_local(path) {
            return Err(with_a_server());
        }
        let links = if self.mounts.has_server() { Links::Refused } else { Links::Followed };
        open_if_local(&openat2::find_regular_below(&self.directory, path, links)?, &self.mounts)
    }
}

fn open_if_local(found: &Found, mounts: &Mounts) -> io::Result<File> {
    if mounts.is_place_local(&found.place) { found.open() } else { Err(with_a_server()) }
}

fn with_a_server() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not on a file system known to be local")
}

impl ProcWorld {
    fn identify(&self, pid: u32) -> io::Result<Process> {
        let untold = || io::Error::from(io::ErrorKind::InvalidData);
        let stat = ProcessStat::parse(&self.read(pid, ProcFile::Stat)?).ok_or_else(untold)?;
        let credentials = ProcessCredentials::parse(&self.read(pid, ProcFile::Status)?).ok_or_else(untold)?;
        Ok(Process { pid, start_ticks: stat.start_ticks, uid: credentials.uid })
    }

    /// Without the right to use `map_files`: the file at the mapping's path, if it is still the one that was mapped.
    fn open_same_inode(&self, pid: u32, mapping: &Mapping) -> io::Result<File> {
        let file = self.open_below_root(pid, Path::new(OsStr::from_bytes(&mapping.path)))?;
        match openat2::read_facts(&file)?.inode == mapping.inode.inode {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Reading a file of a process that has just ended fails with `ESRCH`.
fn gone_as_not_found(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

/// Whether the daemon sees the host's own pids: whether it runs in the initial PID namespace.
pub fn in_initial_pid_namespace() -> bool {
    /// The inode number the kernel gives to the initial PID namespace, and to no other.
    const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link == Path::new(INITIAL_PID_NAMESPACE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps::Mappings;
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    use std::ffi::CString;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{env, thread};

    #[test]
    fn the_test_process_is_listed_and_readable() {
        let (world, pid) = (ProcWorld, process::id());
        assert!(world.pids().unwrap().contains(&pid));
        assert_eq!(world.executable_path(pid).unwrap(), env::current_exe().unwrap());
        for file in [ProcFile::Stat, ProcFile::Status, ProcFile::Maps, ProcFile::Cgroup] {
            assert!(!world.read(pid, file).unwrap().is_empty());
        }
    }

    #[test]
    fn a_mapped_file_is_opened_and_has_the_mapped_content() {
        let (world, pid) = (ProcWorld, process::id());
        let mappings = Mappings::parse(&world.read(pid, ProcFile::Maps).unwrap());
        let own = mappings.iter().find(|mapping| Path::new(&mapping.path_text()) == env::current_exe().unwrap());
        let mut magic = [0; 4];
        world.open_mapped(pid, own.unwrap()).unwrap().read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"\x7fELF");
    }

    #[test]
    fn a_process_that_does_not_exist_is_not_found() {
        let pid = u32::MAX >> 1;
        assert_eq!(ProcWorld.read(pid, ProcFile::Stat).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(ProcWorld.open_below_root(pid, Path::new("/x")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn files_are_opened_for_a_reader_who_may_open_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let paths: Vec<PathBuf> = ["own", "missing", "all"].iter().map(|name| folder.path().join(name)).collect();
        for (path, mode) in [(&paths[0], 0o600), (&paths[2], 0o644)] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let open = |uid, gid| ProcWorld.open_each_as(process::id(), &paths, Reader { uid, gid });
        let is_open = |files: Vec<Option<File>>| files.iter().map(Option::is_some).collect::<Vec<_>>();
        if !rustix::process::geteuid().is_root() {
            return assert!(open(65_534, 65_534).is_err(), "only root can act for others");
        }
        assert_eq!(is_open(open(0, 0).unwrap()), [true, false, true]);
        assert_eq!(is_open(open(65_534, 65_534).unwrap()), [false, false, true]);
    }

    /// A file system in user space whose server never answers, mounted for as long as this lives.
    struct SilentServer {
        point: PathBuf,
        server: File,
    }

    impl SilentServer {
        /// `None` without the right to mount.
        fn mount() -> Option<Self> {
            let point = env::temp_dir().join(format!("profilerd-silent-{}", process::id()));
            let server = File::options().read(true).write(true).open("/dev/fuse").ok()?;
            fs::create_dir_all(&point).unwrap();
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
            let options = CString::new(options).unwrap();
            match mount("silent", &point, "fuse", MountFlags::NOSUID, Some(options.as_c_str())) {
                Ok(()) => Some(Self { point, server }),
                Err(_) => fs::remove_dir(&point).map(|()| None).unwrap(),
            }
        }

        /// Unmounts, which ends every wait for an answer.
        fn end(self) {
            drop(self.server);
            unmount(&self.point, UnmountFlags::DETACH).unwrap();
            fs::remove_dir(&self.point).unwrap();
        }
    }

    #[test]
    fn a_server_that_never_answers_is_not_asked() {
        let Some(silent) = SilentServer::mount() else { return eprintln!("SKIPPED: needs the right to mount") };
        let (answer, answered) = mpsc::channel();
        let path = silent.point.join("perf-1.map");
        let asking = thread::spawn(move || answer.send(ProcWorld.open_below_root(process::id(), &path).map(drop)));
        let answered = answered.recv_timeout(Duration::from_secs(10));
        silent.end();
        asking.join().unwrap().unwrap();
        assert_eq!(answered.expect("the server is waited for").unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
