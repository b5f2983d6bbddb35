//! Thread state in a hash keyed by thread id, for kernels without task-local storage. An entry stays until its thread ends.

use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;

use super::Thread;
use crate::task::Task;

const DEFAULT_THREADS: u32 = 65_536;

/// Preallocated: before Linux 6.1, programs of perf events may use no other hash.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(DEFAULT_THREADS, 0);

/// The state of a thread, or null. An entry of an earlier thread with the same id does not count.
#[inline(always)]
pub unsafe fn find(task: Task) -> *mut Thread {
    let Some(thread) = THREADS.get_ptr_mut(task.pid()) else { return ptr::null_mut() };
    // SAFETY: a looked-up entry is valid while the program runs.
    if unsafe { (*thread).identity.thread_start_ns } == task.start_ns() { thread } else { ptr::null_mut() }
}

/// The state of a thread, created from `initial` if there is none; null if the table is full.
#[inline(always)]
pub unsafe fn create(task: Task, initial: &mut Thread) -> *mut Thread {
    let pid = task.pid();
    // SAFETY: see `find`.
    let found = unsafe { find(task) };
    if !found.is_null() {
        return found;
    }
    let _ = THREADS.remove(pid);
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied onto the small stack")]
    let _ = THREADS.insert(pid, &*initial, u64::from(BPF_NOEXIST));
    THREADS.get_ptr_mut(pid).unwrap_or(ptr::null_mut())
}

/// The state under `pid` if it is that of a thread of process `tgid`, or null.
#[inline(always)]
pub unsafe fn find_of_process(pid: u32, tgid: u32) -> *mut Thread {
    let Some(thread) = THREADS.get_ptr_mut(pid) else { return ptr::null_mut() };
    // SAFETY: a looked-up entry is valid while the program runs.
    if unsafe { (*thread).identity.tgid } == tgid { thread } else { ptr::null_mut() }
}

/// Forgets what lies under `pid`.
#[inline(always)]
pub fn remove_by_pid(pid: u32) {
    let _ = THREADS.remove(pid);
}

/// Forgets a living thread.
#[inline(always)]
pub fn remove(task: Task) {
    let _ = THREADS.remove(task.pid());
}

/// Forgets a thread that ends.
#[inline(always)]
pub fn remove_ended(task: Task) {
    remove(task);
}
