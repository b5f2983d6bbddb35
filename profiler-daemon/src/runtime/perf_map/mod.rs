//! Perf maps: the text files in which runtimes tell names and addresses of the code they generate.
//!
//! The file is `/tmp/perf-PID.map` in the process's own root, with the pid as the process itself sees it. It is opened while
//! the process lives and read from the open file later, so that a process that just ended is still named. CPython from
//! 3.12 on writes it with `-X perf`, HotSpot from 17 on by `jcmd PID Compiler.perfmap`, Node.js with `--perf-basic-prof`.

mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod name;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use super::{AttachedRuntime, ManagedFrame, Runtime, limits};
use crate::process::{Address, Image, Pause, World};
use file::MapFile;
use table::Table;

/// The runtime of everything that writes a perf map.
#[derive(Debug, Clone, Copy)]
pub struct PerfMapRuntime;

impl Runtime for PerfMapRuntime {
    fn name(&self) -> &'static str {
        "perf_map"
    }

    fn attach(&self, image: &Image, now: Instant, world: &dyn World) -> Option<Box<dyn AttachedRuntime>> {
        let mut attached = AttachedPerfMap {
            file: None,
            table: Table::default(),
            open: None,
            read: Pause::new(now),
            is_unasked: true,
        };
        attached.open(image, world);
        Some(Box::new(attached))
    }
}

/// The perf map of one image.
#[derive(Debug)]
struct AttachedPerfMap {
    file: Option<MapFile>,
    table: Table,
    /// When to look for the file again; set by the first attempt after the attach.
    open: Option<Pause>,
    /// When an address that is not found is a reason to look at the file again.
    read: Pause,
    /// Whether no address was asked for since the attach, or since a file was found: then the pause does not count.
    is_unasked: bool,
}

impl AttachedRuntime for AttachedPerfMap {
    fn observe(&mut self, image: &Image, now: Instant, world: &dyn World) {
        if self.file.is_none() && self.open.get_or_insert_with(|| Pause::new(now)).pass(now) {
            self.open(image, world);
            self.is_unasked = self.file.is_some();
        }
    }

    fn resolve(&mut self, address: Address, image: &Image, now: Instant, world: &dyn World) -> Option<ManagedFrame> {
        let first = std::mem::take(&mut self.is_unasked);
        if first || (self.table.find(address).is_none() && self.read.pass(now)) {
            self.open(image, world);
            self.read();
        }
        let (start, name) = self.table.find(address)?;
        Some(name::parse_name(name, image.is_jvm, start))
    }
}

impl AttachedPerfMap {
    /// Takes the file at the path, which may be another one than before; keeps the old one if there is none now.
    fn open(&mut self, image: &Image, world: &dyn World) {
        let path = PathBuf::from(format!("/tmp/perf-{}.map", image.namespace_pid));
        if let Some(found) = MapFile::open(&path, image, world) {
            self.file = Some(found);
        }
    }

    /// Reads the file if it changed since it was read last. An empty one, as while it is being written anew, replaces nothing.
    fn read(&mut self) {
        let Some(file) = &self.file else { return };
        let Ok(facts) = file.facts() else { return };
        if self.table.is_read_from(&facts) {
            return;
        }
        let Ok(text) = file.read(limits::PERF_MAP_BYTES) else { return };
        let table = Table::parse(&text, facts);
        if self.table.is_unread() || !table.is_empty() {
            self.table = table;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Registry;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::profile::{FrameKind, ImageId, ProcessId};
    use crate::runtime::Runtimes;
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    const MAP: &str = "7f810710d7dd b py::leaf:/srv/w.py\n";

    fn process(map: Option<&str>) -> FixtureProcess {
        let files = map.map(|map| (PathBuf::from("/tmp/perf-3.map"), map.as_bytes().to_vec()));
        FixtureProcess {
            namespace_pid: 3,
            uid: rustix::process::geteuid().as_raw(),
            maps: "7f810710d000-7f810720d000 r-xp 0 00:00 0\n".into(),
            files: files.into_iter().collect(),
            ..Default::default()
        }
    }

    fn image(world: &FixtureWorld, map: Option<&str>) -> Arc<Image> {
        world.insert(7, process(map));
        let id = ImageId { process: ProcessId { pid: 7, start_ns: 0 }, exec_ns: 0 };
        Registry::new().observe(id, world).unwrap()
    }

    #[test]
    fn a_process_that_ended_is_named_by_the_map_opened_before() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, Some(MAP));
        runtimes.observe(&image, now, &world);
        world.remove(7);
        let frame = runtimes.resolve(&image, Address(0x7f81_0710_d7e0), now, &world).unwrap();
        assert_eq!((frame.kind, frame.function.as_ref()), (FrameKind::Python, "leaf"));
        assert_eq!((frame.file.as_deref(), frame.start), (Some("/srv/w.py"), Address(0x7f81_0710_d7dd)));
    }

    #[test]
    fn a_map_written_late_is_found() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, None);
        let address = Address(0x7f81_0710_d7e0);
        assert_eq!(runtimes.resolve(&image, address, now, &world), None);
        world.insert(7, process(Some(MAP)));
        let later = now + Duration::from_secs(1);
        assert!(runtimes.resolve(&image, address, later, &world).is_some());
    }

    #[test]
    fn a_process_without_a_map_is_not_looked_at_for_every_address() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, None);
        runtimes.observe(&image, now, &world);
        for address in 0x7f81_0710_d7e0..0x7f81_0710_dfe0 {
            assert_eq!(runtimes.resolve(&image, Address(address), now, &world), None);
        }
        assert!(world.opens() <= 3, "{}", world.opens());
    }

    #[test]
    fn a_map_observed_late_is_read_at_the_next_address() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, None);
        let address = Address(0x7f81_0710_d7e0);
        runtimes.observe(&image, now, &world);
        for at in [now, now + Duration::from_secs(1)] {
            assert_eq!(runtimes.resolve(&image, address, at, &world), None);
        }
        world.insert(7, process(Some(MAP)));
        let later = now + Duration::from_millis(1100);
        runtimes.observe(&image, later, &world);
        world.remove(7);
        assert!(runtimes.resolve(&image, address, later, &world).is_some());
    }

    #[test]
    fn an_image_that_is_being_named_holds_up_no_observer() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, Some(MAP));
        runtimes.observe(&image, now, &world);
        let gate = Arc::new(Barrier::new(2));
        world.hold_opens(gate.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| runtimes.resolve(&image, Address(0x7f81_0710_d7e0), now, &world));
            gate.wait();
            runtimes.observe(&image, now, &world);
            gate.wait();
        });
    }

    #[test]
    fn a_map_that_grew_is_read_again_when_an_address_is_missing() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, Some(MAP));
        let missing = Address(0x7f81_0710_d7f0);
        assert_eq!(runtimes.resolve(&image, missing, now, &world), None);
        world.insert(7, process(Some(&format!("{MAP}7f810710d7e8 b py::more:/srv/w.py\n"))));
        let later = now + Duration::from_secs(1);
        assert_eq!(runtimes.resolve(&image, missing, later, &world).unwrap().function.as_ref(), "more");
    }

    #[test]
    fn the_map_of_a_process_with_the_same_pid_is_not_taken() {
        let (world, runtimes, now) = (FixtureWorld::default(), Runtimes::default(), Instant::now());
        let image = image(&world, None);
        world.insert(7, FixtureProcess { start_ns: 1_000_000_000, ..process(Some(MAP)) });
        let later = now + Duration::from_secs(1);
        assert_eq!(runtimes.resolve(&image, Address(0x7f81_0710_d7e0), later, &world), None);
    }
}
