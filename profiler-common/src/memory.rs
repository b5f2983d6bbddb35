//! The memory of a process that is walked: user memory in the kernel, another process's or a recorded one elsewhere.

/// The memory of the process.
pub trait Memory {
    /// A word.
    fn read_word(&mut self, address: u64) -> Option<u64>;
    /// Copies `bytes`, at most as many as `to` has room for. Returns whether they could be read.
    fn read_words<const N: usize>(&mut self, address: u64, bytes: u32, to: &mut [u64; N]) -> bool;
}
