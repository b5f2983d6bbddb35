//! The life of tasks: fork, exec, exit, and the pass over all of them.

use core::ffi::c_void;

use aya_ebpf::bindings::{seq_file, task_struct};
use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use aya_ebpf::helpers::generated::bpf_seq_write;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use profiler_common::classify::state;
use profiler_common::descriptor_cache::DescriptorCache;
use profiler_common::ledger::{Ledger, Opening, phase};
use profiler_common::record::{
    FLAG_BEFORE_ATTACH, FLAG_INVOLUNTARY, FLAG_KERNEL_THREAD, LIFECYCLE_DESELECTED, LIFECYCLE_IDENTITY_END, Snapshot,
    account, control,
};
use profiler_common::wait_lengths::Lengths;

use crate::python::PythonThread;
use crate::selection::{self, Opener};
use crate::task::Task;
use crate::threads::{self, Thread};
use crate::{code, lifecycle, maps, reasons, switches};

/// `child` was created by `parent` and has not run yet.
#[inline(always)]
pub fn forked(parent: Task, child: Task) {
    let (exec_ns, announced) = match threads::find(parent) {
        Some(thread) => (thread.identity.exec_ns, thread.announced),
        None if selection::is_wanted(parent) => (0, 0),
        None => return,
    };
    selection::inherit(parent, child);
    if child.tgid() != parent.tgid() {
        code::inherit(parent, child);
    }
    let opening = Opening { phase: phase::NEW, account: account::RUNQ, flags: FLAG_INVOLUNTARY, at: child.reading() };
    let Some(thread) = selection::open(Opener::Fork, child, opening, exec_ns) else { return };
    if child.tgid() == parent.tgid() {
        thread.announced = announced;
    }
}

/// `task` runs a new program. If it was not the leader of its process it has taken over the leader's id.
#[inline(always)]
pub fn executed(task: Task, old_pid: u32) {
    if maps::control(control::REPORT_EXEC) {
        lifecycle::report_exec(task, task.leader().comm());
    }
    code::forget(task);
    let at = task.reading();
    if task.pid() != old_pid {
        take_over_leader(task, old_pid, at.now_ns);
    }
    if let Some(thread) = threads::find(task) {
        thread.identity.exec_ns = at.now_ns;
        thread.announced = 0;
        thread.python = PythonThread::UNKNOWN;
    }
}

#[cfg(feature = "storage")]
#[inline(always)]
fn take_over_leader(task: Task, _: u32, exec_ns: u64) {
    let Some(thread) = threads::find(task) else { return };
    let at = task.reading();
    lifecycle::report_end(LIFECYCLE_IDENTITY_END, task, thread, at);
    thread.identity.pid = task.pid();
    thread.identity.thread_start_ns = task.start_ns();
    thread.identity.attach_ns = at.now_ns;
    thread.identity.exec_ns = exec_ns;
    thread.ledger.open(Opening { phase: phase::ON, account: account::RUNQ, flags: 0, at });
    thread.clear_lengths();
}

/// The books lie under the old id; under the new one begin others.
#[cfg(feature = "hash")]
#[inline(always)]
fn take_over_leader(task: Task, old_pid: u32, exec_ns: u64) {
    let at = task.reading();
    if let Some(thread) = threads::find_of_process(old_pid, task.tgid()) {
        lifecycle::report_end(LIFECYCLE_IDENTITY_END, task, thread, at);
        threads::remove_by_pid(old_pid);
    }
    if selection::is_wanted(task) {
        threads::remove(task);
        let opening = Opening { phase: phase::ON, account: account::RUNQ, flags: 0, at };
        selection::open(Opener::Fork, task, opening, exec_ns);
    }
}

/// `task` is about to exit. A process without threads is no target any more.
#[inline(always)]
pub fn exiting(task: Task) {
    if task.is_last_of_process() {
        selection::forget(task);
        code::forget(task);
    }
}

/// `task` is about to be called `name`, a kernel string.
#[inline(always)]
pub fn renamed(task: Task, name: u64) {
    if task.pid() != task.tgid() {
        return;
    }
    let mut bytes = [0; 16];
    // SAFETY: the helper checks the address.
    if unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, &mut bytes) }.is_ok() {
        lifecycle::report_exec(task, bytes);
    }
}

/// What an iterator program is handed.
#[repr(C)]
pub struct IterContext {
    meta: *mut IterMeta,
    task: *mut task_struct,
}

#[repr(C)]
struct IterMeta {
    seq: *mut seq_file,
}

#[map]
static SNAPSHOT_ROOM: PerCpuArray<SnapshotRoom> = PerCpuArray::with_max_entries(1, 0);

/// A copy of the books to bring up to date, and the record that is sent.
#[repr(C)]
struct SnapshotRoom {
    ledger: Ledger,
    snapshot: Snapshot,
}

/// Opens, reports or closes the books of one task.
#[inline(always)]
pub fn visit(context: *mut IterContext) {
    // SAFETY: the kernel hands a valid context; the verifier checks the accesses.
    let (meta, pointer) = unsafe { ((*context).meta, (*context).task) };
    if pointer.is_null() {
        return;
    }
    let task = Task::new(pointer);
    // A task that nobody has waited for yet: its last books were sent when it ended.
    if task.state() & state::DEAD != 0 {
        return;
    }
    let wanted = selection::is_wanted(task);
    let thread = match threads::find(task) {
        Some(thread) if !wanted => return close(task, thread),
        None if wanted => seed(task),
        known => known,
    };
    // In one place, so that the verifier follows it once.
    if let Some(thread) = thread {
        report(meta, task, thread);
    }
}

/// Opens the books of a thread that existed before it was selected.
#[inline(always)]
fn seed(task: Task) -> Option<&'static mut Thread> {
    let at = task.reading();
    if task.is_on_cpu() {
        let opening = Opening { phase: phase::ON, account: account::RUNQ, flags: 0, at };
        return selection::open(Opener::Iter, task, opening, 0);
    }
    let opening = Opening { phase: phase::OFF, account: account::RUNQ, flags: FLAG_BEFORE_ATTACH, at };
    let thread = selection::open(Opener::Iter, task, opening, 0)?;
    let cause = switches::cause_from_outside(task, thread);
    if thread.ledger.phase == phase::OFF && thread.ledger.since_ns == at.now_ns {
        thread.ledger.account = cause.account;
        thread.ledger.flags = cause.flags | FLAG_BEFORE_ATTACH;
    }
    Some(thread)
}

#[inline(always)]
fn close(task: Task, thread: &mut Thread) {
    lifecycle::report_end(LIFECYCLE_DESELECTED, task, thread, task.reading());
    threads::remove(task);
}

#[inline(always)]
fn report(meta: *mut IterMeta, task: Task, thread: &Thread) {
    let Some(room) = SNAPSHOT_ROOM.get_ptr_mut(0) else { return };
    // SAFETY: the room belongs to this CPU and this program.
    let room = unsafe { &mut *room };
    // A thread that is being switched all the time is met by the next pass.
    if !thread.copy_ledger(&mut room.ledger) {
        return;
    }
    let at = task.reading();
    room.ledger.add_in_progress(at);
    let snapshot = &mut room.snapshot;
    snapshot.identity = thread.identity;
    snapshot.at_ns = at.now_ns;
    snapshot.totals = room.ledger.totals;
    snapshot.thread_name = task.comm();
    snapshot.process_name = task.leader().comm();
    snapshot.flags =
        u32::from(thread.ledger.flags) | if thread.kernel_thread != 0 { u32::from(FLAG_KERNEL_THREAD) } else { 0 };
    let is_off = room.ledger.phase == phase::OFF;
    snapshot.waits_for = u32::from(room.ledger.account);
    snapshot.waits_since_ns = if is_off { room.ledger.since_ns } else { 0 };
    snapshot.thread_pointer = task.thread_pointer();
    let account = if is_off { room.ledger.account } else { account::RUNQ };
    let mut cache = DescriptorCache::EMPTY;
    reasons::write(task, thread, account, &mut cache, false, &mut snapshot.reason);
    snapshot.kept = task.registers().kept();
    let lengths = core::ptr::from_ref(&thread.lengths).cast_mut().cast::<c_void>();
    // SAFETY: the verifier checks the sequence file, the room and the thread's state. A full sequence makes the kernel take back
    // what was written of the task, and visit it again.
    unsafe {
        bpf_seq_write((*meta).seq, core::ptr::from_mut(snapshot).cast::<c_void>(), size_of::<Snapshot>() as u32);
        bpf_seq_write((*meta).seq, lengths, size_of::<Lengths>() as u32);
    }
}
