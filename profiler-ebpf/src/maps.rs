//! The maps both halves share, and the counters of what was lost.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use profiler_common::limits;
use profiler_common::record;

/// Captured stacks.
#[map]
pub static STACKS: RingBuf = RingBuf::with_byte_size(limits::STACK_RING_BYTES, 0);

/// Ends of threads, and execs.
#[map]
pub static LIFECYCLE: RingBuf = RingBuf::with_byte_size(limits::LIFECYCLE_RING_BYTES, 0);

/// Selected processes by tgid; the value has a bit for each target that selects the process. Children inherit it.
/// Preallocated: before Linux 6.1, programs of perf events may use no other hash.
#[map]
pub static TARGETS: HashMap<u32, u64> = HashMap::with_max_entries(limits::TARGETS, 0);

/// One entry: bits of [`record::control`].
#[map]
static CONTROL: Array<u32> = Array::with_max_entries(1, 0);

/// The kind of each system call, by its number.
#[map]
static SYSCALLS: Array<u8> = Array::with_max_entries(limits::SYSCALLS as u32, 0);

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(record::COUNTERS, 0);

/// Adds one to a counter of `record::COUNTER_*`.
#[inline(always)]
pub fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: the entry belongs to this CPU; an interrupt may lose one count, which a counter can bear.
        unsafe { *value += 1 };
    }
}

/// Whether a switch of [`record::control`] is on.
#[inline(always)]
pub fn control(bit: u32) -> bool {
    CONTROL.get(0).is_some_and(|bits| bits & bit != 0)
}

/// The kind and operation of a system call, packed.
#[inline(always)]
pub fn syscall(number: i32) -> u8 {
    SYSCALLS.get(number as u32).copied().unwrap_or(profiler_common::syscall::UNKNOWN)
}
