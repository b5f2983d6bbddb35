//! Who ended a wait, in one word: the thread that woke the sleeper, or what ran on that thread's CPU instead.
//!
//! The CPU that wakes a thread writes the word, and the one on which the thread resumes takes it away. One word, so that nobody
//! ever sees half of it: the lowest 22 bits are the waker's tid and the next 22 its pid, since the kernel gives out no larger
//! ones, and the next four the context. Zero means that no wake was seen.

/// The context in which a thread was woken.
pub mod context {
    /// No wake was seen.
    pub const NONE: u8 = 0;
    /// The waker's own code, or the kernel's on its behalf.
    pub const THREAD: u8 = 1;
    /// A timer was up.
    pub const TIMER: u8 = 2;
    /// An interrupt of a device, or of another CPU.
    pub const INTERRUPT: u8 = 3;
    /// A soft interrupt, such as that of network packets.
    pub const SOFT_INTERRUPT: u8 = 4;
    /// A soft interrupt, while the thread on that CPU was in a system call on a connection within this host.
    pub const CONNECTION: u8 = 5;
    /// An interrupt that cannot be masked.
    pub const NMI: u8 = 6;
    /// A CPU that had nothing to do.
    pub const IDLE: u8 = 7;
    /// It cannot be told.
    pub const UNKNOWN: u8 = 8;
}

/// The bits of a tid or pid: the kernel's own bound of them is 4,194,304.
const ID_BITS: u32 = 22;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

const SERVING_SOFT_INTERRUPT: u32 = 1 << 8;
const INTERRUPT_BITS: u32 = 0xf << 16;
const NMI_BITS: u32 = 0xf << 20;

/// What runs on a CPU, by its preempt count. That soft interrupts are merely disabled does not count.
///
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/preempt.h>
#[inline(always)]
pub fn context_of(preempt_count: u32) -> u8 {
    if preempt_count & NMI_BITS != 0 {
        context::NMI
    } else if preempt_count & INTERRUPT_BITS != 0 {
        context::INTERRUPT
    } else if preempt_count & SERVING_SOFT_INTERRUPT != 0 {
        context::SOFT_INTERRUPT
    } else {
        context::THREAD
    }
}

/// The word of a wake by no thread.
#[inline(always)]
pub fn pack_context(context: u8) -> u64 {
    (context as u64) << (2 * ID_BITS)
}

/// The word of a wake by a thread.
#[inline(always)]
pub fn pack_thread(context: u8, tgid: u32, pid: u32) -> u64 {
    pack_context(context) | (tgid as u64 & ID_MASK) << ID_BITS | pid as u64 & ID_MASK
}

/// The ports of a connection in one word, as the owner of a socket has them: its own, then the other end's.
#[inline(always)]
pub fn pack_ports(own: u16, peer: u16) -> u32 {
    (own as u32) << 16 | peer as u32
}

/// A word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waker {
    /// One of [`context`].
    pub context: u8,
    /// The process of the waker; zero if no thread is to blame.
    pub tgid: u32,
    /// The thread.
    pub pid: u32,
}

impl Waker {
    /// Takes a word apart.
    pub fn unpack(word: u64) -> Self {
        let id = |shift: u32| (word >> shift & ID_MASK) as u32;
        Self { context: (word >> (2 * ID_BITS) & 0xf) as u8, tgid: id(ID_BITS), pid: id(0) }
    }
}

/// Whether these are the ports of the two ends of one connection.
pub fn are_ends(one: u32, other: u32) -> bool {
    one & 0xffff != 0 && one >> 16 != 0 && one == other.rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_context_counts_and_disabled_soft_interrupts_do_not() {
        for (count, expected) in [
            (0, context::THREAD),
            (0x8000_0001, context::THREAD),
            (0x0000_0201, context::THREAD),
            (0x0000_0101, context::SOFT_INTERRUPT),
            (0x0000_0301, context::SOFT_INTERRUPT),
            (0x0001_0000, context::INTERRUPT),
            (0x0001_0102, context::INTERRUPT),
            (0x0011_0102, context::NMI),
        ] {
            assert_eq!(context_of(count), expected, "{count:#x}");
        }
    }

    #[test]
    fn a_word_holds_the_largest_ids() {
        let word = pack_thread(context::CONNECTION, 4_194_303, 4_194_302);
        assert_eq!(Waker::unpack(word), Waker { context: context::CONNECTION, tgid: 4_194_303, pid: 4_194_302 });
        assert_eq!(Waker::unpack(pack_context(context::TIMER)), Waker { context: context::TIMER, tgid: 0, pid: 0 });
        assert_eq!(Waker::unpack(0).context, context::NONE);
    }

    #[test]
    fn the_two_ends_of_a_connection_have_each_others_ports() {
        assert!(are_ends(pack_ports(80, 50_000), pack_ports(50_000, 80)));
        assert!(!are_ends(pack_ports(80, 50_000), pack_ports(80, 50_000)));
        assert!(!are_ends(pack_ports(80, 0), pack_ports(0, 80)));
        assert!(!are_ends(0, 0));
    }
}
