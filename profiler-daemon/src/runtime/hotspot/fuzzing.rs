//! Fuzz targets of Java: tables of lines, and the memory of a process that may have a virtual machine.

use std::sync::Arc;

use profiler_common::hotspot::HotSpot;

use super::code::Reader;
use super::detect::{Detected, Machine, detect};
use super::heaps::read_heaps;
use super::line_table::{length_of, line_at};
use super::method::Method;
use super::names::{decode_text, file_name, method_name};
use super::unsigned5::Form;
use crate::process::Mappings;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::profile::{JavaCode, JavaFrame};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// Where the fuzzed memory lies, which is also where an executable is mapped.
const MEMORY_AT: u64 = 0x40_0000;
const PID: u32 = 7;
/// How many instructions of each heap are looked at.
const INSTRUCTIONS: u64 = 64;

/// Looks up lines in a table of any bytes in either form, and takes the bytes for the name of a class.
pub fn java_lines(bytes: &[u8]) {
    for form in [Form::WithZeroes, Form::WithoutZeroes] {
        assert!(length_of(bytes, form).is_none_or(|length| length <= bytes.len()));
        for bytecode in [0, 1, 2, 255, 256, 510, 4096, u32::MAX] {
            assert!(line_at(bytes, form, bytecode).is_none_or(|line| line > 0));
        }
    }
    let text = decode_text(bytes);
    assert!(method_name(&text, "m").ends_with(".m") && file_name(&text, "F").ends_with('F'));
}

/// Looks for a virtual machine in memory of any content, and names frames in its heaps.
pub fn java_memory(bytes: &[u8]) {
    let world = FixtureWorld::default();
    let end = MEMORY_AT + 0x100_0000;
    let maps = format!("{MEMORY_AT:x}-{end:x} r-xp 0 fe:00 1 /usr/lib/libjvm.so\n");
    let memory = [(MEMORY_AT, bytes.to_vec())].into();
    let mappings = Mappings::parse(maps.as_bytes());
    world.insert(PID, FixtureProcess { maps, memory, ..Default::default() });
    let memory = ProcessMemory::new(PID, &world);
    let Some(Detected::Machine(machine)) = detect(PID, &mappings, &world) else { return };
    if let Some(hotspot) = read_heaps(&machine.layout, &memory) {
        name_frames(&machine, &hotspot, &memory);
    }
}

fn name_frames(machine: &Machine, hotspot: &HotSpot, memory: &ProcessMemory<'_>) {
    let methods = |address| Method::read(address, &machine.layout, memory).map(Arc::new);
    let reader = Reader { machine, hotspot, memory, methods: &methods };
    for heap in hotspot.heaps {
        let step = (heap.end.wrapping_sub(heap.start) / INSTRUCTIONS).max(1);
        for pc in (0..INSTRUCTIONS).map(|number| heap.start.wrapping_add(number * step)) {
            let compile_id = memory.read_u32(pc).unwrap_or_default();
            let method = memory.read_u64(pc).unwrap_or_default();
            for (place, code) in [
                (0, JavaCode::Stub),
                (0, JavaCode::Compiled { compile_id: 77 }),
                (1, JavaCode::Compiled { compile_id }),
                (1, JavaCode::Native { compile_id }),
                (1, JavaCode::Interpreted { method, bytecode: 1 }),
            ] {
                let Ok(methods) = reader.read(&JavaFrame { place, pc, code }) else { continue };
                assert!(!methods.is_empty() && methods.len() <= limits::HOTSPOT_INLINED);
                assert!(
                    methods.split_last().is_some_and(|(last, rest)| !last.inlined && rest.iter().all(|m| m.inlined))
                );
            }
        }
    }
}
