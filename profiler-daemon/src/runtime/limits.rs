//! Every bound of this room.

/// Images with attached runtimes; beyond that the least recently used are let go, and their late stacks stay unnamed.
pub const IMAGES: usize = 256;
/// The largest perf map read; of a larger one only the beginning counts.
pub const PERF_MAP_BYTES: usize = 64 << 20;
/// All perf maps in memory together; a map that would exceed it is not read, and its addresses stay unnamed.
pub const PERF_MAPS_BYTES: usize = 256 << 20;
/// Entries of one perf map; further ones are ignored.
pub const PERF_MAP_ENTRIES: usize = 1 << 20;
/// Bytes kept of a name; a longer one is cut.
pub const NAME_BYTES: usize = 1024;
