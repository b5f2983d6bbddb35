//! Every bound of this room.

/// Memory the unwind tables may take between two processes, in bytes; those used least recently are made or read again.
pub const TABLE_BYTES: usize = 16 << 20;
/// Pages of a stack that are remembered; most stacks are one or two.
pub const PAGES: usize = 32;
