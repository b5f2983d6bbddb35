//! The code heaps of a running virtual machine, and which piece of them an instruction lies in.

use profiler_common::hotspot::{HEAPS, Heap, HotSpot};

use super::code::Unnamed;
use super::layout::{HeapList, HeapsLayout, Layout};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The byte of a segment that belongs to no block.
const FREE: u8 = 0xff;
/// The sizes a segment may have, as binary logarithms.
const SHIFTS: std::ops::RangeInclusive<u64> = 3..=16;

/// What the kernel half needs of a machine; `None` while it has not made its heaps, or the first code in them.
pub fn read_heaps(layout: &Layout, memory: &ProcessMemory<'_>) -> Option<HotSpot> {
    memory.read_u64(layout.interpreter).filter(|interpreter| *interpreter != 0)?;
    let addresses = read_addresses(&layout.heaps, memory)?;
    let (mut hotspot, mut shift) = (layout.walk, None);
    for (heap, address) in hotspot.heaps.iter_mut().zip(&addresses) {
        let (found, own_shift) = read_heap(*address, &layout.heaps, memory)?;
        if *shift.get_or_insert(own_shift) != own_shift {
            return None;
        }
        *heap = found;
    }
    let overlap = |one: &Heap, other: &Heap| one.start < other.end && other.start < one.end;
    let made = &hotspot.heaps[..addresses.len().min(HEAPS)];
    if made.iter().enumerate().any(|(at, heap)| made[..at].iter().any(|other| overlap(heap, other))) {
        return None;
    }
    let entry_return = match layout.entry_return {
        Some(variable) => memory.read_u64(variable)?,
        None => 0,
    };
    Some(HotSpot { entry_return, segment_shift: shift?, ..hotspot })
}

fn read_addresses(layout: &HeapsLayout, memory: &ProcessMemory<'_>) -> Option<Vec<u64>> {
    let pointer = |variable| memory.read_u64(variable).filter(|pointer| *pointer != 0);
    match layout.list {
        HeapList::One { variable } => Some(vec![pointer(variable)?]),
        HeapList::Several { variable, length, data } => {
            let list = pointer(variable)?;
            let count = length.read(list, memory)?.min(HEAPS as u64) as usize;
            let words = memory.read_bytes(memory.read_field(list, data)?, 8 * count)?;
            Some(words.chunks_exact(8).map(|word| crate::process::elf::u64_at(word, 0)).collect())
        }
    }
}

fn read_heap(address: u64, layout: &HeapsLayout, memory: &ProcessMemory<'_>) -> Option<(Heap, u32)> {
    let heap = Heap {
        start: memory.read_field(address, layout.low)?,
        end: memory.read_field(address, layout.high)?,
        segments: memory.read_field(address, layout.segments)?,
    };
    let shift = layout.shift.read(address, memory).filter(|shift| SHIFTS.contains(shift))?;
    let is_sound = heap.start != 0 && heap.start < heap.end && heap.segments != 0;
    is_sound.then_some((heap, shift as u32))
}

/// Where the blob begins that an instruction lies in.
pub fn find_blob(pc: u64, hotspot: &HotSpot, memory: &ProcessMemory<'_>) -> Result<u64, Unnamed> {
    let heap = hotspot.heap_of(pc).ok_or(Unnamed::Changed)?;
    let mut segment = (pc - heap.start) >> hotspot.segment_shift;
    for _ in 0..limits::HOTSPOT_SEGMENT_STEPS {
        match memory.read_u8(heap.segments.wrapping_add(segment)).ok_or(Unnamed::Unreadable)? {
            0 => {
                let block = heap.start.wrapping_add(segment << hotspot.segment_shift);
                return Ok(block.wrapping_add(hotspot.block_header.into()));
            }
            FREE => return Err(Unnamed::Changed),
            back => segment = segment.checked_sub(back.into()).ok_or(Unnamed::Changed)?,
        }
    }
    Err(Unnamed::Changed)
}
