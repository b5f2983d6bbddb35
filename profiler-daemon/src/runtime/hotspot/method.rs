//! What a method is called, and where its source is: out of its constants, in the memory of the process.

use std::sync::Arc;

use super::code::Unnamed;
use super::layout::{Layout, MethodLayout, SourcePlace};
use super::line_table;
use super::names::{decode_text, file_name, method_name};
use super::unsigned5::Form;
use super::vm_structs::Number;
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The flag of a method that has a table of lines.
const HAS_LINES: u64 = 1;

/// In the place of the index of a source file's name: it is not known.
const NO_SOURCE: u64 = 0;

/// A method, as much of it as names frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// What tells it from another that comes to lie at the same address.
    pub identity: Identity,
    /// Class and name. Untrusted text.
    pub name: Arc<str>,
    /// The source file, with the folders of its package. Untrusted text.
    pub file: Option<Arc<str>>,
    lines: Vec<u8>,
    form: Form,
}

/// What a method points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    constants: u64,
    const_method: u64,
    code_bytes: u64,
    name: u64,
}

/// The unchanging part of a method, as it was read.
struct ConstMethod {
    address: u64,
    bytes: Vec<u8>,
}

impl ConstMethod {
    fn read(method: u64, layout: &MethodLayout, memory: &ProcessMemory<'_>) -> Option<Self> {
        let address = memory.read_field(method, layout.const_method)?;
        Some(Self { address, bytes: memory.read_bytes(address, layout.const_bytes as usize)? })
    }

    fn number(&self, number: Number) -> Option<u64> {
        number.of(&self.bytes)
    }

    fn identity(&self, layout: &MethodLayout) -> Option<Identity> {
        Some(Identity {
            constants: self.number(layout.constants)?,
            const_method: self.address,
            code_bytes: self.number(layout.code_bytes)?,
            name: self.number(layout.name)?,
        })
    }

    /// The table of lines, which lies behind the bytecodes; empty if there is none.
    fn read_lines(&self, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<Vec<u8>> {
        let method = &layout.method;
        if self.number(method.flags)? & HAS_LINES == 0 {
            return Some(Vec::new());
        }
        let before = u64::from(method.const_bytes) + self.number(method.code_bytes)?;
        let length = self.number(method.const_words)?.saturating_mul(8).saturating_sub(before);
        let length = length.min(limits::HOTSPOT_LINE_TABLE_BYTES);
        let mut table = memory.read_bytes(self.address.wrapping_add(before), length as usize)?;
        table.truncate(line_table::length_of(&table, layout.form).unwrap_or_default());
        Some(table)
    }
}

impl Identity {
    /// What the method at an address is now.
    pub fn read(method: u64, layout: &Layout, memory: &ProcessMemory<'_>) -> Result<Self, Unnamed> {
        let now = ConstMethod::read(method, &layout.method, memory);
        now.and_then(|now| now.identity(&layout.method)).ok_or(Unnamed::Unreadable)
    }

    /// Whether the method has a bytecode of this index.
    pub fn has(&self, bytecode: u32) -> bool {
        u64::from(bytecode) < self.code_bytes.max(1)
    }
}

impl Method {
    /// Reads the method at an address.
    pub fn read(method: u64, layout: &Layout, memory: &ProcessMemory<'_>) -> Result<Self, Unnamed> {
        let read = ConstMethod::read(method, &layout.method, memory);
        read.and_then(|read| Self::from_constants(&read, layout, memory)).ok_or(Unnamed::Unreadable)
    }

    fn from_constants(read: &ConstMethod, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<Self> {
        let (identity, at) = (read.identity(&layout.method)?, &layout.method);
        let pool = Pool { address: identity.constants, layout: at, memory };
        let holder = at.holder.read(pool.address, memory)?;
        let class = pool.read_symbol(memory.read_field(holder, at.class_name)?)?;
        let name = pool.read_text(identity.name)?;
        let source = match at.source {
            Some(SourcePlace::Pool(index)) => index.read(pool.address, memory)?,
            Some(SourcePlace::Class(index)) => index.read(holder, memory)?,
            None => NO_SOURCE,
        };
        // What the machine made itself has constants of its own, and no file.
        let has_source = source != NO_SOURCE && source < at.pool_length.read(pool.address, memory)?;
        let file = if has_source { Some(pool.read_text(source)?) } else { None };
        Some(Self {
            identity,
            name: method_name(&class, &name).into(),
            file: file.map(|file| file_name(&class, &file).into()),
            lines: read.read_lines(layout, memory)?,
            form: layout.form,
        })
    }

    /// The same with a text of its file that others share.
    pub fn with_file(self, file: Option<Arc<str>>) -> Self {
        Self { file, ..self }
    }

    /// The line of a bytecode; `None` if it is not known.
    pub fn line_of(&self, bytecode: u32) -> Option<u32> {
        line_table::line_at(&self.lines, self.form, bytecode)
    }

    /// The memory it takes, in bytes, without the name of its file, which others share.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.lines.capacity()
    }
}

/// The constants of a class.
struct Pool<'a, 'w> {
    address: u64,
    layout: &'a MethodLayout,
    memory: &'a ProcessMemory<'w>,
}

impl Pool<'_, '_> {
    /// The text that an entry points at; the lowest bit of an entry says something else.
    fn read_text(&self, index: u64) -> Option<String> {
        let entries = self.address.wrapping_add(self.layout.pool_bytes.into());
        self.read_symbol(self.memory.read_u64(entries.wrapping_add(index.wrapping_mul(8)))? & !1)
    }

    /// A text, cut where it is too long.
    fn read_symbol(&self, symbol: u64) -> Option<String> {
        let length = self.layout.symbol_length.read(symbol, self.memory)?.min(limits::HOTSPOT_SYMBOL_BYTES);
        let body = symbol.wrapping_add(self.layout.symbol_body.into());
        self.memory.read_bytes(body, length as usize).map(|bytes| decode_text(&bytes))
    }
}
