//! Strings and bytes of a Python process.

use super::layout::Layout;
use crate::runtime::memory::ProcessMemory;

/// The string at an address, cut after `limit` characters. What is no character becomes a replacement character.
pub fn read_text(address: u64, limit: usize, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<String> {
    let text = &layout.text;
    let state = u32::try_from(memory.read_field(address, text.state)? & u64::from(u32::MAX)).ok()?;
    let bit = |number: u32| state >> number & 1 == 1;
    let (is_ascii, is_compact) = (bit(text.ascii_bit), bit(text.compact_bit));
    let width = match (is_ascii, state >> text.kind_bit & 7) {
        (true, _) => 1,
        (false, width @ (1 | 2 | 4)) => width as usize,
        _ => return None,
    };
    let start = match (is_compact, is_ascii) {
        (true, true) => address.wrapping_add(text.ascii_bytes.into()),
        (true, false) => address.wrapping_add(text.compact_bytes.into()),
        (false, _) => memory.read_field(address, text.compact_bytes)?,
    };
    let length = usize::try_from(memory.read_field(address, text.length)?.cast_signed()).ok()?;
    let bytes = memory.read_bytes(start, length.min(limit) * width)?;
    Some(bytes.chunks_exact(width).map(decode_character).collect())
}

fn decode_character(bytes: &[u8]) -> char {
    let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// How many elements the object at an address has.
pub fn read_length(address: u64, layout: &Layout, memory: &ProcessMemory<'_>) -> Option<u64> {
    memory.read_field(address, layout.object_length).filter(|length| length.cast_signed() >= 0)
}
