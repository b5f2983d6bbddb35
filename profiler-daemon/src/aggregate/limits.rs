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

/// Threads with an event loop whose tasks are looked at; looks at further ones are dropped.
pub(super) const LOOP_THREADS: usize = 4096;

/// Looks that wait for the capture of the wait they fell into, of one thread: beyond, the oldest are dropped, so that of a
/// longer wait only its last minutes count.
pub(super) const LOOKS: usize = 4096;

/// Entries of the places in all of these looks, of all threads, and one more for each look: at 88 bytes each, 22 MiB. Beyond, the
/// oldest looks of the thread are dropped, or the new one.
pub(super) const LOOK_ENTRIES: usize = 1 << 18;

/// Captured waits of a thread that are remembered for looks that come late.
pub(super) const LOOP_WAITS: usize = 16;

/// Places where tasks of a thread's loop await something, told apart in one window and for one kind of wait. Beyond, the names of
/// tasks do not count, as those of a server that has a task for each request.
pub(super) const NAMED_PLACES: usize = 2048;

/// The same, all in all. The weight of further ones stays with the loop.
pub(super) const PLACES: usize = 4096;

/// Entries of the places of all loops and kinds of wait in one window, likewise 22 MiB.
pub(super) const WINDOW_ENTRIES: usize = 1 << 18;

/// Threads that end waits of threads of a window, told apart by the process of those that waited. Others are told as some thread.
pub(super) const WAKERS: usize = 4096;
