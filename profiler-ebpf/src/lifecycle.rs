//! Records of threads that end or change who they are, with their totals; and of memory mapped where code was.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use profiler_common::ledger::{Reading, phase};
use profiler_common::record::{self, CodeMapped, FLAG_KERNEL_THREAD, Identity, Lifecycle, Totals};
use profiler_common::unwind::code::Range;
use profiler_common::wait_lengths::Lengths;

use crate::maps::{self, LIFECYCLE};
use crate::task::Task;
use crate::threads::Thread;

/// Reports the totals of a selected thread for the last time under its identity. The books are closed after this.
#[inline(always)]
pub fn report_end(kind: u32, task: Task, thread: &mut Thread, at: Reading) {
    let Some(mut entry) = LIFECYCLE.reserve::<Lifecycle>(0) else {
        maps::count(record::COUNTER_LIFECYCLE_RING_FULL);
        return;
    };
    thread.ledger.add_in_progress(at);
    thread.ledger.phase = phase::OFF;
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved entry is valid for writes until it is submitted, and every field is written.
    unsafe {
        (*record).identity = thread.identity;
        (*record).at_ns = at.now_ns;
        (*record).totals = thread.ledger.totals;
        copy_lengths(&raw mut (*record).lengths, &raw const thread.lengths);
        (*record).thread_name = task.comm();
        (*record).process_name = task.leader().comm();
        (*record).kind = kind;
        (*record).flags = if thread.kernel_thread != 0 { u32::from(FLAG_KERNEL_THREAD) } else { 0 };
    }
    entry.submit(0);
}

/// By a helper: a copy of this size would be a call of a function that there is not.
#[inline(always)]
unsafe fn copy_lengths(to: *mut Lengths, from: *const Lengths) {
    // SAFETY: the caller's pointers are valid; the helper has no other preconditions.
    unsafe { bpf_probe_read_kernel(to.cast(), size_of::<Lengths>() as u32, from.cast()) };
}

/// Reports that a process, selected or not, has a new program or name.
#[inline(always)]
pub fn report_exec(task: Task, name: [u8; 16]) {
    let Some(mut entry) = LIFECYCLE.reserve::<Lifecycle>(0) else {
        maps::count(record::COUNTER_LIFECYCLE_RING_FULL);
        return;
    };
    let now_ns = task.reading().now_ns;
    let record = entry.as_mut_ptr();
    // SAFETY: as above, but for the lengths, which nobody reads here.
    unsafe {
        (*record).identity.tgid = task.tgid();
        (*record).identity.pid = task.pid();
        (*record).identity.process_start_ns = task.leader().start_ns();
        (*record).identity.thread_start_ns = task.start_ns();
        (*record).identity.exec_ns = now_ns;
        (*record).identity.attach_ns = 0;
        (*record).at_ns = now_ns;
        (*record).totals = Totals::ZERO;
        (*record).thread_name = name;
        (*record).process_name = name;
        (*record).kind = record::LIFECYCLE_EXEC;
        (*record).flags = 0;
    }
    entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
}

/// Reports that memory is about to be mapped where code was: the user half must read the mappings of the process again, and is
/// woken unless it was already. If the record is lost, stacks tell it.
#[inline(always)]
pub fn report_mapped(identity: &Identity, range: Range, (before_ns, at_ns): (u64, u64), is_asked: bool) {
    let Some(mut entry) = LIFECYCLE.reserve::<CodeMapped>(0) else {
        maps::count(record::COUNTER_LIFECYCLE_RING_FULL);
        return;
    };
    entry.write(CodeMapped { identity: *identity, at_ns, before_ns, start: range.start, end: range.end });
    entry.submit(u64::from(if is_asked { BPF_RB_NO_WAKEUP } else { BPF_RB_FORCE_WAKEUP }));
}
