//! What the descriptor a thread waited on last refers to, kept so that it is decoded once and not at every wait.

use crate::classify::descriptor;

/// The last decoded kind of open file of one thread.
///
/// It goes by the file's operations, which tell its kind as long as the kernel runs. Numbers and addresses do not: the
/// next file that is opened often has both from the last that was closed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DescriptorCache {
    /// The address of the operations; zero if nothing is cached.
    pub operations: u64,
    /// What it refers to, of [`descriptor`].
    pub kind: u64,
}

impl DescriptorCache {
    /// Nothing cached.
    pub const EMPTY: Self = Self { operations: 0, kind: descriptor::UNKNOWN as u64 };

    /// The kind of an open file by its operations, decoded by `decode` unless it was decoded last. All sockets share their
    /// operations, so `decode` must not tell them apart.
    #[inline(always)]
    pub fn resolve(&mut self, operations: u64, decode: impl FnOnce() -> u8) -> u8 {
        if operations == 0 {
            return descriptor::UNKNOWN;
        }
        if self.operations != operations {
            *self = Self { operations, kind: u64::from(decode()) };
        }
        self.kind as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_decoded_again_only_when_its_operations_change() {
        let mut cache = DescriptorCache::EMPTY;
        let mut decoded = 0;
        for (operations, kind, expected) in [(0x10, 1, 1), (0x10, 9, 1), (0x20, 2, 2), (0, 7, 0), (0x20, 8, 2)] {
            let seen = cache.resolve(operations, || {
                decoded += 1;
                kind
            });
            assert_eq!(seen, expected);
        }
        assert_eq!(decoded, 2);
    }
}
