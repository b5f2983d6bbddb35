//! What the unwinder decides: which spaces stay, which tables make room, and that nothing is left of processes that ended.

use std::collections::BTreeMap;
use std::time::Duration;

use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::Directory;

use super::super::builder::build;
use super::*;
use crate::bpf::Shard;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::process::{Executables, Registry};
use crate::runtime::Runtimes;
use crate::store::Ring;
use crate::sys::clock::SteadyClock;
use crate::unwind::TableCache;

const MAPS: &str = "1000-2000 r-xp 0 00:00 0\n5000-7000 r-xp 0 00:00 0\n";

/// What the kernel half would know.
#[derive(Debug, Default)]
struct FixtureMaps {
    spaces: BTreeMap<u32, Space>,
    mappings: BTreeMap<(u32, u64), code::Mapping>,
    directories: BTreeMap<u32, Directory>,
    interpreters: BTreeMap<u32, Interpreter>,
    /// Whether there is no room for another space.
    is_full: bool,
}

impl MappingMaps for FixtureMaps {
    fn add_mapping(&mut self, space: u32, mapping: &code::Mapping) -> Result<(), LoadError> {
        self.mappings.insert((space, mapping.start), *mapping);
        Ok(())
    }

    fn remove_mapping(&mut self, space: u32, mapping: &code::Mapping) {
        assert!(self.mappings.remove(&(space, mapping.start)).is_some(), "not there");
    }
}

impl TableMaps for FixtureMaps {
    fn write_rule(&mut self, _: u16, _: &Rule) -> Result<(), LoadError> {
        Ok(())
    }

    fn write_shard(&mut self, _: u32, _: &Shard) -> Result<(), LoadError> {
        Ok(())
    }

    fn free_shard(&mut self, _: u32) -> Result<(), LoadError> {
        Ok(())
    }

    fn write_directory(&mut self, table: u32, directory: &Directory) -> Result<(), LoadError> {
        match *directory == Directory::default() {
            true => drop(self.directories.remove(&table)),
            false => drop(self.directories.insert(table, *directory)),
        }
        Ok(())
    }
}

impl ProcessMaps for FixtureMaps {
    fn space(&self, pid: u32) -> Option<Space> {
        self.spaces.get(&pid).copied()
    }

    fn spaces(&self) -> Vec<(u32, Space)> {
        self.spaces.iter().map(|(pid, space)| (*pid, *space)).collect()
    }

    fn set_space(&mut self, pid: u32, space: &Space) -> Result<(), LoadError> {
        if self.is_full {
            return Err(LoadError::Unavailable("room"));
        }
        self.spaces.insert(pid, *space);
        Ok(())
    }

    fn remove_space(&mut self, pid: u32) {
        self.spaces.remove(&pid);
    }

    fn set_interpreter(&mut self, space: u32, interpreter: &Interpreter) -> Result<(), LoadError> {
        self.interpreters.insert(space, *interpreter);
        Ok(())
    }

    fn set_asyncio(&mut self, _: u32, _: &Asyncio) -> Result<(), LoadError> {
        if self.is_full { Err(LoadError::Unavailable("room")) } else { Ok(()) }
    }

    fn set_hotspot(&mut self, _: u32, _: &HotSpot) -> Result<(), LoadError> {
        Ok(())
    }

    fn remove_runtimes(&mut self, space: u32) {
        self.interpreters.remove(&space);
    }
}

impl FixtureMaps {
    /// A fork, as the kernel half sees it: the child inherits.
    fn fork(&mut self, parent: u32, child: u32, start_ns: u64) {
        let space = Space { start_ticks: start_ns / TICK_NS, ..self.spaces[&parent] };
        self.spaces.insert(child, space);
    }

    fn tables(&self) -> Vec<u32> {
        self.mappings.values().filter(|mapping| mapping.kind == code::TABLED).map(|mapping| mapping.table).collect()
    }
}

/// An unwinder in a made-up host.
struct Scene {
    world: Arc<FixtureWorld>,
    executables: Executables,
    unwinder: Unwinder<FixtureMaps>,
}

impl Scene {
    fn new() -> Self {
        let world = Arc::new(FixtureWorld::default());
        let unwinder = Unwinder::new(
            (FixtureMaps::default(), world.clone()),
            Arc::new(shared()),
            Arc::default(),
            Default::default(),
            Waker::new().unwrap(),
        );
        Self { world, executables: Executables::default(), unwinder }
    }

    /// A process starts and is sampled.
    fn start(&mut self, pid: u32, start_ns: u64, exec_ns: u64, maps: &str) {
        self.insert(pid, start_ns, maps);
        self.read(pid, start_ns, exec_ns);
    }

    fn insert(&self, pid: u32, start_ns: u64, maps: &str) {
        let mut process = FixtureProcess { start_ns, maps: maps.into(), ..FixtureProcess::default() };
        for name in maps.lines().filter_map(|line| Some(&line[line.find('/')?..])) {
            let content = std::fs::read(name).unwrap_or_default();
            process.files.insert(name.into(), content);
        }
        self.world.insert(pid, process);
    }

    fn read(&mut self, pid: u32, start_ns: u64, exec_ns: u64) {
        let id = ImageId { process: ProcessId { pid, start_ns }, exec_ns };
        let image = Image::read(id, &self.executables, &*self.world).unwrap();
        self.unwinder.load(&Arc::new(image));
    }

    /// A process ends; the kernel half forgets it.
    fn end(&mut self, pid: u32) {
        self.world.remove(pid);
        self.unwinder.maps.remove_space(pid);
    }

    /// All tables that wait are built and placed.
    fn build(&mut self) {
        let waiting = self.unwinder.executables.values().filter(|known| matches!(known, Known::Building)).count();
        for _ in 0..waiting {
            let executable = self.unwinder.queue.take().unwrap();
            self.unwinder.place(build(&executable, &TableCache::disabled()));
        }
    }

    fn is_empty(&self) -> bool {
        let Unwinder { maps, spaces, owners, images, absent, given, report, .. } = &self.unwinder;
        let remembered = owners.len() + absent.len() + given.len() + lock(&report.processes).len();
        maps.spaces.is_empty()
            && maps.mappings.is_empty()
            && spaces.is_empty()
            && images.iter().next().is_none()
            && remembered == 0
    }
}

fn shared() -> Shared {
    Shared {
        ring: Mutex::new(Ring::new(Duration::from_secs(60), 1 << 20)),
        registry: Registry::new(),
        runtimes: Arc::new(Runtimes::default()),
        asked: Arc::default(),
        stopping: Default::default(),
        clock: SteadyClock::start(),
        windows: Default::default(),
        history_bytes: Default::default(),
        process_gone: Default::default(),
    }
}

#[test]
fn a_space_outlives_one_sweep_that_does_not_see_it_and_no_two() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    scene.end(7);
    scene.unwinder.sweep();
    assert_eq!(scene.unwinder.maps.mappings.len(), 2, "a child may be about to inherit it");
    scene.unwinder.sweep();
    assert!(scene.unwinder.maps.mappings.is_empty());
    scene.unwinder.sweep();
    assert!(scene.is_empty(), "{:?}", scene.unwinder.maps);
}

#[test]
fn an_interpreter_whose_tasks_there_is_no_room_for_is_told_without_them() {
    let mut scene = Scene::new();
    let interpreter = Interpreter { flags: ASYNCIO | 1, ..bytemuck::Zeroable::zeroed() };
    for (is_full, flags) in [(false, ASYNCIO | 1), (true, 1)] {
        scene.unwinder.maps.is_full = is_full;
        scene.unwinder.tell_python(3, 7, interpreter, Some(bytemuck::Zeroable::zeroed()));
        assert_eq!(scene.unwinder.maps.interpreters[&3].flags, flags);
    }
}

#[test]
fn a_space_that_is_seen_again_is_kept() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    let inherited = scene.unwinder.maps.spaces[&7];
    scene.end(7);
    scene.unwinder.sweep();
    scene.unwinder.maps.spaces.insert(8, inherited);
    (0..3).for_each(|_| scene.unwinder.sweep());
    assert_eq!(scene.unwinder.maps.mappings.len(), 2);
}

#[test]
fn a_child_shares_its_parents_space_until_its_own_mappings_differ() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    scene.unwinder.maps.fork(7, 8, 0);
    scene.start(8, 0, 0, MAPS);
    assert_eq!(scene.unwinder.spaces.len(), 1);
    scene.start(8, 0, 0, "1000-2000 r-xp 0 00:00 0\n");
    let of = |scene: &Scene, pid| scene.unwinder.maps.spaces[&pid].space;
    assert_ne!(of(&scene, 7), of(&scene, 8));
    assert_eq!(scene.unwinder.maps.mappings.len(), 3);
}

#[test]
fn the_kernel_half_is_told_of_each_later_reading_and_of_nobody_who_ended() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    let read_ns = |scene: &Scene| scene.unwinder.maps.spaces[&7].read_ns;
    let first = read_ns(&scene);
    scene.start(7, 0, 0, MAPS);
    let second = read_ns(&scene);
    scene.start(7, 0, 0, "1000-2000 r-xp 0 00:00 0\n");
    assert!(first < second && second < read_ns(&scene));
    scene.unwinder.sweep();
    scene.read(7, 0, 0);
    scene.world.remove(7);
    (0..3).for_each(|_| scene.unwinder.sweep());
    assert!(scene.is_empty(), "{:?}", scene.unwinder.maps);
}

#[test]
fn a_space_given_to_a_process_that_had_ended_is_taken_back() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    scene.world.remove(7);
    (0..3).for_each(|_| scene.unwinder.sweep());
    assert!(scene.is_empty(), "{:?}", scene.unwinder.maps);
}

#[test]
fn a_space_the_kernel_half_has_no_room_for_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.unwinder.maps.is_full = true;
    scene.start(7, 0, 0, MAPS);
    (0..3).for_each(|_| scene.unwinder.sweep());
    assert!(scene.is_empty(), "{:?}", scene.unwinder.maps);
}

#[test]
fn processes_that_are_not_selected_any_more_are_forgotten() {
    let mut scene = Scene::new();
    scene.start(7, 0, 0, MAPS);
    scene.start(8, 0, 0, MAPS);
    (0..2).for_each(|_| scene.unwinder.retain(&HashSet::from([8])));
    assert_eq!((scene.unwinder.spaces.len(), scene.unwinder.maps.mappings.len()), (1, 2));
    assert!(scene.unwinder.images.find(7).is_none() && scene.unwinder.images.find(8).is_some());
}

/// Mappings of three files with tables, one in each of three processes.
fn files() -> Option<Vec<String>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(" /"));
    let files: Vec<String> = code.map(|line| format!("{line}\n")).take(3).collect();
    (files.len() == 3).then_some(files)
}

#[test]
fn a_table_nobody_maps_makes_room_for_one_that_somebody_does() {
    // A test program that is linked statically maps too few files.
    let Some(files) = files() else { return };
    let mut scene = Scene::new();
    for (pid, file) in (1..).zip(&files) {
        scene.start(pid, 0, 0, file);
        scene.build();
    }
    let shards = scene.unwinder.pool.usage().shards;
    assert_eq!(scene.unwinder.maps.tables().len(), 3);

    let mut scene = Scene::new();
    scene.unwinder.pool = Pool::with_shards(shards - 1);
    for (pid, file) in (1..).zip(&files) {
        scene.start(pid, 0, 0, file);
        scene.build();
    }
    assert!(scene.unwinder.maps.tables().len() < 3, "a table that is mapped is never evicted");
    (1..=2).for_each(|pid| scene.end(pid));
    (0..2).for_each(|_| scene.unwinder.sweep());
    scene.start(3, 0, 1, &files[2]);
    scene.build();
    (0..2).for_each(|_| scene.unwinder.sweep());
    assert_eq!(scene.unwinder.maps.tables().len(), 1, "the one that was refused is tried again");
}

/// Lifetimes that go through the unwinder: nine of ten are forks, which the daemon never reads, because most processes
/// end before they are sampled; every tenth executes a program and is sampled.
const LIVES: u64 = 1_000_000;

/// Lifetimes at once, and between two sweeps.
const AT_ONCE: u64 = 1000;

#[test]
fn a_million_lifetimes_leave_nothing_behind() {
    let mut scene = Scene::new();
    scene.start(1, 0, 0, MAPS);
    for first in (0..LIVES).step_by(AT_ONCE as usize) {
        (first..first + AT_ONCE).for_each(|life| live(&mut scene, life));
        (2..AT_ONCE as u32 + 2).for_each(|pid| scene.end(pid));
        scene.unwinder.sweep();
        let most = 2 * AT_ONCE as usize + 1;
        assert!(scene.unwinder.spaces.len() <= most && scene.unwinder.maps.mappings.len() <= 2 * most);
    }
    scene.end(1);
    (0..3).for_each(|_| scene.unwinder.sweep());
    assert!(scene.is_empty(), "{:?}", scene.unwinder.maps);
}

fn live(scene: &mut Scene, life: u64) {
    let (pid, start_ns) = (2 + (life % AT_ONCE) as u32, life / AT_ONCE * TICK_NS);
    scene.unwinder.maps.fork(1, pid, start_ns);
    if life.is_multiple_of(10) {
        scene.start(pid, start_ns, life + 1, MAPS);
    }
}
