//! What a HotSpot says about its own memory: `gHotSpotVMStructs` and `gHotSpotVMTypes`, two tables that every build exports.
//!
//! In comes an executable; out come the places of fields by name, `CodeBlob::_name`, and the sizes of types. The rows of the
//! tables say nothing of their own layout, which is in variables of its own. All of it is untrusted: rows and names are bounded.

use std::collections::HashMap;

use super::refusal::Refusal;
use super::windows::Windows;
use crate::runtime::image::LoadedImage;
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

const FIELDS: Columns<6> = Columns {
    start: "gHotSpotVMStructs",
    stride: "gHotSpotVMStructEntryArrayStride",
    offsets: [
        "gHotSpotVMStructEntryTypeNameOffset",
        "gHotSpotVMStructEntryFieldNameOffset",
        "gHotSpotVMStructEntryTypeStringOffset",
        "gHotSpotVMStructEntryIsStaticOffset",
        "gHotSpotVMStructEntryOffsetOffset",
        "gHotSpotVMStructEntryAddressOffset",
    ],
};

const TYPES: Columns<2> = Columns {
    start: "gHotSpotVMTypes",
    stride: "gHotSpotVMTypeEntryArrayStride",
    offsets: ["gHotSpotVMTypeEntryTypeNameOffset", "gHotSpotVMTypeEntrySizeOffset"],
};

/// All symbols it is asked for.
#[cfg(test)]
pub(super) const SYMBOLS: &[&str] = &[
    FIELDS.start,
    FIELDS.stride,
    FIELDS.offsets[0],
    FIELDS.offsets[1],
    FIELDS.offsets[2],
    FIELDS.offsets[3],
    FIELDS.offsets[4],
    FIELDS.offsets[5],
    TYPES.start,
    TYPES.stride,
    TYPES.offsets[0],
    TYPES.offsets[1],
];

/// The fields and types a virtual machine tells of.
#[derive(Debug, Default)]
pub struct VmStructs {
    fields: HashMap<String, Entry>,
    sizes: HashMap<String, u64>,
    /// How often the process was asked for the tables and their texts.
    pub reads: usize,
}

#[derive(Debug)]
struct Entry {
    is_static: bool,
    /// An address, or an offset.
    place: u64,
    /// What type it has, as C++ writes it.
    kind: String,
}

/// A field of a number, within what it is a field of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Its offset in bytes.
    pub offset: u32,
    /// Its size in bytes: 1, 2, 4 or 8.
    pub bytes: u32,
}

impl Number {
    /// The number in what was read.
    pub fn of(self, bytes: &[u8]) -> Option<u64> {
        let (start, mut word) = (self.offset as usize, [0; 8]);
        let field = bytes.get(start..start.checked_add(self.bytes as usize)?)?;
        word.get_mut(..field.len())?.copy_from_slice(field);
        Some(u64::from_le_bytes(word))
    }

    /// The number in what lies at an address.
    pub fn read(self, address: u64, memory: &ProcessMemory<'_>) -> Option<u64> {
        let bytes = memory.read_bytes(address.wrapping_add(self.offset.into()), self.bytes as usize)?;
        Self { offset: 0, ..self }.of(&bytes)
    }

    /// The first byte behind it.
    pub fn end(self) -> u32 {
        self.offset.saturating_add(self.bytes)
    }
}

impl VmStructs {
    /// Reads the tables; `None` if the executable is only being loaded, so that nothing fills them yet.
    pub fn read(image: &LoadedImage, memory: &ProcessMemory<'_>) -> Result<Option<Self>, Refusal> {
        let Some(fields) = Table::find(&FIELDS, image, memory)? else { return Ok(None) };
        let Some(types) = Table::find(&TYPES, image, memory)? else { return Ok(None) };
        let (mut known, mut windows) = (Self::default(), Windows::new(memory));
        for [name, size] in types.rows(&mut windows)? {
            known.sizes.insert(windows.read_text(name).ok_or(Refusal::Unreadable)?, size);
        }
        for [owner, name, kind, is_static, offset, address] in fields.rows(&mut windows)? {
            let mut text = |address| windows.read_text(address).ok_or(Refusal::Unreadable);
            // Of a field that is not checked the type is not told.
            let kind = if kind == 0 { String::new() } else { text(kind)? };
            let name = format!("{}::{}", text(owner)?, text(name)?);
            let is_static = is_static as u32 != 0;
            known.fields.insert(name, Entry { is_static, place: if is_static { address } else { offset }, kind });
        }
        known.reads = windows.reads();
        Ok(Some(known))
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The first of these fields that there is: releases name it differently.
    pub fn find(&self, names: &[&str]) -> Option<Number> {
        let entry = names.iter().find_map(|name| self.fields.get(*name).filter(|entry| !entry.is_static))?;
        Some(Number { offset: u32::try_from(entry.place).ok()?, bytes: self.bytes_of(&entry.kind) })
    }

    /// The same of a field that is needed.
    pub fn number(&self, names: &[&'static str]) -> Result<Number, Refusal> {
        let name = names.first().copied().unwrap_or_default();
        let number = self.find(names).ok_or(Refusal::Lacks(name))?;
        if number.offset > limits::HOTSPOT_FIELD_OFFSET {
            return Err(Refusal::Strange(name));
        }
        Ok(number)
    }

    /// The offset of a field that is needed.
    pub fn offset(&self, names: &[&'static str]) -> Result<u32, Refusal> {
        self.number(names).map(|number| number.offset)
    }

    /// The address of a variable.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.fields.get(name).filter(|entry| entry.is_static).map(|entry| entry.place)
    }

    /// The size of a type that is needed.
    pub fn size(&self, name: &'static str) -> Result<u32, Refusal> {
        let size = *self.sizes.get(name).ok_or(Refusal::Lacks(name))?;
        u32::try_from(size).ok().filter(|size| *size <= limits::HOTSPOT_FIELD_OFFSET).ok_or(Refusal::Strange(name))
    }

    /// How large a field of a type is. What the tables do not tell are names of C, and of these all but few are `int`.
    fn bytes_of(&self, kind: &str) -> u32 {
        let kind = kind.trim_start_matches("volatile ");
        match (kind, self.sizes.get(kind)) {
            (_, Some(1)) => 1,
            (_, Some(2)) | ("int16_t" | "uint16_t" | "jushort" | "jshort", None) => 2,
            (_, Some(8)) => 8,
            _ if kind.ends_with('*') => 8,
            _ => 4,
        }
    }
}

/// The variables that say where a table is, and where its columns are.
struct Columns<const N: usize> {
    start: &'static str,
    stride: &'static str,
    offsets: [&'static str; N],
}

struct Table<const N: usize> {
    start: u64,
    stride: u64,
    offsets: [u64; N],
    name: &'static str,
}

impl<const N: usize> Table<N> {
    fn find(columns: &Columns<N>, image: &LoadedImage, memory: &ProcessMemory<'_>) -> Result<Option<Self>, Refusal> {
        let value = |name| {
            let symbol = image.find(name, memory).ok_or(Refusal::Lacks(name))?;
            memory.read_u64(symbol.address).ok_or(Refusal::Unreadable)
        };
        let (start, stride) = (value(columns.start)?, value(columns.stride)?);
        let mut offsets = [0; N];
        for (offset, name) in offsets.iter_mut().zip(columns.offsets) {
            *offset = value(name)?;
        }
        // Each but the first is computed when the library is initialized.
        if start == 0 || stride == 0 {
            return Ok(None);
        }
        if stride > limits::HOTSPOT_ROW_BYTES || offsets.iter().any(|offset| *offset >= stride) {
            return Err(Refusal::Strange(columns.stride));
        }
        Ok(Some(Self { start, stride, offsets, name: columns.start }))
    }

    /// Its rows, up to the one without a name.
    fn rows(&self, windows: &mut Windows<'_, '_>) -> Result<Vec<[u64; N]>, Refusal> {
        let mut rows = Vec::new();
        for number in 0..limits::HOTSPOT_ROWS as u64 {
            let at = self.start.wrapping_add(number * self.stride);
            let mut row = [0; N];
            for (value, offset) in row.iter_mut().zip(self.offsets) {
                *value = windows.read_u64(at.wrapping_add(offset)).ok_or(Refusal::Unreadable)?;
            }
            if row.first() == Some(&0) {
                return Ok(rows);
            }
            rows.push(row);
        }
        Err(Refusal::Strange(self.name))
    }
}
