//! Which threads are accounted: those whose process is a target, or all.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use profiler_common::ledger::Opening;
use profiler_common::record::{self, control};

use crate::maps::{self, TARGETS};
use crate::task::Task;
use crate::threads::{self, Thread};

/// Rooms in which new state is prepared, one per kind of program, because those may interrupt each other.
#[map]
static SWITCH_ROOM: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);
#[map]
static FORK_ROOM: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);
#[map]
static ITER_ROOM: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);

/// The kind of program that opens the books.
#[derive(Clone, Copy)]
pub enum Opener {
    /// A context switch.
    Switch,
    /// A fork.
    Fork,
    /// The pass over all tasks.
    Iter,
}

/// Opens the books of a thread.
#[inline(always)]
pub fn open(opener: Opener, task: Task, opening: Opening, exec_ns: u64) -> Option<&'static mut Thread> {
    let room = match opener {
        Opener::Switch => &SWITCH_ROOM,
        Opener::Fork => &FORK_ROOM,
        Opener::Iter => &ITER_ROOM,
    };
    // SAFETY: the room belongs to this CPU and this kind of program.
    let room = unsafe { room.get_ptr_mut(0)?.as_mut()? };
    threads::create(task, room, opening, exec_ns)
}

/// Whether the thread is to be accounted.
#[inline(always)]
pub fn is_wanted(task: Task) -> bool {
    let pid = task.pid();
    if pid == 0 {
        return false;
    }
    maps::control(control::SELECT_ALL) || TARGETS.get_ptr(task.tgid()).is_some()
}

/// A new process is selected by the targets of its parent.
#[inline(always)]
pub fn inherit(parent: Task, child: Task) {
    let (from, to) = (parent.tgid(), child.tgid());
    if from == to {
        return;
    }
    let Some(mask) = TARGETS.get_ptr(from) else { return };
    // SAFETY: a looked-up entry is valid while the program runs.
    let mask = unsafe { *mask };
    if TARGETS.insert(to, mask, 0).is_err() {
        maps::count(record::COUNTER_TARGET_TABLE_FULL);
    }
}

/// The process has no threads left.
#[inline(always)]
pub fn forget(task: Task) {
    let _ = TARGETS.remove(task.tgid());
}
