//! What the instructions of a compiled method stand for: which bytecode of which method, and what that was inlined into.
//!
//! A compiled method has *places*: instructions at which the machine may look at its frames, among them those that calls
//! return to. Each names a *scope*, a method at a bytecode, which names the one it was inlined into, up to the method that
//! was compiled. Instructions between places have no scope of their own.

use std::ops::Range;

use super::blob::Blob;
use super::code::Unnamed;
use super::layout::{DebugPlace, Layout, MetadataPlace};
use super::unsigned5::{Form, LONGEST, Numbers};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// In the place of a scope's offset: there is none.
const NO_SCOPE: u32 = 0;

/// Where the debug information of one compiled method lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugInfo {
    /// Where the code begins from which places count.
    code: u64,
    places: Range<u64>,
    scopes: Range<u64>,
    metadata: Range<u64>,
}

/// An instruction that has a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its offset in the code.
    pub offset: i32,
    /// The offset of the scope.
    pub scope: u32,
}

/// A method at a bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The address of its `Method`.
    pub method: u64,
    /// The index of the bytecode, if it is known.
    pub bytecode: Option<u32>,
    /// Whether it was inlined into the next.
    pub inlined: bool,
}

impl DebugInfo {
    /// Where a blob says they are; `None` if it contradicts itself.
    pub fn of(blob: &Blob<'_>, layout: &Layout) -> Option<Self> {
        let code = blob.code()?.start;
        let own = |number| Some(blob.address.wrapping_add(blob.number(number)?));
        let (places, scopes, metadata) = match layout.compiled.debug {
            DebugPlace::Inside { metadata, scopes, scopes_by_address, places, end } => {
                let scopes = if scopes_by_address { blob.number(scopes)? } else { own(scopes)? };
                let places = own(places)?;
                (places..own(end)?, scopes..places, own(metadata)?..scopes)
            }
            DebugPlace::Apart { data, end, places, scopes, metadata } => {
                let data = blob.number(data)?;
                let within = |number| Some(data.wrapping_add(blob.number(number)?));
                let (places, scopes, end) = (within(places)?, within(scopes)?, within(end)?);
                (places..scopes, scopes..end, metadata_of(blob, metadata)?)
            }
        };
        let fits = |range: &Range<u64>| range.end.checked_sub(range.start).is_some_and(|length| length < 1 << 31);
        let is_sound = [&places, &scopes, &metadata].into_iter().all(fits);
        is_sound.then_some(Self { code, places, scopes, metadata })
    }

    /// The place of the instruction at an offset of the code, or the next behind it; none if none of these has a scope.
    pub fn find_place(
        &self,
        offset: u64,
        layout: &Layout,
        memory: &ProcessMemory<'_>,
    ) -> Result<Option<Place>, Unnamed> {
        let Ok(offset) = i32::try_from(offset) else { return Ok(None) };
        let table = PlaceTable { start: self.places.start, layout };
        let count = (self.places.end - self.places.start) / u64::from(layout.compiled.place_bytes);
        let first = table.narrow(0..count, offset, memory).ok_or(Unnamed::Unreadable)?;
        let last = count.min(first + limits::HOTSPOT_PLACES_READ);
        let places = table.read(first..last, memory).ok_or(Unnamed::Unreadable)?;
        Ok(places.into_iter().find(|place| place.offset >= offset && place.scope != NO_SCOPE))
    }

    /// A scope and those it was inlined into, innermost first; none if they make no sense.
    pub fn read_scopes(
        &self,
        first: u32,
        layout: &Layout,
        memory: &ProcessMemory<'_>,
    ) -> Result<Option<Vec<Scope>>, Unnamed> {
        let (mut scopes, mut at) = (Vec::new(), first);
        while scopes.len() < limits::HOTSPOT_INLINED {
            let Some(written) = self.read_written(at, layout, memory)? else { return Ok(None) };
            let method = memory.read_u64(written.method).ok_or(Unnamed::Unreadable)?;
            let inlined = written.sender != NO_SCOPE;
            scopes.push(Scope { method, bytecode: Some(written.bytecode), inlined });
            if !inlined {
                return Ok(Some(scopes));
            }
            // Whatever was inlined was written behind what it was inlined into.
            if written.sender >= at {
                return Ok(None);
            }
            at = written.sender;
        }
        Ok(None)
    }

    fn read_written(
        &self,
        at: u32,
        layout: &Layout,
        memory: &ProcessMemory<'_>,
    ) -> Result<Option<WrittenScope>, Unnamed> {
        let start = self.scopes.start.wrapping_add(at.into());
        let length = self.scopes.end.saturating_sub(start).min(3 * LONGEST as u64);
        let bytes = memory.read_bytes(start, length as usize).ok_or(Unnamed::Unreadable)?;
        let written = WrittenScope::decode(&bytes, self.metadata.start, layout.form);
        Ok(written.filter(|written| written.method < self.metadata.end))
    }
}

/// A scope as it is written.
struct WrittenScope {
    /// The offset of what it was inlined into.
    sender: u32,
    /// Where the address of its method lies.
    method: u64,
    bytecode: u32,
}

impl WrittenScope {
    fn decode(bytes: &[u8], metadata: u64, form: Form) -> Option<Self> {
        let mut numbers = Numbers::new(bytes, form);
        let (sender, method, bytecode) = (numbers.take()?, numbers.take()?, numbers.take()?);
        let method = metadata.wrapping_add(8 * u64::from(method.checked_sub(1)?));
        // One more is written; zero is the entry of a method, which counts as its first bytecode.
        Some(Self { sender, method, bytecode: bytecode.saturating_sub(1) })
    }
}

#[cfg(test)]
impl DebugInfo {
    /// The offsets of all places that have a scope.
    pub fn all_places(&self, layout: &Layout, memory: &ProcessMemory<'_>) -> Vec<u64> {
        let table = PlaceTable { start: self.places.start, layout };
        let count = (self.places.end - self.places.start) / u64::from(layout.compiled.place_bytes);
        let places = table.read(0..count, memory).unwrap().into_iter().filter(|place| place.scope != NO_SCOPE);
        places.map(|place| place.offset as u64).collect()
    }

    /// The methods that scopes name.
    pub fn all_methods(&self, layout: &Layout, memory: &ProcessMemory<'_>) -> Vec<u64> {
        let offsets = self.all_places(layout, memory).into_iter();
        let places = offsets.map(|offset| self.find_place(offset, layout, memory).unwrap().unwrap());
        let scopes = places.flat_map(|place| self.read_scopes(place.scope, layout, memory).unwrap().unwrap());
        scopes.map(|scope| scope.method).collect()
    }
}

fn metadata_of(blob: &Blob<'_>, place: MetadataPlace) -> Option<Range<u64>> {
    Some(match place {
        MetadataPlace::BehindCode { data, offset } => {
            let start = blob.address.wrapping_add(blob.number(data)?).wrapping_add(blob.number(offset)?);
            start..start.wrapping_add(limits::HOTSPOT_METADATA_BYTES)
        }
        MetadataPlace::Apart { data, size, relocations } => {
            let data = blob.number(data)?;
            let start = blob.number(relocations)?.checked_next_multiple_of(8)?;
            data.wrapping_add(start)..data.wrapping_add(blob.number(size)?)
        }
    })
}

/// The places of a method, in the order of their instructions.
struct PlaceTable<'a> {
    start: u64,
    layout: &'a Layout,
}

impl PlaceTable<'_> {
    /// Halves a long table until the rest can be read at once; returns where to begin.
    fn narrow(&self, mut range: Range<u64>, offset: i32, memory: &ProcessMemory<'_>) -> Option<u64> {
        while range.end - range.start > limits::HOTSPOT_PLACES_READ / 2 {
            let middle = range.start + (range.end - range.start) / 2;
            match self.read(middle..middle + 1, memory)?.first()?.offset < offset {
                true => range.start = middle,
                false => range.end = middle,
            }
        }
        Some(range.start)
    }

    fn read(&self, range: Range<u64>, memory: &ProcessMemory<'_>) -> Option<Vec<Place>> {
        let (compiled, bytes) = (&self.layout.compiled, u64::from(self.layout.compiled.place_bytes));
        let length = range.end.saturating_sub(range.start) * bytes;
        let table = memory.read_bytes(self.start.wrapping_add(range.start * bytes), length as usize)?;
        let places = table.chunks_exact(bytes as usize).filter_map(|place| {
            let (offset, scope) = (compiled.place_offset.of(place)? as u32, compiled.place_scope.of(place)? as u32);
            Some(Place { offset: offset.cast_signed(), scope })
        });
        Some(places.collect())
    }
}
