//! Fuzz targets of Python: tables of lines, and the memory of a process that may have an interpreter.

use std::time::{Duration, Instant};

use profiler_common::python::asyncio::Asyncio;

use super::code::CodeObject;
use super::line_table::line_at;
use super::pending::{TaskLists, read_pending};
use super::version::{NEWEST_MINOR, OLDEST_MINOR, Version};
use super::{Python, detect, threads};
use crate::process::Mappings;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// Where the fuzzed memory lies, which is also where an executable is mapped.
pub(in crate::runtime) const MEMORY_AT: u64 = 0x40_0000;
const PID: u32 = 7;

/// Looks up lines in a table of any bytes, by the rules of every version.
pub fn python_lines(bytes: &[u8]) {
    for minor in OLDEST_MINOR..=NEWEST_MINOR {
        let version = Version::of_minor(minor);
        for offset in [0, 1, 2, 255, 256, 510, 4096, u32::MAX] {
            for first in [0, 1, 1000, u32::MAX] {
                let _ = line_at(version, bytes, first, offset);
            }
        }
    }
}

/// Looks for interpreters in memory of any content, walks their threads and names what is found.
pub fn python_memory(bytes: &[u8]) {
    let world = FixtureWorld::default();
    let end = MEMORY_AT + 0x100_0000;
    let maps = format!("{MEMORY_AT:x}-{end:x} r-xp 0 fe:00 1 /usr/bin/python3.11\n");
    let memory = [(MEMORY_AT, bytes.to_vec())].into();
    let mappings = Mappings::parse(maps.as_bytes());
    world.insert(PID, FixtureProcess { maps, memory, ..Default::default() });
    let memory = ProcessMemory::new(PID, &world);
    for detected in detect(PID, &mappings, &world) {
        let Ok(python) = detected.found else { continue };
        for thread in threads::read_threads(&python, &memory) {
            look_at_tasks(&python, thread.state, &memory);
            assert!(thread.entries.len() <= limits::PYTHON_FRAMES + 1);
            for [code, instruction, fingerprint] in thread.entries {
                let Ok(object) = CodeObject::read(code, fingerprint, &python, &memory) else { continue };
                let _ = (object.line_of(instruction), object.is_at_call(instruction, &memory));
            }
        }
    }
}

/// Reads the suspended tasks of a thread, which lie where 3.14 has them.
fn look_at_tasks(python: &Python, state: u64, memory: &ProcessMemory<'_>) {
    let known = python.layout.asyncio.unwrap_or(Asyncio {
        coroutine_frame: 72,
        coroutine_state: 67,
        frame_awaits: 8,
        set_used: 24,
        set_mask: 32,
        set_table: 40,
        ..Asyncio::default()
    });
    let tasks = Asyncio {
        task_bytes: 144,
        task_name: 136,
        task_awaited_by: 96,
        task_is_task: 108,
        task_awaited_by_is_set: 109,
        task_coroutine: 128,
        ..known
    };
    let lists = TaskLists { tasks, thread_loop: 864, thread_tasks: 880, task_node: 152 };
    let until = Instant::now() + Duration::from_secs(1);
    if let Ok(found) = read_pending(state, &lists, &python.interpreter, memory, (until, 0)) {
        assert!(found.pending <= found.tasks && found.tasks <= limits::ASYNCIO_TASKS);
        assert!(found.places.len() <= limits::ASYNCIO_PLACES);
    }
}
