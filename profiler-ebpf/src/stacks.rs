//! Capturing one stack and sending it out whole.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_ringbuf_output, bpf_send_signal_thread};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, ProgramArray};
use profiler_common::hotspot;
use profiler_common::limits::KERNEL_FRAMES;
use profiler_common::python::ENTRY_WORDS;
use profiler_common::record::{self, FLAG_COLLECTING, FLAG_STACK_POINTERS, STACK_WORDS, StackHeader, WaitReason};
use profiler_common::unwind::stop;
use profiler_common::wait_budget::CpuBudget;

use crate::python::PythonWalk;
use crate::task::Task;
use crate::threads::{self, Thread};
use crate::user_stack::{Next, ROOM_WORDS, Walk};
use crate::{maps, offsets, reasons};

/// Room for one record and the state of its walk, too large for the program's own stack.
#[repr(C)]
pub struct Room {
    header: StackHeader,
    words: [u64; ROOM_WORDS],
    walk: Walk,
    java: hotspot::walk::Room,
    python: PythonWalk,
}

/// The samples of the timer interrupt nest inside the switch programs, so each has its own room.
#[map]
static ON_CPU_ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);
#[map]
static OFF_CPU_ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// The programs that go on with a walk; an array holds programs of one kind.
#[map]
static ON_CPU_WALKS: ProgramArray = ProgramArray::with_max_entries(WALKS, 0);
#[map]
static OFF_CPU_WALKS: ProgramArray = ProgramArray::with_max_entries(WALKS, 0);

/// In an array of walks: the program that walks user frames.
const USER_WALK: u32 = 0;
/// The program that walks Python frames.
const PYTHON_WALK: u32 = 1;
/// The program that walks the tasks of asyncio that await the running one.
const AWAIT_WALK: u32 = 2;
/// The program that walks Java frames.
const JAVA_WALK: u32 = 3;
const WALKS: u32 = 4;

/// T of each CPU, and how many captures of waits it has left.
#[map]
static BUDGET: PerCpuArray<CpuBudget> = PerCpuArray::with_max_entries(1, 0);

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

/// The budget of this CPU.
#[inline(always)]
pub fn cpu_budget() -> Option<&'static mut CpuBudget> {
    // SAFETY: the entry belongs to this CPU, and only switch programs, which do not nest, use it.
    unsafe { BUDGET.get_ptr_mut(0)?.as_mut() }
}

/// Walks the current task's stacks and sends them out. Does not return if another program goes on with the walk.
#[inline(always)]
pub fn capture(context: &impl EbpfContext, thread: &Thread, capture: Capture) {
    let Some(room) = room(capture.kind) else { return };
    maps::count(record::COUNTER_STACK_WALKS);
    let kernel = walk_kernel(context.as_ptr(), room);
    fill_header(room, thread, capture, kernel);
    if capture.kind == record::STACK_OFF_CPU {
        let mut cache = thread.descriptor;
        reasons::write(Task::current(), thread, thread.ledger.account, &mut cache, true, &mut room.header.reason);
    }
    room.python.skip();
    if thread.kernel_thread != 0 {
        room.walk.skip();
    } else {
        room.walk.start(&thread.identity, kernel);
        go_on(context, capture.kind, USER_WALK);
        room.walk.give_up();
    }
    finish(room);
}

/// Goes on with the walk that the current program's predecessor began.
#[inline(always)]
pub fn continue_walk(context: &impl EbpfContext, kind: u8) {
    let Some(room) = room(kind) else { return };
    match room.walk.advance(&mut room.words) {
        Next::Native => go_on(context, kind, USER_WALK),
        Next::Java => {
            go_on(context, kind, JAVA_WALK);
            // It is loaded when the first virtual machine is met.
            room.walk.lack_program();
        }
        Next::Done => {}
    }
    room.walk.give_up();
    if room.walk.has_python() {
        let begin = u32::from(room.header.kernel_frames) + room.walk.kept() * room.walk.stride();
        if room.python.start(room.walk.space(), begin, room.walk.stack_pointer()) {
            go_on(context, kind, PYTHON_WALK);
            // It is loaded when the first interpreter is met.
            room.python.skip();
            room.walk.lack_program();
        }
    }
    finish(room);
}

/// Walks Java frames, until there is another one. Then the walk of native frames goes on, also if it has no more to do than to end.
#[inline(always)]
pub fn continue_java(context: &impl EbpfContext, kind: u8) {
    let Some(room) = room(kind) else { return };
    match room.walk.advance_java(&mut room.java, &mut room.words) {
        Next::Java => go_on(context, kind, JAVA_WALK),
        Next::Native | Next::Done => go_on(context, kind, USER_WALK),
    }
    room.walk.give_up();
    finish(room);
}

/// Walks Python frames behind the user frames.
#[inline(always)]
pub fn continue_python(context: &impl EbpfContext, kind: u8) {
    let Some(room) = room(kind) else { return };
    let Some(thread) = threads::find(Task::current()) else { return };
    if room.python.advance(thread, &mut room.words) {
        go_on(context, kind, PYTHON_WALK);
        room.python.give_up();
    }
    if kind == record::STACK_ON_CPU && room.python.collects(thread) {
        room.header.flags |= FLAG_COLLECTING;
    }
    if room.python.has_task() {
        go_on(context, kind, AWAIT_WALK);
        room.python.give_up_awaiting();
    } else if room.python.lacks_task() {
        room.python.give_up_awaiting();
    }
    finish(room);
}

/// Walks tasks of asyncio behind the Python frames.
#[inline(always)]
pub fn continue_awaiting(context: &impl EbpfContext, kind: u8) {
    let Some(room) = room(kind) else { return };
    if room.python.advance_awaiting(&mut room.words) {
        go_on(context, kind, AWAIT_WALK);
        room.python.give_up_awaiting();
    }
    finish(room);
}

#[inline(always)]
fn room(kind: u8) -> Option<&'static mut Room> {
    let room = if kind == record::STACK_ON_CPU { &ON_CPU_ROOM } else { &OFF_CPU_ROOM };
    // SAFETY: the room belongs to this CPU and this kind of program.
    unsafe { room.get_ptr_mut(0)?.as_mut() }
}

/// Returns only if there is no program to go on.
#[inline(always)]
fn go_on(context: &impl EbpfContext, kind: u8, walk: u32) {
    let walks = if kind == record::STACK_ON_CPU { &ON_CPU_WALKS } else { &OFF_CPU_WALKS };
    // SAFETY: the array holds programs of the caller's kind, which take the same context.
    unsafe { walks.tail_call(context, walk) };
}

#[inline(always)]
fn walk_kernel(context: *mut c_void, room: &mut Room) -> u32 {
    let to = room.words.as_mut_ptr();
    // SAFETY: the room holds more than KERNEL_FRAMES addresses; the verifier checks it.
    let bytes = unsafe { bpf_get_stack(context, to.cast(), (KERNEL_FRAMES * 8) as u32, 0) };
    let frames = if bytes <= 0 { 0 } else { bytes as u32 / 8 };
    if frames >= KERNEL_FRAMES as u32 {
        maps::count(record::COUNTER_STACK_TRUNCATED);
        return KERNEL_FRAMES as u32;
    }
    frames
}

#[inline(always)]
fn fill_header(room: &mut Room, thread: &Thread, capture: Capture, kernel: u32) {
    room.header = StackHeader {
        identity: thread.identity,
        at_ns: capture.at_ns,
        duration_ns: capture.duration_ns,
        runq_ns: capture.runq_ns,
        weight_ns: capture.weight_ns,
        period_ns: capture.period_ns,
        python_thread: 0,
        lock_holder: 0,
        code_ns: 0,
        reason: WaitReason::NONE,
        kernel_frames: kernel as u16,
        user_frames: 0,
        kind: capture.kind,
        class: capture.class,
        flags: capture.flags,
        stop: 0,
        walked: 0,
        python_entries: 0,
        python_stop: 0,
        await_stop: 0,
        task_entries: 0,
    };
}

/// Stacks of a thread's program image that wake the user half because they were cut where code was not known.
const CUT_ANNOUNCEMENTS: u32 = 8;

/// Whether the user half can mend that: it must read the mappings of the process.
#[inline(always)]
fn lacks_code(ending: u8) -> bool {
    ending == stop::UNMAPPED || ending == stop::UNPREPARED
}

/// Sends the record. The first stack of a program image wakes the user half, which must read the mappings while the process
/// lives; so do a few stacks that were cut for want of them.
#[inline(always)]
fn finish(room: &mut Room) {
    let Some(thread) = threads::find(Task::current()) else { return };
    let (kept, stride) = (room.walk.kept(), room.walk.stride());
    room.header.user_frames = kept as u16;
    room.header.walked = room.walk.walked as u16;
    room.header.stop = room.walk.ending();
    room.header.flags |= if stride == 2 { FLAG_STACK_POINTERS } else { 0 };
    room.header.code_ns = room.walk.code_ns();
    room.header.python_thread = room.python.state;
    room.header.lock_holder = thread.python.lock_holder;
    room.header.python_entries = room.python.entries as u16;
    room.header.python_stop = room.python.stop as u8;
    room.header.await_stop = room.python.await_stop as u8;
    room.header.task_entries = room.python.task_entries as u16;
    let words = u32::from(room.header.kernel_frames) + kept * stride + room.python.entries * ENTRY_WORDS as u32;
    let words = if words > STACK_WORDS as u32 { STACK_WORDS as u32 } else { words };
    let is_urgent = thread.announced == 0 || lacks_code(room.header.stop) && thread.announced < CUT_ANNOUNCEMENTS;
    let wake = if is_urgent { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let bytes = size_of::<StackHeader>() as u64 + u64::from(words) * 8;
    let map = (&raw const maps::STACKS).cast_mut().cast();
    // SAFETY: the verifier bounds `bytes` by the size of the room.
    let sent = unsafe { bpf_ringbuf_output(map, core::ptr::from_mut(room).cast(), bytes, u64::from(wake)) };
    if sent < 0 {
        maps::count(record::COUNTER_STACK_RING_FULL);
    } else if is_urgent {
        thread.announced += 1;
    }
    if offsets::stop_signal() != 0 && thread.kernel_thread == 0 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_send_signal_thread(offsets::stop_signal()) };
    }
}
