//! Naming an address of generated code from a perf map of 20,000 entries.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::Criterion;
use profiler_daemon::process::executables::Executables;
use profiler_daemon::process::{Address, Image, Mapping, Mounts, PresentMemory, ProcFile, ThreadFile, World};
use profiler_daemon::profile::{ImageId, ProcessId};
use profiler_daemon::runtime::Runtimes;
use rustix::fs::FileType;

const ENTRIES: u64 = 20_000;
const START: u64 = 0x7f00_0000_0000;
const SIZE: u64 = 0x80;

/// Times a hit; the map is read once, before.
pub(crate) fn bench(criterion: &mut Criterion) {
    let world = OneProcess { map: perf_map().expect("a temporary file can be written") };
    let id = ImageId { process: ProcessId { pid: 7, start_ns: 0 }, exec_ns: 0 };
    let image = Image::read(id, &Executables::default(), &world).expect("the process is readable");
    let (runtimes, now) = (Runtimes::default(), Instant::now());
    let mut at = 0;
    criterion.bench_function("perf_map/lookup_hit", |bencher| {
        bencher.iter(|| {
            at = (at + 7919) % ENTRIES;
            let found = runtimes.resolve(&image, Address(START + at * SIZE + 5), now, &world);
            black_box(found.expect("the map covers the address"))
        });
    });
}

fn perf_map() -> io::Result<File> {
    let mut text = String::new();
    for at in 0..ENTRIES {
        let _ = writeln!(text, "{:x} {SIZE:x} py::function_{at}:/srv/app/module_{}.py", START + at * SIZE, at % 100);
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// A host with one process that has a perf map.
struct OneProcess {
    map: File,
}

/// Memory of which nothing is present.
struct NoMemory;

impl PresentMemory for NoMemory {
    fn read(&self, _: u64, _: &mut [u8]) -> Option<io::Result<()>> {
        None
    }
}

impl World for OneProcess {
    fn threads(&self, _: u32) -> io::Result<Vec<u32>> {
        Ok(Vec::new())
    }

    fn descriptor(&self, _: u32, _: u32) -> io::Result<(PathBuf, FileType)> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_thread(&self, _: u32, _: u32, _: ThreadFile) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn pids(&self) -> io::Result<Vec<u32>> {
        Ok(vec![7])
    }

    fn read(&self, _: u32, file: ProcFile) -> io::Result<Vec<u8>> {
        let uid = rustix::process::geteuid().as_raw();
        Ok(match file {
            ProcFile::Stat => format!("7 (app) S 1 7 7 0 -1 0 {}", "0 ".repeat(40)),
            ProcFile::Status => format!("Name:\tapp\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t0\t0\t0\t0\nNSpid:\t7\n"),
            ProcFile::Maps => format!("{START:x}-{:x} r-xp 0 00:00 0\n", START + ENTRIES * SIZE),
            ProcFile::Cgroup => "0::/\n".to_owned(),
            ProcFile::Mountinfo | ProcFile::Net(_) => String::new(),
        }
        .into_bytes())
    }

    fn executable_path(&self, _: u32) -> io::Result<PathBuf> {
        Ok("/srv/app/run".into())
    }

    fn root_path(&self, _: u32) -> io::Result<PathBuf> {
        Ok("/".into())
    }

    fn working_directory(&self, _: u32) -> io::Result<PathBuf> {
        Ok("/".into())
    }

    fn canonical_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn mounts(&self, _: u32) -> io::Result<Mounts> {
        Ok(Mounts::default())
    }

    fn read_memory(&self, _: u32, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn present_memory(&self, _: u32) -> Box<dyn PresentMemory + '_> {
        Box::new(NoMemory)
    }

    fn open_mapped(&self, _: u32, _: &Mapping) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn open_below_root(&self, _: u32, _: &Path) -> io::Result<File> {
        self.map.try_clone()
    }
}
