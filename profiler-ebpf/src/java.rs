//! The Java part of a stack: frames in the code heaps of a virtual machine, which the walk of native frames meets and goes on behind.

use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use profiler_common::hotspot::HotSpot;
use profiler_common::limits::HOTSPOTS as MOST_HOTSPOTS;

/// The virtual machine of each space that has one. Preallocated: before Linux 6.1, programs of perf events may use no other hash.
#[map]
static HOTSPOTS: HashMap<u32, HotSpot> = HashMap::with_max_entries(MOST_HOTSPOTS, 0);

/// The virtual machine of a space.
#[inline(always)]
pub fn find(space: u32) -> Option<&'static HotSpot> {
    // SAFETY: an entry that changes while it is read belongs to a space nobody has, or grows by a heap.
    unsafe { HOTSPOTS.get(space) }
}
