//! Suspended tasks of real event loops, read from outside and compared with what asyncio says of them.

use std::fs;
use std::time::{Duration, Instant};

use super::{Installed, Running, detect_in, read_all, start};
use crate::process::image::read_stat;
use crate::process::stat::TICK_NS;
use crate::process::{Image, ProcWorld, Registry};
use crate::profile::{AsyncEntry, ImageId, ProcessId};
use crate::runtime::limits;
use crate::runtime::python::pending::PendingTasks;
use crate::runtime::python::{Python, Pythons};

const SUSPENDED: &str = include_str!("suspended.py");
/// How often the tasks are read, to tell how long that takes.
const LOOKS: usize = 200;

/// What a child says of itself.
#[derive(Debug, serde::Deserialize)]
struct Told {
    version: String,
    tasks: usize,
    /// Of each task that nobody is behind the functions and lines, the task and what awaits it, leaf first.
    pending: Vec<Vec<String>>,
}

/// Functions with their lines, and names of tasks.
fn shown(place: &[AsyncEntry], image: &Image, pythons: &Pythons) -> Vec<String> {
    pythons.observe_place(image, place, Instant::now() + Duration::from_secs(10), &ProcWorld);
    let show = |entry: &AsyncEntry| match entry {
        AsyncEntry::Frame(frame) => {
            let function = pythons.resolve(image.id, frame).unwrap();
            format!("{}:{}", function.name, function.line.unwrap_or_default())
        }
        AsyncEntry::Task(task) => pythons.task_name(image.id, &task.name).unwrap_or_default(),
        AsyncEntry::Cut => "cut".to_owned(),
    };
    place.iter().map(show).collect()
}

/// What is read of the child, and how long that takes.
fn look(child: &Running, python: &Python, image: &Image, pythons: &Pythons) -> (PendingTasks, Duration) {
    let state = read_all(child, python)[0].state;
    let read = || {
        let begun = Instant::now();
        let bounds = (begun + Duration::from_secs(10), 0);
        (pythons.read_pending(image, state, bounds, &ProcWorld).unwrap().unwrap(), begun.elapsed())
    };
    let mut times: Vec<Duration> = (0..LOOKS).map(|_| read().1).collect();
    times.sort_unstable();
    (read().0, times[LOOKS / 2])
}

fn check(child: &Running, told: &Told) {
    let python = detect_in(child)[0].found.unwrap();
    let (registry, pythons) = (Registry::new(), Pythons::default());
    let pid = child.0.id();
    let start_ns = read_stat(pid, &ProcWorld).unwrap().start_ticks * TICK_NS;
    let id = ImageId { process: ProcessId { pid, start_ns }, exec_ns: 0 };
    let image = registry.observe(id, &ProcWorld).unwrap();
    let (found, time) = look(child, &python, &image, &pythons);
    eprintln!("{}: {} tasks, {} pending: {time:?}", told.version, found.tasks, found.pending);
    assert_eq!((found.tasks, found.pending), (told.tasks, told.pending.len()), "{}", told.version);
    let mut places: Vec<_> = found.places.iter().map(|place| shown(place, &image, &pythons)).collect();
    let mut expected = told.pending.clone();
    if found.pending <= limits::ASYNCIO_PLACES {
        places.sort();
        expected.sort();
        assert_eq!(places, expected, "{}", told.version);
    } else {
        assert!(places.iter().all(|place| expected.contains(place)), "{}", told.version);
    }
}

#[test]
fn pending_tasks_are_those_that_asyncio_tells() {
    let folder = tempfile::tempdir().unwrap();
    for count in [10, 100, 1000] {
        let script = folder.path().join("suspended.py");
        fs::write(&script, SUSPENDED.replace("COUNT = 10", &format!("COUNT = {count}"))).unwrap();
        let is_published = |installed: &&Installed| ["3.14", "3.15"].iter().any(|minor| installed.is_of(minor));
        for installed in Installed::all().iter().filter(is_published) {
            let Some((child, line)) = start(installed, &script) else { continue };
            check(&child, &serde_json::from_str(&line).unwrap());
        }
    }
}
