//! Fuzz targets of Python: tables of lines, and the memory of a process that may have an interpreter.

use super::code::CodeObject;
use super::line_table::line_at;
use super::version::{NEWEST_MINOR, OLDEST_MINOR, Version};
use super::{ProcessMemory, detect, threads};
use crate::process::Mappings;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::runtime::limits;

/// Where the fuzzed memory lies, which is also where an executable is mapped.
pub(super) const MEMORY_AT: u64 = 0x40_0000;
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
            assert!(thread.entries.len() <= limits::PYTHON_FRAMES + 1);
            for [code, instruction, fingerprint] in thread.entries {
                let Ok(object) = CodeObject::read(code, fingerprint, &python, &memory) else { continue };
                let _ = (object.line_of(instruction), object.is_at_call(instruction, &memory));
            }
        }
    }
}
