//! What the descriptor a thread waited on last refers to, kept so that it is decoded once and not at every wait.

use crate::classify::descriptor;

/// The last decoded descriptor of one thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DescriptorCache {
    /// The address of the open file; zero if nothing is cached.
    pub file: u64,
    /// The descriptor's number.
    pub number: u32,
    /// What it refers to, of [`descriptor`].
    pub kind: u32,
}

impl DescriptorCache {
    /// Nothing cached.
    pub const EMPTY: Self = Self { file: 0, number: 0, kind: descriptor::UNKNOWN as u32 };

    /// The kind of the open file, decoded by `decode` unless it was decoded last.
    #[inline(always)]
    pub fn resolve(&mut self, number: u32, file: u64, decode: impl FnOnce(u64) -> u8) -> u8 {
        if file == 0 {
            return descriptor::UNKNOWN;
        }
        if (self.number, self.file) != (number, file) {
            *self = Self { file, number, kind: u32::from(decode(file)) };
        }
        self.kind as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_decoded_again_only_when_its_number_or_its_file_changes() {
        let mut cache = DescriptorCache::EMPTY;
        let mut decoded = 0;
        for (number, file, kind, expected) in
            [(3, 0x10, 1, 1), (3, 0x10, 9, 1), (3, 0x20, 2, 2), (4, 0x20, 4, 4), (5, 0, 7, 0)]
        {
            let seen = cache.resolve(number, file, |_| {
                decoded += 1;
                kind
            });
            assert_eq!(seen, expected);
        }
        assert_eq!(decoded, 3);
    }
}
