//! The state of each selected thread: its books, and what the next decision needs.
//!
//! Two variants of one interface: task-local storage where the kernel has it, else a hash with a permanent entry per
//! thread. Neither inserts or deletes per wait.

use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{Ordering, compiler_fence};

use profiler_common::descriptor_cache::DescriptorCache;
use profiler_common::ledger::{Ledger, Opening};
use profiler_common::record::{COUNTER_THREAD_TABLE_FULL, Identity};
use profiler_common::strat::Strat;
use profiler_common::wait_lengths::Lengths;

use crate::maps;
use crate::python::PythonThread;
use crate::task::Task;

#[cfg(feature = "hash")]
mod hash;
#[cfg(feature = "storage")]
mod storage;
#[cfg(feature = "hash")]
use hash as backend;
#[cfg(feature = "storage")]
use storage as backend;

#[cfg(feature = "hash")]
pub use backend::remove_by_pid;
pub use backend::{remove, remove_ended};

/// Everything kept for one selected thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    /// Who.
    pub identity: Identity,
    /// The books.
    pub ledger: Ledger,
    /// The position on the off-CPU time axis.
    pub strat: Strat,
    /// How long its waits were.
    pub lengths: Lengths,
    /// What the descriptor waited on last refers to.
    pub descriptor: DescriptorCache,
    /// The thread's state in a Python interpreter, as it was found last.
    pub python: PythonThread,
    /// How many stacks of this program image have woken the user half: the first, and some that were cut.
    pub announced: u32,
    /// Whether it is a thread of the kernel.
    pub kernel_thread: u32,
    /// Odd while the books are being written.
    sequence: u32,
    /// The state bits with which it left the CPU last, if it was blocked.
    pub left_state: u32,
    /// Who woke it since it resumed last, of [`profiler_common::waker`].
    waker: u64,
    /// Who ended the wait before that.
    pub ended_by: u64,
    /// The ports of the connection that `waker` was in a system call on.
    waker_ports: u32,
    /// Those of `ended_by`.
    pub ended_by_ports: u32,
}

impl Thread {
    /// Writes the books, such that a snapshot from another CPU notices.
    #[inline(always)]
    pub fn write_ledger<T>(&mut self, write: impl FnOnce(&mut Ledger) -> T) -> T {
        self.advance_sequence();
        let result = write(&mut self.ledger);
        self.advance_sequence();
        result
    }

    /// Copies the books, which another CPU may be writing. Returns whether the copy is consistent.
    ///
    /// The order of loads and stores is kept by the compiler; x86_64 keeps it too.
    #[inline(always)]
    pub fn copy_ledger(&self, to: &mut Ledger) -> bool {
        for _ in 0..COPIES {
            let before = self.read_sequence();
            compiler_fence(Ordering::SeqCst);
            *to = self.ledger;
            compiler_fence(Ordering::SeqCst);
            if before & 1 == 0 && before == self.read_sequence() {
                return true;
            }
        }
        false
    }

    /// It is back: whoever woke it last ended its wait. The next wait has another waker, or none that was seen.
    ///
    /// A waiting thread is woken once, and the kernel orders that before it resumes. One that was preempted may be woken at this
    /// moment, but its time is no wait.
    #[inline(always)]
    pub fn take_waker(&mut self) {
        // SAFETY: reads and writes initialized fields of the thread's own; volatile, because another CPU may write them.
        unsafe {
            self.ended_by = read_volatile(&raw const self.waker);
            self.ended_by_ports = read_volatile(&raw const self.waker_ports);
            write_volatile(&raw mut self.waker, 0);
        }
    }

    /// Forgets how long the waits were.
    #[cfg(feature = "storage")]
    #[inline(always)]
    pub fn clear_lengths(&mut self) {
        let words = core::ptr::from_mut(&mut self.lengths).cast::<u64>();
        for word in 0..size_of::<Lengths>() / size_of::<u64>() {
            // SAFETY: zero is valid for all of it; volatile, or the loop would become a call of a function that there is not.
            unsafe { write_volatile(words.add(word), 0) };
        }
    }

    #[inline(always)]
    fn read_sequence(&self) -> u32 {
        // SAFETY: reads an initialized field; volatile, because another CPU may change it.
        unsafe { read_volatile(&raw const self.sequence) }
    }

    #[inline(always)]
    fn advance_sequence(&mut self) {
        compiler_fence(Ordering::SeqCst);
        let next = self.sequence.wrapping_add(1);
        // SAFETY: writes the thread's own field; volatile, because another CPU may read it.
        unsafe { write_volatile(&raw mut self.sequence, next) };
        compiler_fence(Ordering::SeqCst);
    }
}

/// How often a snapshot tries again while the thread is just being switched.
const COPIES: usize = 4;

/// The state of a selected thread, for the CPU it is on, for whoever creates it, and for snapshots; who wakes it calls
/// [`note_waker`] instead.
#[inline(always)]
pub fn find(task: Task) -> Option<&'static mut Thread> {
    // SAFETY: the map entry lives as long as the program runs. Besides the thread's own CPU, snapshots read the books, as a copy
    // that they check by `sequence`; and CPUs that wake the thread write `waker` and `waker_ports`, through a raw pointer. These two
    // are never borrowed, and read and written by volatile accesses alone.
    unsafe { backend::find(task).as_mut() }
}

/// The state under `pid` if it is that of a thread of process `tgid`.
#[cfg(feature = "hash")]
#[inline(always)]
pub fn find_of_process(pid: u32, tgid: u32) -> Option<&'static mut Thread> {
    // SAFETY: as in `find`.
    unsafe { backend::find_of_process(pid, tgid).as_mut() }
}

/// Notes who is waking a thread, if it is selected; `waker` is asked for only then. Runs on any CPU, also while the thread is
/// leaving its own.
#[inline(always)]
pub fn note_waker(task: Task, waker: impl FnOnce() -> (u64, u32)) {
    // SAFETY: the map entry lives as long as the program runs; no reference to it is made.
    let thread = unsafe { backend::find(task) };
    if thread.is_null() {
        return;
    }
    let (waker, ports) = waker();
    // SAFETY: writes two fields of a live entry, which are initialized; volatile, because the thread's own CPU may take them away,
    // and it reads them likewise.
    unsafe {
        write_volatile(&raw mut (*thread).waker_ports, ports);
        compiler_fence(Ordering::SeqCst);
        write_volatile(&raw mut (*thread).waker, waker);
    }
}

/// Opens the books of a thread, in `scratch`, where nobody ever writes lengths; returns the existing state if another CPU was faster.
#[inline(always)]
pub fn create(task: Task, scratch: &mut Thread, opening: Opening, exec_ns: u64) -> Option<&'static mut Thread> {
    scratch.identity.tgid = task.tgid();
    scratch.identity.pid = task.pid();
    scratch.identity.process_start_ns = task.leader().start_ns();
    scratch.identity.thread_start_ns = task.start_ns();
    scratch.identity.exec_ns = exec_ns;
    scratch.identity.attach_ns = opening.at.now_ns;
    scratch.ledger.open(opening);
    scratch.strat = Strat { position_ns: 0, point_ns: 0, bin_ns: 0 };
    scratch.descriptor = DescriptorCache::EMPTY;
    scratch.python = PythonThread::UNKNOWN;
    scratch.announced = 0;
    scratch.kernel_thread = u32::from(task.is_kernel_thread());
    scratch.sequence = 0;
    scratch.left_state = 0;
    (scratch.waker, scratch.waker_ports) = (0, 0);
    (scratch.ended_by, scratch.ended_by_ports) = (0, 0);
    // SAFETY: as in `find`.
    let thread = unsafe { backend::create(task, scratch).as_mut() };
    if thread.is_none() {
        maps::count(COUNTER_THREAD_TABLE_FULL);
    }
    thread
}
