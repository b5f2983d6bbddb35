//! Memory read in large pieces and kept, for tables and texts that lie scattered near each other.

use std::collections::HashMap;

use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

const PAGE: u64 = 4096;
/// How many pages are read at once: the kernel maps as many when one is touched.
const PAGES: u64 = 16;

/// The memory of a process as it was when it was first asked for.
pub struct Windows<'a, 'w> {
    memory: &'a ProcessMemory<'w>,
    /// By number; none of one that cannot be read.
    pages: HashMap<u64, Option<Box<[u8]>>>,
    reads: usize,
}

impl<'a, 'w> Windows<'a, 'w> {
    /// Nothing was read yet.
    pub fn new(memory: &'a ProcessMemory<'w>) -> Self {
        Self { memory, pages: HashMap::new(), reads: 0 }
    }

    /// How often the process was asked.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// The word at an address.
    pub fn read_u64(&mut self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.copy(address, &mut word)?;
        Some(u64::from_le_bytes(word))
    }

    /// The text at an address, up to a zero byte, cut where it is too long. What is not UTF-8 is replaced.
    pub fn read_text(&mut self, address: u64) -> Option<String> {
        let mut text = Vec::new();
        while text.len() < limits::HOTSPOT_WORD_BYTES {
            let rest = self.rest_of_page(address.wrapping_add(text.len() as u64))?;
            let rest = &rest[..rest.len().min(limits::HOTSPOT_WORD_BYTES - text.len())];
            let end = rest.iter().position(|byte| *byte == 0);
            text.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if end.is_some() {
                break;
            }
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn copy(&mut self, address: u64, to: &mut [u8]) -> Option<()> {
        let mut done = 0;
        while done < to.len() {
            let rest = self.rest_of_page(address.wrapping_add(done as u64))?;
            let length = rest.len().min(to.len() - done);
            to[done..done + length].copy_from_slice(&rest[..length]);
            done += length;
        }
        Some(())
    }

    /// What lies from an address to the end of its page: at least one byte.
    fn rest_of_page(&mut self, address: u64) -> Option<&[u8]> {
        let page = address / PAGE;
        if !self.pages.contains_key(&page) {
            self.load(page);
        }
        self.pages.get(&page)?.as_ref()?.get((address % PAGE) as usize..)
    }

    /// Reads a page with those around it, or alone where one of those cannot be read.
    fn load(&mut self, page: u64) {
        let first = page / PAGES * PAGES;
        if let Some(bytes) = self.read(first, PAGES) {
            let pieces = bytes.chunks_exact(PAGE as usize).map(|piece| Some(piece.into()));
            for (number, piece) in (first..).zip(pieces) {
                self.pages.entry(number).or_insert(piece);
            }
        } else {
            let alone = self.read(page, 1).map(Vec::into_boxed_slice);
            self.pages.insert(page, alone);
        }
    }

    fn read(&mut self, first: u64, pages: u64) -> Option<Vec<u8>> {
        if self.reads >= limits::HOTSPOT_TABLE_READS {
            return None;
        }
        self.reads += 1;
        self.memory.read_bytes(first.wrapping_mul(PAGE), (pages * PAGE) as usize)
    }
}
