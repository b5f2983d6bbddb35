//! The words of one stack, read in pieces.

use std::collections::VecDeque;

use super::limits;
use crate::process::World;
use crate::process::elf::u64_at;

/// The smallest piece: what is mapped is mapped in whole pages.
const PAGE_BYTES: u64 = 4096;

/// The memory of a process in which a stack lies.
pub(super) struct StackMemory<'a> {
    pid: u32,
    world: &'a dyn World,
    chunks: VecDeque<(u64, Vec<u8>)>,
}

impl<'a> StackMemory<'a> {
    /// Nothing is read yet.
    pub(super) fn new(pid: u32, world: &'a dyn World) -> Self {
        Self { pid, world, chunks: VecDeque::new() }
    }

    /// The word at an address.
    pub(super) fn read_word(&mut self, address: u64) -> Option<u64> {
        if let Some(word) = self.find(address) {
            return Some(word);
        }
        let read = self.read_chunk(address, limits::CHUNK_BYTES) || self.read_chunk(address, PAGE_BYTES);
        read.then(|| self.find(address)).flatten().or_else(|| self.read_apart(address))
    }

    fn find(&self, address: u64) -> Option<u64> {
        self.chunks.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            (at.checked_add(8)? <= bytes.len()).then(|| u64_at(bytes, at))
        })
    }

    fn read_chunk(&mut self, address: u64, size: u64) -> bool {
        let start = address & !(size - 1);
        let mut bytes = vec![0; size as usize];
        let read = self.world.read_memory(self.pid, start, &mut bytes).is_ok();
        if read {
            self.chunks.truncate(limits::CHUNKS - 1);
            self.chunks.push_front((start, bytes));
        }
        read
    }

    /// A word that lies across two pieces, or in memory of which no whole page can be read.
    fn read_apart(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.world.read_memory(self.pid, address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    #[test]
    fn words_are_read_up_to_the_end_of_what_is_mapped_and_across_pieces() {
        let world = FixtureWorld::default();
        let bytes: Vec<u8> = (0..0x6000u32).map(|at| (at >> 3) as u8).collect();
        world.insert(7, FixtureProcess { memory: [(0x1000, bytes)].into(), ..FixtureProcess::default() });
        let mut memory = StackMemory::new(7, &world);
        let word = |byte: u8| u64::from_le_bytes([byte; 8]);
        assert_eq!(memory.read_word(0x1008), Some(word(1)), "no whole piece, but a whole page");
        assert_eq!(memory.read_word(0x4010), Some(word(2)), "a whole piece would go too far");
        assert_eq!(memory.read_word(0x6ff8), Some(word(0xff)));
        assert_eq!([memory.read_word(0x6ffc), memory.read_word(0x7000)], [None, None]);
        assert_eq!(memory.read_word(0x1ffc), Some(u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])));
        for page in 1..=6 {
            assert!(memory.read_word(page << 12).is_some());
        }
        assert!(memory.chunks.len() <= limits::CHUNKS);
    }
}
