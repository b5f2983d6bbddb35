//! How long the waits of a thread were, not only their sum: counts by powers of two, and the longest, for each wait class.

use crate::wait_class;

/// Bucket 0 has waits shorter than 1024 ns; bucket *n* those from 2^(9+n) ns to twice that; the last, all from 2^34 ns (17 s) on.
pub const BUCKETS: usize = 26;

const COUNTS: usize = wait_class::COUNT * BUCKETS;

/// The lengths of one thread's waits that have ended. Queueing for a CPU is not part of a wait.
///
/// Only the CPU that switches the thread writes it. Another may read each number at any time; it takes differences, so that
/// the counts may run over.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Lengths {
    counts: [u32; COUNTS],
    longest_ns: [u64; wait_class::COUNT],
}

impl Lengths {
    /// No waits.
    pub const NONE: Self = Self { counts: [0; COUNTS], longest_ns: [0; wait_class::COUNT] };

    /// Counts a wait. What is no wait class counts for nothing.
    #[inline(always)]
    pub fn add(&mut self, class: u8, length_ns: u64) {
        let class = opaque(usize::from(class));
        if class >= wait_class::COUNT {
            return;
        }
        if length_ns > self.longest_ns[class] {
            self.longest_ns[class] = length_ns;
        }
        let at = opaque(class * BUCKETS + bucket(length_ns));
        if at < COUNTS {
            self.counts[at] = self.counts[at].wrapping_add(1);
        }
    }

    /// The counts of a class, by bucket.
    pub fn of(&self, class: u8) -> &[u32] {
        let from = usize::from(class) * BUCKETS;
        &self.counts[from..from + BUCKETS]
    }

    /// The longest wait of a class.
    pub fn longest_ns(&self, class: u8) -> u64 {
        self.longest_ns[usize::from(class)]
    }
}

/// Verifiers follow a bound only in the register that was compared: what the compiler knows of the number, it must forget.
#[inline(always)]
fn opaque(index: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    let index = core::hint::black_box(index);
    index
}

/// The bucket of a length.
#[inline(always)]
pub fn bucket(length_ns: u64) -> usize {
    const LAST: u32 = 1 << (BUCKETS - 2);
    let units = length_ns >> 10;
    let units = if units < LAST as u64 { units as u32 } else { LAST };
    (u32::BITS - units.leading_zeros()) as usize
}

/// The shortest length in a bucket.
pub fn least_ns(bucket: usize) -> u64 {
    if bucket == 0 { 0 } else { 512 << bucket }
}

/// The shortest length beyond a bucket; of the last, twice its own shortest.
pub fn end_ns(bucket: usize) -> u64 {
    512 << (bucket + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_lies_within_its_bucket() {
        for shift in 0..64 {
            for ns in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let bucket = bucket(ns);
                assert!(least_ns(bucket) <= ns && (ns < end_ns(bucket) || bucket == BUCKETS - 1), "{ns} in {bucket}");
            }
        }
        assert_eq!((bucket(1023), bucket(1024), bucket(u64::MAX)), (0, 1, BUCKETS - 1));
    }

    #[test]
    fn waits_are_counted_by_class_and_the_longest_is_kept() {
        let mut lengths = Lengths::NONE;
        [(wait_class::NET, 5000), (wait_class::NET, 4500), (wait_class::DISK, 1), (200, 9)]
            .into_iter()
            .for_each(|(class, ns)| lengths.add(class, ns));
        assert_eq!((lengths.of(wait_class::NET)[3], lengths.longest_ns(wait_class::NET)), (2, 5000));
        assert_eq!((lengths.of(wait_class::DISK)[0], lengths.longest_ns(wait_class::DISK)), (1, 1));
        assert_eq!(lengths.counts.iter().sum::<u32>(), 3);
    }
}
