//! Code objects: which function a recorded frame ran, of which file, at which line.
//!
//! A frame is recorded by the address of its code object, and read later, when another object may lie there. So the
//! fingerprint that was recorded with it is compared before and after everything is read.

use profiler_common::python::interpreter::{CODE_BYTES, CODE_WORDS, half, word};

use super::detect::Python;
use super::layout::{Instructions, Layout};
use super::line_table;
use super::text;
use super::version::Version;
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// Bytes of a code unit from 3.11 on.
const UNIT: u64 = 2;
/// The newest minor version in which a frame that has not begun points at the unit before its first instruction.
const POINTS_BEFORE_UNTIL: u8 = 12;

/// Why a code object has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unnamed {
    /// Another object lies there now.
    Changed,
    /// It, or what it refers to, cannot be read: it was freed, or the process is gone.
    Unreadable,
}

/// A function's code, as it was read from a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeObject {
    /// The function's name with those of the classes and functions around it; before 3.11 its plain name. Untrusted text.
    pub qualified_name: String,
    /// The file as the interpreter has it: perhaps relative, or `<string>`. Untrusted text.
    pub file: String,
    /// The line its definition begins at.
    pub first_line: u32,
    /// The table of lines; `None` if it is too long.
    lines: Option<Vec<u8>>,
    version: Version,
    instructions: Instructions,
    /// Where its instructions begin; in free-threaded interpreters there are copies.
    starts: Vec<u64>,
    /// How many bytes they take.
    length: u64,
}

impl CodeObject {
    /// Reads the code object at `code`, if it is the one of this fingerprint.
    pub fn read(code: u64, fingerprint: u64, python: &Python, memory: &ProcessMemory<'_>) -> Result<Self, Unnamed> {
        let words = read_words(code, fingerprint, python, memory)?;
        let object = Self::from_words(code, &words, python, memory);
        // What was read belongs together only if it is still the same object.
        read_words(code, fingerprint, python, memory)?;
        object.ok_or(Unnamed::Unreadable)
    }

    fn from_words(code: u64, words: &[u64; CODE_WORDS], python: &Python, memory: &ProcessMemory<'_>) -> Option<Self> {
        let (interpreter, layout) = (&python.interpreter, &python.layout);
        let name = match layout.code_qualified_name {
            Some(field) => memory.read_field(code, field)?,
            None => word(words, interpreter.code_name),
        };
        let (file, table) = (word(words, interpreter.code_filename), word(words, interpreter.code_lines));
        let (starts, length) = read_starts(code, layout, memory)?;
        Some(Self {
            qualified_name: text::read_text(name, limits::PYTHON_NAME_CHARACTERS, layout, memory)?,
            file: text::read_text(file, limits::PYTHON_PATH_CHARACTERS, layout, memory)?,
            first_line: half(words, interpreter.code_first_line),
            lines: read_table(table, layout, memory)?,
            version: layout.version,
            instructions: layout.instructions,
            starts,
            length,
        })
    }

    /// The line of an instruction as a frame records it. It makes no difference whether the frame has called another: its
    /// instruction is the call then, not what follows.
    ///
    /// `None` if the line is not known. In a free-threaded interpreter the instruction may lie in a copy that was made after
    /// this was read: read it again.
    pub fn line_of(&self, instruction: u64) -> Option<u32> {
        match self.offset_of(instruction)? {
            Offset::NotBegun => Some(self.first_line),
            Offset::At(offset) => {
                let offset = u32::try_from(offset).ok()?;
                line_table::line_at(self.version, self.lines.as_deref()?, self.first_line, offset)
            }
        }
    }

    /// Whether the instruction is one of this code's.
    pub fn holds(&self, instruction: u64) -> bool {
        self.offset_of(instruction).is_some()
    }

    /// Whether the instruction calls something: then native code below it was called by this line. `None` if it
    /// cannot be read.
    pub fn is_at_call(&self, instruction: u64, memory: &ProcessMemory<'_>) -> Option<bool> {
        self.call_site(instruction)?.is_at_call(memory)
    }

    /// Where to read whether it does; `None` if it is none of this code's.
    pub fn call_site(&self, instruction: u64) -> Option<CallSite> {
        let address = match (self.instructions, self.offset_of(instruction)?) {
            (_, Offset::NotBegun) => None,
            (Instructions::Counted { .. }, Offset::At(offset)) => Some(self.starts.first()?.wrapping_add(offset)),
            (_, Offset::At(_)) => Some(instruction),
        };
        Some(CallSite { address, version: self.version })
    }

    fn offset_of(&self, instruction: u64) -> Option<Offset> {
        if let Instructions::Counted { unit, .. } = self.instructions {
            // An `int`, -1 before the first instruction.
            let index = u64::try_from((instruction as u32).cast_signed());
            let offset = index.map_or(Offset::NotBegun, |index| Offset::At(index * u64::from(unit)));
            return Some(offset).filter(|offset| offset.is_below(self.length));
        }
        let begins_before = self.version.minor <= POINTS_BEFORE_UNTIL;
        if begins_before && self.starts.iter().any(|start| instruction.wrapping_add(UNIT) == *start) {
            return Some(Offset::NotBegun);
        }
        let offsets = self.starts.iter().map(|start| Offset::At(instruction.wrapping_sub(*start)));
        offsets.into_iter().find(|offset| offset.is_below(self.length))
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let table = self.lines.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>() + self.qualified_name.capacity() + self.file.capacity() + table + 8 * self.starts.capacity()
    }
}

/// An instruction that may call something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSite {
    /// None of a frame that has not begun.
    address: Option<u64>,
    version: Version,
}

impl CallSite {
    /// Whether it calls something; `None` if it cannot be read.
    pub fn is_at_call(self, memory: &ProcessMemory<'_>) -> Option<bool> {
        let Some(address) = self.address else { return Some(false) };
        memory.read_u8(address).map(|opcode| self.version.is_call(opcode))
    }
}

/// Where a frame is in its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offset {
    /// Before the first instruction.
    NotBegun,
    /// At a byte.
    At(u64),
}

impl Offset {
    fn is_below(self, length: u64) -> bool {
        match self {
            Self::NotBegun => true,
            Self::At(offset) => offset < length,
        }
    }
}

fn read_words(
    code: u64,
    fingerprint: u64,
    python: &Python,
    memory: &ProcessMemory<'_>,
) -> Result<[u64; CODE_WORDS], Unnamed> {
    let mut words = [0; CODE_WORDS];
    let bytes = &mut bytemuck::cast_slice_mut(&mut words)[..CODE_BYTES as usize];
    memory.read(code, bytes).ok_or(Unnamed::Unreadable)?;
    let is_same = python.interpreter.fingerprint(&words) == fingerprint;
    if is_same { Ok(words) } else { Err(Unnamed::Changed) }
}

/// A table that is too long is left out.
fn read_table(address: u64, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<Option<Vec<u8>>> {
    let length = text::read_length(address, layout, memory)?;
    if length > limits::PYTHON_LINE_TABLE_BYTES as u64 {
        return Some(None);
    }
    memory.read_bytes(address.wrapping_add(layout.bytes_data.into()), length as usize).map(Some)
}

/// Where the instructions and their copies begin, and how many bytes they take.
fn read_starts(code: u64, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<(Vec<u64>, u64)> {
    let own = |at: u32| code.wrapping_add(at.into());
    let length = |object| text::read_length(object, layout, memory);
    Some(match layout.instructions {
        Instructions::Counted { code: field, .. } => {
            let bytes = memory.read_field(code, field)?;
            (vec![bytes.wrapping_add(layout.bytes_data.into())], length(bytes)?)
        }
        Instructions::Inline { at } => (vec![own(at)], length(code)?.saturating_mul(UNIT)),
        Instructions::Copied { at, copies } => {
            let copies = memory.read_field(code, copies).and_then(|array| read_copies(array, memory));
            let starts = [own(at)].into_iter().chain(copies.unwrap_or_default());
            (starts.collect(), length(code)?.saturating_mul(UNIT))
        }
    })
}

/// The addresses of copies: how many there are, and one word for each, which is zero if it was not made.
fn read_copies(array: u64, memory: &ProcessMemory<'_>) -> Option<Vec<u64>> {
    let count = memory.read_u64(array)?.min(limits::PYTHON_CODE_COPIES as u64);
    let words = memory.read_bytes(array.wrapping_add(8), 8 * count as usize)?;
    let addresses = words.chunks_exact(8).map(|word| crate::process::elf::u64_at(word, 0));
    Some(addresses.filter(|address| *address != 0).collect())
}
