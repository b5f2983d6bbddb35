//! Thread state in task-local storage: one pointer chase to find, freed by the kernel with the task.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type};
use aya_ebpf::helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get};
use aya_ebpf::macros::btf_map;

use super::Thread;
use crate::task::Task;

/// A map definition as the loader reads it from BTF: only the types of the fields matter.
#[repr(C)]
struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the definition is never written; the kernel synchronizes the map behind it.
unsafe impl<T> Sync for TaskStorage<T> {}

#[btf_map]
static THREADS: TaskStorage<Thread> = TaskStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

#[inline(always)]
fn map() -> *mut c_void {
    (&raw const THREADS).cast_mut().cast()
}

/// The state of a thread, or null.
#[inline(always)]
pub unsafe fn find(task: Task) -> *mut Thread {
    // SAFETY: the verifier checks map and task.
    unsafe { bpf_task_storage_get(map(), task.pointer().cast(), ptr::null_mut(), 0) }.cast()
}

/// The state of a thread, created from `initial` if there is none; null if the kernel has no memory for it.
#[inline(always)]
pub unsafe fn create(task: Task, initial: &mut Thread) -> *mut Thread {
    let initial = ptr::from_mut(initial).cast();
    // SAFETY: the verifier checks map, task and the initial value.
    unsafe { bpf_task_storage_get(map(), task.pointer().cast(), initial, BPF_LOCAL_STORAGE_GET_F_CREATE.into()) }.cast()
}

/// Forgets a living thread.
#[inline(always)]
pub fn remove(task: Task) {
    // SAFETY: the verifier checks map and task.
    unsafe { bpf_task_storage_delete(map(), task.pointer().cast()) };
}

/// Forgets a thread that ends: the kernel frees its storage with it.
#[inline(always)]
pub fn remove_ended(_: Task) {}
