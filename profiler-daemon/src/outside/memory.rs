//! The words of one stack, read by pages.

use std::collections::VecDeque;

use super::limits;
use crate::process::World;
use crate::process::elf::u64_at;

/// What is mapped is mapped in whole pages, and a page is there or not.
const PAGE_BYTES: u64 = 4096;

/// The memory of a process in which a stack lies.
pub(super) struct StackMemory<'a> {
    pid: u32,
    world: &'a dyn World,
    pages: VecDeque<(u64, Vec<u8>)>,
}

impl<'a> StackMemory<'a> {
    /// Nothing is read yet.
    pub(super) fn new(pid: u32, world: &'a dyn World) -> Self {
        Self { pid, world, pages: VecDeque::new() }
    }

    /// The word at an address.
    pub(super) fn read_word(&mut self, address: u64) -> Option<u64> {
        if let Some(word) = self.find(address) {
            return Some(word);
        }
        self.read_page(address).then(|| self.find(address)).flatten().or_else(|| self.read_apart(address))
    }

    fn find(&self, address: u64) -> Option<u64> {
        self.pages.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            (at.checked_add(8)? <= bytes.len()).then(|| u64_at(bytes, at))
        })
    }

    fn read_page(&mut self, address: u64) -> bool {
        let start = address & !(PAGE_BYTES - 1);
        let mut bytes = vec![0; PAGE_BYTES as usize];
        let read = self.world.read_memory(self.pid, start, &mut bytes).is_ok();
        if read {
            self.pages.truncate(limits::PAGES - 1);
            self.pages.push_front((start, bytes));
        }
        read
    }

    /// A word that lies across two pages, or in memory of which no whole page can be read.
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
    fn words_are_read_up_to_the_end_of_what_is_mapped_and_across_pages() {
        let world = FixtureWorld::default();
        let bytes: Vec<u8> = (0..0x6000u32).map(|at| (at >> 3) as u8).collect();
        world.insert(7, FixtureProcess { memory: [(0x1000, bytes)].into(), ..FixtureProcess::default() });
        let mut memory = StackMemory::new(7, &world);
        let word = |byte: u8| u64::from_le_bytes([byte; 8]);
        assert_eq!(memory.read_word(0x1008), Some(word(1)));
        assert_eq!(memory.read_word(0x4010), Some(word(2)));
        assert_eq!(memory.read_word(0x6ff8), Some(word(0xff)));
        assert_eq!([memory.read_word(0x6ffc), memory.read_word(0x7000)], [None, None]);
        assert_eq!(memory.read_word(0x1ffc), Some(u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])));
        for page in 1..=6 {
            assert!(memory.read_word(page << 12).is_some());
        }
        assert!(memory.pages.len() <= limits::PAGES);
    }
}
