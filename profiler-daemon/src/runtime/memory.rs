//! Typed, bounded reads of one process's memory.

use std::cell::OnceCell;
use std::fmt;
use std::time::Instant;

use profiler_common::memory::Memory;

use crate::process::elf::{u32_at, u64_at};
use crate::process::{PresentMemory, World};

/// The memory of one process, for one look at it. Nothing that is read of it is believed; what cannot be read is `None`.
pub struct ProcessMemory<'a> {
    pid: u32,
    world: &'a dyn World,
    /// Opened for the first read.
    present: OnceCell<Box<dyn PresentMemory + 'a>>,
    /// Until when what is not present is waited for.
    until: Until,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Ever,
    Time(Instant),
    Never,
}

impl fmt::Debug for ProcessMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMemory").field("pid", &self.pid).field("until", &self.until).finish_non_exhaustive()
    }
}

impl<'a> ProcessMemory<'a> {
    /// The memory of a process of this world; what is not present is waited for.
    pub fn new(pid: u32, world: &'a dyn World) -> Self {
        Self { pid, world, present: OnceCell::new(), until: Until::Ever }
    }

    /// The same, where from a time on what is not present is not read.
    pub fn until(pid: u32, until: Instant, world: &'a dyn World) -> Self {
        Self { until: Until::Time(until), ..Self::new(pid, world) }
    }

    /// Only what is present, so that nobody is waited for.
    pub fn present(pid: u32, world: &'a dyn World) -> Self {
        Self { until: Until::Never, ..Self::new(pid, world) }
    }

    /// Fills `to` from `address` on.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Option<()> {
        let present = self.present.get_or_init(|| self.world.present_memory(self.pid));
        match present.read(address, to) {
            Some(read) => read.ok(),
            None if self.until.is_over() => None,
            None => self.world.read_memory(self.pid, address, to).ok(),
        }
    }

    /// `length` bytes; to be called with a length that was bounded.
    pub fn read_bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes)?;
        Some(bytes)
    }

    /// The byte at an address.
    pub fn read_u8(&self, address: u64) -> Option<u8> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes)?;
        Some(bytes[0])
    }

    /// The four bytes at an address.
    pub fn read_u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(u32_at(&bytes, 0))
    }

    /// The four bytes at an address, with a sign.
    pub fn read_i32(&self, address: u64) -> Option<i32> {
        self.read_u32(address).map(u32::cast_signed)
    }

    /// The word at an address.
    pub fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64_at(&bytes, 0))
    }

    /// The word at an offset from an address: a field of what lies there.
    pub fn read_field(&self, address: u64, offset: u32) -> Option<u64> {
        self.read_u64(address.wrapping_add(u64::from(offset)))
    }
}

impl Until {
    fn is_over(self) -> bool {
        match self {
            Self::Ever => false,
            Self::Time(until) => Instant::now() >= until,
            Self::Never => true,
        }
    }
}

impl Memory for &ProcessMemory<'_> {
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.read_u64(address)
    }

    fn read_words<const N: usize>(&mut self, address: u64, bytes: u32, to: &mut [u64; N]) -> bool {
        let length = (bytes as usize).min(N * 8);
        self.read(address, &mut bytemuck::cast_slice_mut(to)[..length]).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    #[test]
    fn values_are_read_where_there_is_memory_and_nowhere_else() {
        let world = FixtureWorld::default();
        let memory = [(0x1000, (1..=16).collect())].into();
        world.insert(7, FixtureProcess { memory, ..Default::default() });
        let memory = ProcessMemory::new(7, &world);
        let mut words_of = &memory;
        assert_eq!((memory.read_u8(0x1000), memory.read_u8(0x1010)), (Some(1), None));
        assert_eq!((memory.read_u32(0x100c), memory.read_u32(0x100d)), (Some(0x100f_0e0d), None));
        assert_eq!((memory.read_u64(0x1008), memory.read_u64(0xfff)), (Some(0x100f_0e0d_0c0b_0a09), None));
        assert_eq!(memory.read_field(0x1000, 8), words_of.read_word(0x1008));
        let mut words = [0; 2];
        assert!(words_of.read_words(0x1004, 12, &mut words) && !words_of.read_words(0x1004, 16, &mut words));
        assert_eq!(words, [0x0c0b_0a09_0807_0605, 0x100f_0e0d]);
        assert_eq!(ProcessMemory::new(8, &world).read_u8(0x1000), None);
    }

    #[test]
    fn what_is_not_present_is_read_only_by_who_waits_and_while_there_is_time() {
        let (world, absent) = (FixtureWorld::default(), std::iter::once(0x1000..0x1008).collect());
        let memory = [(0x1000, (1..=16).collect())].into();
        world.insert(7, FixtureProcess { memory, absent, ..Default::default() });
        let read = |memory: ProcessMemory<'_>| (memory.read_u8(0x1000), memory.read_u8(0x1008));
        let now = Instant::now();
        assert_eq!(read(ProcessMemory::new(7, &world)), (Some(1), Some(9)));
        assert_eq!(read(ProcessMemory::present(7, &world)), (None, Some(9)));
        assert_eq!(read(ProcessMemory::until(7, now, &world)), (None, Some(9)));
        assert_eq!(read(ProcessMemory::until(7, now + Duration::from_secs(60), &world)), (Some(1), Some(9)));
    }
}
