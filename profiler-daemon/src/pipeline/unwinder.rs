//! The thread that tells the kernel half how to walk stacks: images in, spaces and tables of unwind rules out.
//!
//! It owns the maps of code. Tables are built by another thread, the *builder*, small files first, so that a process is
//! ready as soon as its own tables are; until then the code without a table is followed by frame pointers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use profiler_common::hotspot::HotSpot;
use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::{ASYNCIO, Interpreter};
use profiler_common::unwind::code::{self, Space};
use profiler_common::unwind::table::SHARD_WORDS;

use super::builder::{BuildQueue, Built};
use super::images::Images;
use super::namer::Shared;
use super::waker::Waker;
use crate::bpf::{CodeMaps, LoadError};
use crate::process::elf::Segments;
use crate::process::image::read_stat;
use crate::process::stat::{ProcessStat, TICK_NS};
use crate::process::{Executable, ExecutableId, Image, Mapping, World};
use crate::profile::{ImageId, ProcessId};
use crate::runtime::hotspot;
use crate::runtime::python::{Refusal, Version};
use crate::unwind::{MappingMaps, PlaceError, Pool, Spaces, Table, TableKey, TableMaps};

/// What the unwinder is told.
pub(super) enum Job {
    /// These processes are about to be selected; `done` is set, and the waker woken, when all their tables are there.
    Prepare(Vec<u32>, Arc<AtomicBool>),
    /// An image was read, or read again.
    Observe(Arc<Image>),
    /// Only these processes are still selected.
    Retain(HashSet<u32>),
    /// Time to look for processes that ended.
    Sweep,
    /// A table was built.
    Built(Box<Built>),
    /// No more jobs.
    Stop,
}

/// How far the unwinding of a process is prepared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnwindStatus {
    /// Executables and libraries mapped.
    pub executables: u64,
    /// Those whose table is ready.
    pub ready: u64,
    /// Those whose table is being built.
    pub building: u64,
    /// The version of its Python interpreter, or why that one is not supported; absent if there is none.
    pub python: Option<Result<Version, Refusal>>,
    /// The release of its Java virtual machine, or why that one is not supported; absent if there is none.
    pub java: Option<Result<Arc<str>, hotspot::Refusal>>,
}

/// What others may know of the unwinder.
#[derive(Debug, Default)]
pub(super) struct UnwindReport {
    processes: Mutex<HashMap<u32, UnwindStatus>>,
    totals: Mutex<UnwindTotals>,
    /// Whether there was a process with a Python interpreter.
    has_python: AtomicBool,
    /// Whether there was a process with a Java virtual machine.
    has_java: AtomicBool,
}

/// What the kernel half's maps of code hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnwindTotals {
    /// Processes, or groups of forked ones, whose mappings are known.
    pub spaces: u64,
    /// Tables of unwind rules.
    pub tables: u64,
    /// Bytes of rows and directories.
    pub table_bytes: u64,
    /// Distinct rules.
    pub rules: u64,
    /// Executables waiting for their table.
    pub building: u64,
    /// Executables that have no table, or for whose table there is no room.
    pub without_table: u64,
}

impl UnwindReport {
    /// How far a process is; `None` if its mappings are not known yet.
    pub(super) fn process(&self, pid: u32) -> Option<UnwindStatus> {
        lock(&self.processes).get(&pid).cloned()
    }

    /// Whether there was a process with a Python interpreter.
    pub(super) fn has_python(&self) -> bool {
        self.has_python.load(Ordering::Acquire)
    }

    /// Whether there was a process with a Java virtual machine.
    pub(super) fn has_java(&self) -> bool {
        self.has_java.load(Ordering::Acquire)
    }

    /// What the maps hold.
    pub(super) fn totals(&self) -> UnwindTotals {
        *lock(&self.totals)
    }
}

/// The end that gives jobs. Dropping it ends the unwinder.
pub(super) struct Unwinding {
    jobs: Sender<Job>,
    progress: Arc<Progress>,
    /// What is known of the unwinder's progress.
    pub(super) report: Arc<UnwindReport>,
}

impl Unwinding {
    /// The end whose jobs go to `jobs`.
    pub(super) fn new(jobs: Sender<Job>, progress: Arc<Progress>, report: Arc<UnwindReport>) -> Self {
        Self { jobs, progress, report }
    }

    /// Tells of a reading of an image. Returns whether there was room: processes may start faster than they are loaded.
    pub(super) fn observe(&self, image: &Arc<Image>) -> bool {
        if self.progress.observed.load(Ordering::Relaxed) >= OBSERVED {
            return false;
        }
        self.progress.observed.fetch_add(1, Ordering::Relaxed);
        self.give(Job::Observe(image.clone()));
        true
    }

    /// Gives a job. Nobody may be there to take it any more.
    pub(super) fn give(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

impl Drop for Unwinding {
    fn drop(&mut self) {
        self.progress.stopping.store(true, Ordering::Release);
        self.give(Job::Stop);
    }
}

/// What both ends know of the jobs between them.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Readings of images that wait.
    observed: AtomicUsize,
    /// Whether what waits is of no use any more.
    stopping: AtomicBool,
}

/// The kernel half's maps of code: those of this kernel, or a fixture in tests.
pub(super) trait ProcessMaps: MappingMaps + TableMaps {
    /// The space of a process, if it has one.
    fn space(&self, pid: u32) -> Option<Space>;
    /// Every process that has a space, children that inherited theirs included.
    fn spaces(&self) -> Vec<(u32, Space)>;
    /// Gives a process a space.
    fn set_space(&mut self, pid: u32, space: &Space) -> Result<(), LoadError>;
    /// Takes a process's space away, if it has one.
    fn remove_space(&mut self, pid: u32);
    /// Tells of the Python interpreter in a space.
    fn set_interpreter(&mut self, space: u32, interpreter: &Interpreter) -> Result<(), LoadError>;
    /// Tells where asyncio keeps its tasks in a space.
    fn set_asyncio(&mut self, space: u32, asyncio: &Asyncio) -> Result<(), LoadError>;
    /// Tells of the Java virtual machine in a space.
    fn set_hotspot(&mut self, space: u32, hotspot: &HotSpot) -> Result<(), LoadError>;
    /// Forgets the runtimes in a space, if it has any.
    fn remove_runtimes(&mut self, space: u32);
}

impl ProcessMaps for CodeMaps {
    fn space(&self, pid: u32) -> Option<Space> {
        Self::space(self, pid)
    }

    fn spaces(&self) -> Vec<(u32, Space)> {
        Self::spaces(self)
    }

    fn set_space(&mut self, pid: u32, space: &Space) -> Result<(), LoadError> {
        Self::set_space(self, pid, space)
    }

    fn remove_space(&mut self, pid: u32) {
        Self::remove_space(self, pid);
    }

    fn set_interpreter(&mut self, space: u32, interpreter: &Interpreter) -> Result<(), LoadError> {
        Self::set_interpreter(self, space, interpreter)
    }

    fn set_asyncio(&mut self, space: u32, asyncio: &Asyncio) -> Result<(), LoadError> {
        Self::set_asyncio(self, space, asyncio)
    }

    fn set_hotspot(&mut self, space: u32, hotspot: &HotSpot) -> Result<(), LoadError> {
        Self::set_hotspot(self, space, hotspot)
    }

    fn remove_runtimes(&mut self, space: u32) {
        Self::remove_runtimes(self, space);
    }
}

/// The unwinder's state; it lives on its own thread.
pub(super) struct Unwinder<M> {
    maps: M,
    world: Arc<dyn World + Send + Sync>,
    pool: Pool,
    spaces: Spaces,
    /// The process each space was made for; others inherited it.
    owners: HashMap<u32, u32>,
    images: Images,
    /// Spaces that no process had at the last sweep.
    absent: HashSet<u32>,
    /// Processes that were given a space since the last sweep, by when they started.
    given: HashMap<u32, u64>,
    executables: HashMap<ExecutableId, Known>,
    tables: HashMap<TableKey, Placed>,
    waiting: Vec<Waiting>,
    progress: Arc<Progress>,
    queue: Arc<BuildQueue>,
    report: Arc<UnwindReport>,
    shared: Arc<Shared>,
    waker: Waker,
}

/// What is known of an executable.
#[derive(Debug)]
enum Known {
    /// Its table is being built.
    Building,
    /// There was no room for its table, or it could not be read; it is tried again.
    Refused,
    /// It has a table, or none because it says nothing about its frames.
    Ready { table: Option<u32>, segments: Segments },
}

/// A table in the pool.
#[derive(Debug)]
struct Placed {
    number: u32,
    used: Instant,
}

/// Whoever waits for the tables of some processes.
struct Waiting {
    executables: HashSet<ExecutableId>,
    done: Arc<AtomicBool>,
}

impl<M: ProcessMaps> Unwinder<M> {
    /// Takes over the maps. Processes are read from `world`.
    pub(super) fn new(
        (maps, world): (M, Arc<dyn World + Send + Sync>),
        shared: Arc<Shared>,
        queue: Arc<BuildQueue>,
        (progress, report): (Arc<Progress>, Arc<UnwindReport>),
        waker: Waker,
    ) -> Self {
        Self {
            maps,
            world,
            pool: Pool::default(),
            spaces: Spaces::default(),
            owners: HashMap::new(),
            images: Images::new(IMAGES_BYTES),
            absent: HashSet::new(),
            given: HashMap::new(),
            executables: HashMap::new(),
            tables: HashMap::new(),
            waiting: Vec::new(),
            progress,
            queue,
            report,
            shared,
            waker,
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if self.progress.stopping.load(Ordering::Acquire) {
                break;
            }
            match job {
                Job::Prepare(pids, done) => self.prepare(&pids, done),
                Job::Observe(image) => {
                    self.progress.observed.fetch_sub(1, Ordering::Relaxed);
                    self.load(&image);
                }
                Job::Retain(pids) => self.retain(&pids),
                Job::Sweep => self.sweep(),
                Job::Built(built) => self.place(*built),
                Job::Stop => break,
            }
            self.write_totals();
        }
    }

    /// Loads processes that are about to be selected. One whose mappings are known already is left alone.
    fn prepare(&mut self, pids: &[u32], done: Arc<AtomicBool>) {
        let mut executables = HashSet::new();
        for pid in pids {
            if self.progress.stopping.load(Ordering::Acquire) {
                return;
            }
            if let Some(image) = self.read_image(*pid) {
                self.load(&image);
            }
            if let Some(image) = self.images.find(*pid) {
                let building = image.code().filter_map(|(_, executable)| executable.map(|executable| executable.id));
                executables.extend(building.filter(|id| matches!(self.executables.get(id), Some(Known::Building))));
            }
        }
        self.waiting.push(Waiting { executables, done });
        self.tell_who_waits();
    }

    fn read_image(&self, pid: u32) -> Option<Arc<Image>> {
        let stat = read_stat(pid, &*self.world).ok().filter(|stat| !stat.kernel)?;
        if self.maps.space(pid).is_some_and(|space| space.start_ticks == stat.start_ticks) {
            return None;
        }
        let process = ProcessId { pid, start_ns: stat.start_ticks * TICK_NS };
        let id = ImageId { process, exec_ns: 0 };
        Image::read(id, self.shared.registry.executables(), &*self.world).ok().map(Arc::new)
    }

    /// Tells the kernel half the mappings of an image.
    fn load(&mut self, image: &Arc<Image>) {
        let pid = image.id.process.pid;
        // A later reading may have come by another way.
        if self.images.find(pid).is_some_and(|known| is_same(known.id, image.id) && known.revision > image.revision) {
            return;
        }
        self.start_building(image);
        let hotspot = self.shared.runtimes.java.hotspot(image, self.world.as_ref());
        let wanted = self.mappings_of(image, hotspot.as_ref());
        let result = match self.maps.space(pid).filter(|space| is_space_of(space, image.id)) {
            Some(space) if self.spaces.mappings(space.space) == wanted => self.renew_space(space, image),
            Some(space) if self.owners.get(&space.space) == Some(&pid) => {
                self.tell_runtimes(space.space, image, hotspot.as_ref());
                let updated = self.spaces.update(space.space, &wanted, &mut self.maps);
                self.renew_space(space, image).and(updated)
            }
            _ => self.give_space(image, &wanted, hotspot.as_ref()),
        };
        if let Err(error) = result {
            tracing::warn!("{error}");
        }
        self.images.insert(image.clone());
        self.report_process(pid);
    }

    /// Tells the kernel half that a space shows what a later reading did. Code mapped before is not new to it any more.
    fn renew_space(&mut self, space: Space, image: &Image) -> Result<(), LoadError> {
        if space.read_ns >= image.read_from_ns {
            return Ok(());
        }
        let pid = image.id.process.pid;
        self.maps.set_space(pid, &Space { read_ns: image.read_from_ns, ..space })?;
        // It may have ended meanwhile, and its space been forgotten.
        self.given.insert(pid, space.start_ticks);
        Ok(())
    }

    fn give_space(
        &mut self,
        image: &Image,
        wanted: &[code::Mapping],
        hotspot: Option<&HotSpot>,
    ) -> Result<(), LoadError> {
        let (id, number) = (image.id, self.spaces.create());
        self.owners.insert(number, id.process.pid);
        self.tell_runtimes(number, image, hotspot);
        let filled = self.spaces.update(number, wanted, &mut self.maps);
        let start_ticks = id.process.start_ns / TICK_NS;
        let read_ns = image.read_from_ns;
        let space = Space { start_ticks, exec_ns: id.exec_ns, read_ns, space: number, padding: 0 };
        self.maps.set_space(id.process.pid, &space)?;
        self.given.insert(id.process.pid, start_ticks);
        filled
    }

    /// Tells the kernel half of the runtimes in a space whose frames it walks.
    fn tell_runtimes(&mut self, space: u32, image: &Image, hotspot: Option<&HotSpot>) {
        if let Some(hotspot) = hotspot {
            self.report.has_java.store(true, Ordering::Release);
            if let Err(error) = self.maps.set_hotspot(space, hotspot) {
                tracing::warn!("{error}; Java frames of pid {} are not told", image.id.process.pid);
            }
        }
        self.tell_interpreter(space, image);
    }

    fn tell_interpreter(&mut self, space: u32, image: &Image) {
        let (pythons, world) = (&self.shared.runtimes.python, self.world.as_ref());
        let Some(interpreter) = pythons.interpreter(image, world) else { return };
        self.report.has_python.store(true, Ordering::Release);
        let asyncio = pythons.asyncio(image, world);
        self.tell_python(space, image.id.process.pid, interpreter, asyncio);
    }

    /// An interpreter whose tasks the kernel half has no room for is told without them.
    fn tell_python(&mut self, space: u32, pid: u32, mut interpreter: Interpreter, asyncio: Option<Asyncio>) {
        if let Some(Err(error)) = asyncio.map(|asyncio| self.maps.set_asyncio(space, &asyncio)) {
            tracing::warn!("{error}; stacks of pid {pid} show no tasks of asyncio");
            interpreter.flags &= !ASYNCIO;
        }
        if let Err(error) = self.maps.set_interpreter(space, &interpreter) {
            tracing::warn!("{error}");
        }
    }

    /// Takes back spaces given to processes that had ended before their space was there to be forgotten.
    fn check_given(&mut self) {
        for (pid, start_ticks) in std::mem::take(&mut self.given) {
            let lives = |stat: ProcessStat| stat.start_ticks == start_ticks && !stat.ended;
            if !read_stat(pid, &*self.world).is_ok_and(lives)
                && self.maps.space(pid).is_some_and(|space| space.start_ticks == start_ticks)
            {
                self.maps.remove_space(pid);
            }
        }
    }

    fn start_building(&mut self, image: &Image) {
        for (_, executable) in image.code() {
            let Some(executable) = executable else { continue };
            if let Entry::Vacant(unknown) = self.executables.entry(executable.id) {
                unknown.insert(Known::Building);
                self.queue.add(executable.clone());
            }
        }
    }

    /// What lies where; a code heap of a virtual machine lies in all the addresses reserved for it.
    fn mappings_of(&self, image: &Image, hotspot: Option<&HotSpot>) -> Vec<code::Mapping> {
        let mapped = image.code().map(|(mapping, executable)| self.mapping_of(mapping, executable));
        let Some(hotspot) = hotspot else { return mapped.collect() };
        let heaps = hotspot.heaps.iter().filter(|heap| heap.start < heap.end);
        let is_outside =
            |mapping: &code::Mapping| heaps.clone().all(|heap| mapping.end <= heap.start || heap.end <= mapping.start);
        let generated = heaps.clone().map(|heap| code::Mapping {
            start: heap.start,
            end: heap.end,
            kind: code::GENERATED,
            ..code::Mapping::default()
        });
        let mut mappings: Vec<_> = mapped.filter(is_outside).chain(generated).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        mappings
    }

    fn mapping_of(&self, mapping: &Mapping, executable: Option<&Arc<Executable>>) -> code::Mapping {
        let untabled =
            code::Mapping { start: mapping.start.0, end: mapping.end.0, bias: 0, table: 0, kind: code::UNTABLED };
        let known = executable.and_then(|executable| self.executables.get(&executable.id));
        let (table, segments) = match known {
            Some(Known::Ready { table: Some(table), segments }) => (table, segments),
            Some(Known::Building) => return code::Mapping { kind: code::PENDING, ..untabled },
            _ => return untabled,
        };
        match segments.address_of_page(mapping.file_offset) {
            Some(address) => {
                let bias = mapping.start.0.wrapping_sub(address);
                code::Mapping { bias, table: *table, kind: code::TABLED, ..untabled }
            }
            None => untabled,
        }
    }

    /// Places a table that was built and tells the kernel half which mappings show it.
    fn place(&mut self, built: Built) {
        let known = match built.table {
            Some((key, table)) => match self.place_table(key, &table) {
                Some(table) => Known::Ready { table: Some(table), segments: built.segments },
                None => Known::Refused,
            },
            None if built.unreadable => Known::Refused,
            None => Known::Ready { table: None, segments: built.segments },
        };
        self.executables.insert(built.executable, known);
        let shows = |image: &Arc<Image>| {
            image.code().any(|(_, executable)| executable.is_some_and(|executable| executable.id == built.executable))
        };
        let images: Vec<Arc<Image>> = self.images.iter().filter(|image| shows(image)).cloned().collect();
        images.iter().for_each(|image| self.load(image));
        self.waiting.iter_mut().for_each(|waiting| {
            waiting.executables.remove(&built.executable);
        });
        self.tell_who_waits();
    }

    /// The number of a table in the pool. If there is no room, tables nobody maps make some.
    fn place_table(&mut self, key: TableKey, table: &Table) -> Option<u32> {
        let used = Instant::now();
        if let Some(placed) = self.tables.get_mut(&key) {
            placed.used = used;
            return Some(placed.number);
        }
        loop {
            match self.pool.place(table, &mut self.maps) {
                Ok(number) => {
                    self.tables.insert(key, Placed { number, used });
                    return Some(number);
                }
                Err(PlaceError::Full) if self.evict() => {}
                Err(error) => {
                    tracing::warn!("{error}");
                    return None;
                }
            }
        }
    }

    /// Removes the table that has been out of use for the longest time. Returns whether there was one.
    fn evict(&mut self) -> bool {
        let numbers = self.spaces.numbers();
        let mapped: HashSet<u32> = numbers
            .iter()
            .flat_map(|space| self.spaces.mappings(*space))
            .filter(|mapping| mapping.kind == code::TABLED)
            .map(|mapping| mapping.table)
            .collect();
        let unused = self.tables.iter().filter(|(_, placed)| !mapped.contains(&placed.number));
        let Some(key) = unused.min_by_key(|(_, placed)| placed.used).map(|(key, _)| *key) else { return false };
        let Some(placed) = self.tables.remove(&key) else { return false };
        self.pool.remove(placed.number, &mut self.maps);
        self.executables
            .retain(|_, known| !matches!(known, Known::Ready { table: Some(table), .. } if *table == placed.number));
        true
    }

    /// Forgets processes that are not selected any more.
    fn retain(&mut self, pids: &HashSet<u32>) {
        for (pid, _) in self.maps.spaces() {
            if !pids.contains(&pid) {
                self.maps.remove_space(pid);
            }
        }
        self.sweep();
    }

    /// Removes the spaces that no process has any more. A process that is forked meanwhile may be overlooked once, but not
    /// twice in a row.
    fn sweep(&mut self) {
        self.check_given();
        let living = self.maps.spaces();
        let in_use: HashSet<u32> = living.iter().map(|(_, space)| space.space).collect();
        let absent: HashSet<u32> =
            self.spaces.numbers().into_iter().filter(|number| !in_use.contains(number)).collect();
        for number in absent.intersection(&self.absent) {
            self.spaces.remove(*number, &mut self.maps);
            self.maps.remove_runtimes(*number);
            self.owners.remove(number);
        }
        self.absent = absent;
        let pids: HashSet<u32> = living.iter().map(|(pid, _)| *pid).collect();
        self.images.retain(&pids);
        lock(&self.report.processes).retain(|pid, _| pids.contains(pid));
        self.executables.retain(|_, known| !matches!(known, Known::Refused));
        self.forget_executables();
    }

    /// Executables nobody maps are looked at again when somebody does; their tables stay in the pool.
    fn forget_executables(&mut self) {
        if self.executables.len() <= EXECUTABLES {
            return;
        }
        let images = self.images.iter();
        let mapped: HashSet<ExecutableId> =
            images.flat_map(|image| image.code()).filter_map(|(_, executable)| Some(executable?.id)).collect();
        self.executables.retain(|id, known| mapped.contains(id) || matches!(known, Known::Building));
    }

    fn tell_who_waits(&mut self) {
        let mut told = false;
        self.waiting.retain(|waiting| {
            let is_done = waiting.executables.is_empty();
            if is_done {
                waiting.done.store(true, Ordering::Release);
                told = true;
            }
            !is_done
        });
        if told {
            self.waker.wake();
        }
    }

    fn report_process(&self, pid: u32) {
        let Some(image) = self.images.find(pid) else { return };
        let python = self.shared.runtimes.python.version(image, self.world.as_ref());
        let java = self.shared.runtimes.java.version(image, self.world.as_ref());
        let mut status = UnwindStatus { python, java, ..UnwindStatus::default() };
        let ids: HashSet<ExecutableId> =
            image.code().filter_map(|(_, executable)| executable.map(|executable| executable.id)).collect();
        for id in ids {
            status.executables += 1;
            match self.executables.get(&id) {
                Some(Known::Ready { table: Some(_), .. }) => status.ready += 1,
                Some(Known::Building) => status.building += 1,
                _ => {}
            }
        }
        lock(&self.report.processes).insert(pid, status);
    }

    fn write_totals(&self) {
        let usage = self.pool.usage();
        let count = |wanted: fn(&Known) -> bool| self.executables.values().filter(|known| wanted(known)).count() as u64;
        *lock(&self.report.totals) = UnwindTotals {
            spaces: self.spaces.len() as u64,
            tables: usage.tables as u64,
            table_bytes: (usage.shards * SHARD_WORDS * size_of::<u32>()) as u64,
            rules: usage.rules as u64,
            building: count(|known| matches!(known, Known::Building)),
            without_table: count(|known| matches!(known, Known::Refused | Known::Ready { table: None, .. })),
        };
    }
}

impl<M> Drop for Unwinder<M> {
    /// The builder ends with the unwinder, however that ends.
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Readings of images that may wait; of a further one the unwinder is told when its process is sampled again.
const OBSERVED: usize = 1024;

/// Memory the mappings of all images may take, in bytes. A table that is built later is told only to processes whose images
/// are remembered; to others when they are sampled again.
const IMAGES_BYTES: usize = 64 << 20;

/// Executables remembered, whether mapped or not, before those that are not are forgotten.
const EXECUTABLES: usize = 16_384;

/// Whether both are the same image, as far as the times `/proc` tells can say.
fn is_same(one: ImageId, other: ImageId) -> bool {
    let start = |id: ImageId| id.process.start_ns / TICK_NS;
    start(one) == start(other) && one.exec_ns == other.exec_ns
}

fn is_space_of(space: &Space, id: ImageId) -> bool {
    space.start_ticks == id.process.start_ns / TICK_NS && space.exec_ns == id.exec_ns
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
