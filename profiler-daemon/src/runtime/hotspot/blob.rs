//! A piece of code that a virtual machine made: its own description at its beginning.

use profiler_common::hotspot::{CODE_BY_OFFSET, HotSpot};

use super::code::Unnamed;
use super::heaps::find_blob;
use super::layout::Layout;
use super::vm_structs::Number;
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// What a blob is called that holds a compiled method.
const COMPILED: &[u8] = b"nmethod";
/// And one that calls a native method.
const NATIVE: &[u8] = b"native nmethod";
const PAGE: u64 = 4096;

/// The fields of a blob, as they were when it was read.
#[derive(Debug)]
pub struct Blob<'a> {
    /// Where it begins.
    pub address: u64,
    bytes: Vec<u8>,
    layout: &'a Layout,
}

impl<'a> Blob<'a> {
    /// Reads the blob that an instruction lies in.
    pub fn read(pc: u64, hotspot: &HotSpot, layout: &'a Layout, memory: &ProcessMemory<'_>) -> Result<Self, Unnamed> {
        let address = find_blob(pc, hotspot, memory)?;
        let bytes = memory.read_bytes(address, layout.compiled.bytes as usize).ok_or(Unnamed::Unreadable)?;
        let blob = Self { address, bytes, layout };
        let is_in_code = blob.code().is_some_and(|code| (code.start..=code.end).contains(&pc));
        if is_in_code { Ok(blob) } else { Err(Unnamed::Changed) }
    }

    /// A field of it.
    pub fn number(&self, field: Number) -> Option<u64> {
        field.of(&self.bytes)
    }

    /// The instructions, with stubs behind them.
    pub fn code(&self) -> Option<std::ops::Range<u64>> {
        let walk = &self.layout.walk;
        if walk.flags & CODE_BY_OFFSET == 0 {
            return Some(self.word(walk.code_begin)?..self.word(walk.code_end)?);
        }
        let place = |offset| Some(self.address.wrapping_add(self.half(offset)?.into()));
        Some(place(walk.code_begin)?..place(walk.code_end)?)
    }

    /// From which byte of the code on the frame is complete; none if it is at once, or never.
    pub fn frame_complete(&self) -> Option<u64> {
        let number = Number { offset: self.layout.walk.frame_complete, bytes: 2 };
        u64::try_from((self.number(number)? as u16).cast_signed()).ok()
    }

    /// The number of the compilation that made it.
    pub fn compile_id(&self) -> Option<u32> {
        self.number(self.layout.compiled.compile_id).map(|number| number as u32)
    }

    /// Whether what lies there is a compiled method with this number, or the wrapper of a native one.
    pub fn check(&self, compile_id: u32, memory: &ProcessMemory<'_>) -> Result<(), Unnamed> {
        let name = self.name(memory)?;
        let is_same = is_method(&name) && self.compile_id() == Some(compile_id);
        if is_same { Ok(()) } else { Err(Unnamed::Changed) }
    }

    /// Looks again whether it is still the same: what was read meanwhile belongs together only then.
    pub fn check_again(&self, memory: &ProcessMemory<'_>) -> Result<(), Unnamed> {
        let now = self.layout.compiled.compile_id.read(self.address, memory).ok_or(Unnamed::Unreadable)?;
        if Some(now as u32) == self.compile_id() { Ok(()) } else { Err(Unnamed::Changed) }
    }

    /// What it is called, cut where that is too long.
    pub fn name(&self, memory: &ProcessMemory<'_>) -> Result<Vec<u8>, Unnamed> {
        let address = self.word(self.layout.walk.name).ok_or(Unnamed::Unreadable)?;
        let mut name = vec![0; limits::HOTSPOT_BLOB_NAME_BYTES];
        // It may lie at the end of what can be read.
        if memory.read(address, &mut name).is_none() {
            name.truncate((PAGE - address % PAGE).min(name.len() as u64) as usize);
            memory.read(address, &mut name).ok_or(Unnamed::Unreadable)?;
        }
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn word(&self, offset: u32) -> Option<u64> {
        self.number(Number { offset, bytes: 8 })
    }

    fn half(&self, offset: u32) -> Option<u32> {
        self.number(Number { offset, bytes: 4 }).map(|number| number as u32)
    }
}

/// Whether a name is that of a method's blob.
pub fn is_method(name: &[u8]) -> bool {
    name == COMPILED || name == NATIVE
}
