//! The capacities of this room.

/// Distinct stacks per window: at 1 KiB each, some 200 MiB. Samples beyond are counted as `window_full`.
pub(super) const STACKS: usize = 200_000;

/// Distinct stacks of waits that began in earlier windows, over all of these windows. Beyond, the parts of waits that lie
/// there are counted as `window_full`.
pub(super) const AMENDING_STACKS: usize = STACKS;

/// Window edges remembered, so that a long wait can be cut at them. Parts of a wait before the oldest edge are dropped.
pub(super) const EDGES: usize = 4096;

/// What threads of a window wait for, told apart: files, peers and locks by process. Waits for others have only a class and
/// a detail.
pub(super) const SUBJECTS: usize = 4096;

/// Threads that end waits of threads of a window, told apart by the process of those that waited. Others are told as some thread.
pub(super) const WAKERS: usize = 4096;
