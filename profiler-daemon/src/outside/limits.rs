//! Every bound of this room.

/// Memory the unwind tables may take between two processes, in bytes; those used least recently are made or read again.
pub const TABLE_BYTES: usize = 16 << 20;
/// Bytes of a stack read at once.
pub const CHUNK_BYTES: u64 = 16 << 10;
/// Pieces of a stack that are remembered; most stacks are one or two.
pub const CHUNKS: usize = 8;
