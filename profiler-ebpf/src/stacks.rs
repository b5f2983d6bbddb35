//! Capturing one stack and sending it out whole.

use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_ringbuf_output};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use profiler_common::limits::{KERNEL_FRAMES, USER_FRAMES, WALK_SLICE_NS};
use profiler_common::record::{self, STACK_FRAMES, StackHeader};

use crate::threads::Thread;
use crate::{maps, offsets, user_stack};

/// Room for one record, too large for the program's own stack.
#[repr(C)]
pub struct Room {
    header: StackHeader,
    addresses: [u64; STACK_FRAMES + 1],
}

/// The samples of the timer interrupt nest inside the switch programs, so each has its own room.
#[map]
static ON_CPU_ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);
#[map]
static OFF_CPU_ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// How many walks this CPU did in the current slice of time.
#[repr(C)]
struct Budget {
    slice: u64,
    used: u64,
}

#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

/// What the record says beside the addresses.
#[derive(Clone, Copy)]
pub struct Capture {
    /// `STACK_ON_CPU` or `STACK_OFF_CPU`.
    pub kind: u8,
    /// The wait class.
    pub class: u8,
    /// Bits of `FLAG_*`.
    pub flags: u8,
    /// When.
    pub at_ns: u64,
    /// The length of the off-CPU interval.
    pub duration_ns: u64,
    /// Its run queue part.
    pub runq_ns: u64,
    /// What the capture stands for.
    pub weight_ns: u64,
    /// The period in force.
    pub period_ns: u64,
}

/// Whether the cap allows one more walk for a wait on this CPU.
#[inline(always)]
pub fn within_cap(now_ns: u64) -> bool {
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: the entry belongs to this CPU, and only switch programs, which do not nest, use it.
    let budget = unsafe { &mut *budget };
    let slice = now_ns / WALK_SLICE_NS;
    if budget.slice != slice {
        budget.slice = slice;
        budget.used = 0;
    }
    budget.used += 1;
    budget.used <= u64::from(offsets::walk_cap())
}

/// Walks the current task's stacks and sends them out.
#[inline(always)]
pub fn capture(context: *mut c_void, thread: &mut Thread, capture: Capture) {
    let room = if capture.kind == record::STACK_ON_CPU { &ON_CPU_ROOM } else { &OFF_CPU_ROOM };
    let Some(room) = room.get_ptr_mut(0) else { return };
    maps::count(record::COUNTER_STACK_WALKS);
    // SAFETY: the room belongs to this CPU and this kind of program.
    let room = unsafe { &mut *room };
    let kernel = walk_kernel(context, room);
    let user = if thread.kernel_thread != 0 { 0 } else { walk_user(context, room, kernel) };
    fill_header(room, thread, capture, kernel, user);
    send(room, thread, kernel + user);
}

#[inline(always)]
fn walk_kernel(context: *mut c_void, room: &mut Room) -> usize {
    let to = room.addresses.as_mut_ptr();
    // SAFETY: the room holds more than KERNEL_FRAMES addresses; the verifier checks it.
    let bytes = unsafe { bpf_get_stack(context, to.cast(), (KERNEL_FRAMES * 8) as u32, 0) };
    let frames = if bytes <= 0 { 0 } else { bytes as usize / 8 };
    if frames > KERNEL_FRAMES { KERNEL_FRAMES } else { frames }
}

#[inline(always)]
fn walk_user(context: *mut c_void, room: &mut Room, kernel: usize) -> usize {
    if kernel > KERNEL_FRAMES {
        return 0;
    }
    // SAFETY: behind KERNEL_FRAMES addresses the room holds USER_FRAMES more.
    unsafe { user_stack::walk(context, room.addresses.as_mut_ptr().add(kernel)) }
}

#[inline(always)]
fn fill_header(room: &mut Room, thread: &Thread, capture: Capture, kernel: usize, user: usize) {
    if thread.kernel_thread == 0 && user == 0 {
        maps::count(record::COUNTER_USER_STACK_UNREADABLE);
    }
    if kernel >= KERNEL_FRAMES || user >= USER_FRAMES {
        maps::count(record::COUNTER_STACK_TRUNCATED);
    }
    room.header = StackHeader {
        identity: thread.identity,
        at_ns: capture.at_ns,
        duration_ns: capture.duration_ns,
        runq_ns: capture.runq_ns,
        weight_ns: capture.weight_ns,
        period_ns: capture.period_ns,
        kernel_frames: kernel as u16,
        user_frames: user as u16,
        kind: capture.kind,
        class: capture.class,
        flags: capture.flags,
        padding: 0,
    };
}

/// The first stack of a program image wakes the user half, which must read the mappings while the process lives.
#[inline(always)]
fn send(room: &mut Room, thread: &mut Thread, frames: usize) {
    let wake = if thread.announced == 0 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let frames = if frames > STACK_FRAMES { STACK_FRAMES } else { frames };
    let bytes = (size_of::<StackHeader>() + frames * 8) as u64;
    let map = (&raw const maps::STACKS).cast_mut().cast();
    // SAFETY: the verifier bounds `bytes` by the size of the room.
    let sent = unsafe { bpf_ringbuf_output(map, core::ptr::from_mut(room).cast(), bytes, u64::from(wake)) };
    if sent < 0 {
        maps::count(record::COUNTER_STACK_RING_FULL);
    } else {
        thread.announced = 1;
    }
}
