//! Walking the native stack of a thread that sleeps, with the steps of the kernel half.

use profiler_common::hotspot::HotSpot;
use profiler_common::hotspot::walk as java_walk;
use profiler_common::limits::{FRAMES_PER_PROGRAM, LEAF_FRAMES, USER_FRAMES, WALK_PROGRAMS};
#[cfg(target_arch = "aarch64")]
use profiler_common::unwind::aarch64::Aarch64 as ThisMachine;
use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::stop;
use profiler_common::unwind::walk::{Code, Process, step};
#[cfg(target_arch = "x86_64")]
use profiler_common::unwind::x86_64::X86_64 as ThisMachine;

use super::memory::StackMemory;
use super::tables::Tables;
use crate::process::thread::Asleep;
use crate::process::{Address, ExecutableId, Image, World};
use crate::profile::{Ending, JavaFrame};
use crate::runtime::memory::ProcessMemory;
use crate::wire::{UserStack, decode_ending};

/// Frames walked, as by the kernel half.
const FRAMES: usize = (FRAMES_PER_PROGRAM * WALK_PROGRAMS) as usize;

/// The user part of a stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walked {
    addresses: Vec<u64>,
    stack_pointers: Vec<u64>,
    java: Vec<JavaFrame>,
    has_gap: bool,
    ending: Ending,
}

impl Walked {
    /// The frames whose code a virtual machine made.
    pub(super) fn java(&self) -> &[JavaFrame] {
        &self.java
    }

    /// As captured stacks have it.
    pub(super) fn as_user_stack(&self) -> UserStack<'_> {
        UserStack {
            addresses: &self.addresses,
            stack_pointers: &self.stack_pointers,
            has_gap: self.has_gap,
            ending: self.ending,
        }
    }
}

/// Walks the stack of a thread in `image`, of which perhaps the first two kept registers are known, and through the code of its
/// virtual machine, if it has one.
pub(super) fn walk(
    (asleep, kept): (&Asleep, Option<[u64; 2]>),
    (image, hotspot): (&Image, Option<&HotSpot>),
    tables: &mut Tables,
    world: &dyn World,
) -> Walked {
    let memory = StackMemory::new(image.id.process.pid, world);
    let java_memory = ProcessMemory::new(image.id.process.pid, world);
    let (mut java, mut room) = (Vec::new(), java_walk::Room::default());
    let mut code = CodeOf { image, tables, memory, found: None };
    let mut cursor = Cursor::asleep(asleep.instruction, asleep.stack_pointer, asleep.call.is_some(), kept);
    let (mut addresses, mut stack_pointers) = (Vec::new(), Vec::new());
    let mut reason = stop::NONE;
    let mut lacks_mapping = false;
    while reason == stop::NONE && addresses.len() < FRAMES {
        let is_leaf = addresses.is_empty();
        if let Some(hotspot) = hotspot.filter(|hotspot| hotspot.heap_of(cursor.pc).is_some()) {
            let sp = cursor.sp;
            let frame = java_walk::step(hotspot, &mut cursor, &mut &java_memory, &mut room);
            java.push(JavaFrame { place: addresses.len() as u16, pc: frame.pc, code: frame.code() });
            addresses.push(frame.pc);
            stack_pointers.push(sp);
            reason = frame.stop;
            continue;
        }
        let found = match code.find_code(cursor.lookup_address()) {
            Code::Nowhere if !is_leaf => {
                reason = stop::UNMAPPED;
                break;
            }
            Code::Nowhere => {
                lacks_mapping = true;
                Code::Untabled
            }
            found => found,
        };
        // An interrupted instruction that is not the leaf stands one byte on, as if it were a return address.
        addresses.push(cursor.pc + u64::from(!is_leaf && cursor.exact != 0));
        stack_pointers.push(cursor.sp);
        reason = step::<ThisMachine>(&mut cursor, found, &mut code);
    }
    let reason = match reason {
        stop::NONE => stop::DEPTH,
        stop::COMPLETE => stop::COMPLETE,
        _ if lacks_mapping => stop::UNMAPPED,
        other => other,
    };
    let has_gap = addresses.len() > USER_FRAMES;
    if has_gap {
        let root = addresses.len() - (USER_FRAMES - LEAF_FRAMES);
        addresses.drain(LEAF_FRAMES..root);
        stack_pointers.drain(LEAF_FRAMES..root);
        java.retain(|frame| !(LEAF_FRAMES..root).contains(&usize::from(frame.place)));
        let left_out = (root - LEAF_FRAMES) as u16;
        java.iter_mut().filter(|frame| usize::from(frame.place) >= root).for_each(|frame| frame.place -= left_out);
    }
    Walked { addresses, stack_pointers, java, has_gap, ending: decode_ending(reason) }
}

/// The code and the memory of the process.
struct CodeOf<'a> {
    image: &'a Image,
    tables: &'a mut Tables,
    memory: StackMemory<'a>,
    /// Whose code was found last; the number of a table means this one.
    found: Option<ExecutableId>,
}

impl Process for CodeOf<'_> {
    fn find_code(&mut self, address: u64) -> Code {
        let Some((mapping, executable)) = self.image.find(Address(address)) else { return Code::Nowhere };
        let Some(executable) = executable else { return Code::Untabled };
        self.found = Some(executable.id);
        self.tables.bias(mapping, executable).map_or(Code::Untabled, |bias| Code::Tabled { table: 0, bias })
    }

    fn find_rule(&mut self, _: u32, address: u64) -> Rule {
        self.found.map_or(Rule::NONE, |found| self.tables.find(found, address))
    }

    fn read(&mut self, address: u64) -> Option<u64> {
        self.memory.read_word(address)
    }
}
