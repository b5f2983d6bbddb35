//! One task of the kernel: typed reads of its fields.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::ledger::Reading;
use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::{aarch64, x86_64};

use crate::{memory, offsets};

const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x20_0000;
const TS_COMPAT: u32 = 2;

/// A pointer to a task that the verifier (in the storage variant) or the reads themselves (in the hash variant) check.
#[derive(Clone, Copy)]
pub struct Task(*mut task_struct);

/// Registers of a task at its entry to the kernel.
#[derive(Clone, Copy)]
pub struct Registers(u64);

impl Task {
    /// Wraps a task pointer a program was handed.
    #[inline(always)]
    pub fn new(pointer: *mut task_struct) -> Self {
        Self(pointer)
    }

    /// The running task.
    #[inline(always)]
    pub fn current() -> Self {
        #[cfg(feature = "storage")]
        // SAFETY: the helper has no preconditions.
        let pointer = unsafe { aya_ebpf::helpers::bpf_get_current_task_btf() };
        #[cfg(feature = "hash")]
        // SAFETY: the helper has no preconditions.
        let pointer = unsafe { aya_ebpf::helpers::bpf_get_current_task() } as *mut task_struct;
        Self(pointer)
    }

    /// The pointer, for helpers.
    #[cfg(feature = "storage")]
    #[inline(always)]
    pub fn pointer(self) -> *mut task_struct {
        self.0
    }

    #[cfg(feature = "storage")]
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the verifier checks the constant offset against the kernel's type; a fault reads zero.
        unsafe { self.0.byte_add(offset as usize).cast::<T>().read() }
    }

    #[cfg(feature = "hash")]
    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        memory::kernel(self.0 as u64, offset)
    }

    /// The thread id.
    #[inline(always)]
    pub fn pid(self) -> u32 {
        self.field(offsets::task_pid())
    }

    /// The thread group id.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.field(offsets::task_tgid())
    }

    /// When the thread started, in nanoseconds since boot.
    #[inline(always)]
    pub fn start_ns(self) -> u64 {
        self.field(offsets::task_start())
    }

    /// The leader of the thread group.
    #[inline(always)]
    pub fn leader(self) -> Task {
        #[cfg(feature = "storage")]
        // SAFETY: as in `field`.
        return Self(unsafe { self.0.byte_add(offsets::task_leader() as usize).cast::<*mut task_struct>().read() });
        #[cfg(feature = "hash")]
        return Self(self.field::<u64>(offsets::task_leader()) as *mut task_struct);
    }

    /// The name, NUL-padded.
    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        memory::kernel(self.0 as u64, offsets::task_comm())
    }

    /// Whether it never runs in user mode.
    #[inline(always)]
    pub fn is_kernel_thread(self) -> bool {
        self.field::<u32>(offsets::task_flags()) & (PF_KTHREAD | PF_IO_WORKER) != 0
    }

    /// The state bits as they are now; a concurrent waker may already have changed them.
    #[inline(always)]
    pub fn state(self) -> u32 {
        memory::kernel(self.0 as u64, offsets::task_state())
    }

    /// Whether it is on a CPU.
    #[inline(always)]
    pub fn is_on_cpu(self) -> bool {
        // An integer up to Linux 7.1, a byte from 7.2 on; only its lowest byte is ever set.
        memory::kernel::<u8>(self.0 as u64, offsets::task_on_cpu()) != 0
    }

    /// Whether the scheduler counts its wait as waiting for a block device.
    #[inline(always)]
    pub fn in_iowait(self) -> bool {
        self.bit(offsets::task_in_iowait(), offsets::task_in_iowait_mask())
    }

    /// Whether it is reclaiming memory.
    #[inline(always)]
    pub fn in_memstall(self) -> bool {
        self.bit(offsets::task_in_memstall(), offsets::task_in_memstall_mask())
    }

    /// Whether version 2 of cgroups counts it as frozen, as it also does with threads that are stopped anyway.
    #[inline(always)]
    pub fn is_frozen(self) -> bool {
        self.bit(offsets::task_frozen(), offsets::task_frozen_mask())
    }

    #[inline(always)]
    fn bit(self, byte: u32, mask: u32) -> bool {
        byte != offsets::ABSENT && u32::from(memory::kernel::<u8>(self.0 as u64, byte)) & mask != 0
    }

    /// Whether its cgroup's CPU quota holds it back.
    #[inline(always)]
    pub fn is_throttled(self) -> bool {
        if offsets::task_throttled() != offsets::ABSENT {
            return memory::kernel::<u8>(self.0 as u64, offsets::task_throttled()) != 0;
        }
        if offsets::task_cfs_rq() == offsets::ABSENT || offsets::cfs_rq_throttle_count() == offsets::ABSENT {
            return false;
        }
        let queue: u64 = self.field(offsets::task_cfs_rq());
        queue != 0 && memory::kernel::<u32>(queue, offsets::cfs_rq_throttle_count()) != 0
    }

    /// The run queue of the CPU it is on; zero if it cannot be told.
    #[inline(always)]
    pub fn run_queue(self) -> u64 {
        if offsets::task_cfs_rq() == offsets::ABSENT || offsets::cfs_rq_queue() == offsets::ABSENT {
            return 0;
        }
        let queue: u64 = self.field(offsets::task_cfs_rq());
        if queue == 0 { 0 } else { memory::kernel(queue, offsets::cfs_rq_queue()) }
    }

    /// The part of the preempt count about soft interrupts, where those run in threads; else zero.
    #[inline(always)]
    pub fn soft_interrupts(self) -> u32 {
        if offsets::task_soft_interrupts() == offsets::ABSENT { 0 } else { self.field(offsets::task_soft_interrupts()) }
    }

    /// What it runs in, on machines that keep that with the task.
    #[inline(always)]
    pub fn preempt_count(self) -> u32 {
        self.field(offsets::task_preempt_count())
    }

    /// Whether the last thread of the process is exiting.
    #[inline(always)]
    pub fn is_last_of_process(self) -> bool {
        let signal: u64 = memory::kernel(self.0 as u64, offsets::task_signal());
        memory::kernel::<u32>(signal, offsets::signal_live()) == 0
    }

    /// The open files.
    #[inline(always)]
    pub fn files(self) -> u64 {
        memory::kernel(self.0 as u64, offsets::task_files())
    }

    /// Whether it is in a 32-bit system call, whose numbers differ.
    #[inline(always)]
    pub fn in_compat_syscall(self) -> bool {
        offsets::task_thread_status() != offsets::ABSENT
            && memory::kernel::<u32>(self.0 as u64, offsets::task_thread_status()) & TS_COMPAT != 0
    }

    /// What user space finds its own thread by.
    #[inline(always)]
    pub fn thread_pointer(self) -> u64 {
        memory::kernel(self.0 as u64, offsets::task_thread_pointer())
    }

    /// The scheduler's books of the thread, now.
    #[inline(always)]
    pub fn reading(self) -> Reading {
        Reading {
            // SAFETY: the helper has no preconditions.
            now_ns: unsafe { bpf_ktime_get_ns() },
            cpu_ns: self.field(offsets::task_cpu_time()),
            run_delay_ns: self.field(offsets::task_run_delay()),
        }
    }

    /// The registers at the thread's entry to the kernel.
    #[cfg(feature = "storage")]
    #[inline(always)]
    pub fn registers(self) -> Registers {
        // SAFETY: the verifier checks the task.
        Registers(unsafe { aya_ebpf::helpers::generated::bpf_task_pt_regs(self.0.cast()) } as u64)
    }

    /// The registers at the thread's entry to the kernel.
    #[cfg(feature = "hash")]
    #[inline(always)]
    pub fn registers(self) -> Registers {
        let stack: u64 = memory::kernel(self.0 as u64, offsets::task_stack());
        Registers(stack + u64::from(offsets::stack_regs()))
    }
}

impl Registers {
    /// Sets a cursor to the frame of an x86_64 program. Returns whether the registers could be read.
    #[inline(always)]
    pub fn start_x86_64(self, cursor: &mut Cursor) -> bool {
        let mut words = [0u64; x86_64::REGISTER_WORDS];
        let read = memory::copy_kernel(self.0, &mut words);
        x86_64::start(cursor, &words);
        read
    }

    /// The same for an aarch64 program.
    #[inline(always)]
    pub fn start_aarch64(self, cursor: &mut Cursor) -> bool {
        let mut words = [0u64; aarch64::REGISTER_WORDS];
        let read = memory::copy_kernel(self.0, &mut words);
        aarch64::start(cursor, &words);
        read
    }

    /// The first two kept registers.
    #[inline(always)]
    pub fn kept(self) -> [u64; 2] {
        let first = if offsets::is_aarch64() != 0 { aarch64::FIRST_KEPT_WORD } else { x86_64::FIRST_KEPT_WORD };
        let mut words = [0u64; 2];
        memory::copy_kernel(self.0 + first as u64 * 8, &mut words);
        words
    }

    /// The number of the system call; negative outside of one.
    #[inline(always)]
    pub fn syscall(self) -> i32 {
        memory::kernel(self.0, offsets::regs_syscall())
    }

    /// The first argument.
    #[inline(always)]
    pub fn argument0(self) -> u64 {
        memory::kernel(self.0, offsets::regs_argument0())
    }

    /// The second argument.
    #[inline(always)]
    pub fn argument1(self) -> u64 {
        memory::kernel(self.0, offsets::regs_argument1())
    }

    /// The third argument.
    #[inline(always)]
    pub fn argument2(self) -> u64 {
        memory::kernel(self.0, offsets::regs_argument2())
    }

    /// The fourth argument.
    #[inline(always)]
    pub fn argument3(self) -> u64 {
        memory::kernel(self.0, offsets::regs_argument3())
    }
}
