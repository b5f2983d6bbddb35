//! Where the kernel keeps what we read: byte offsets the loader takes from the running kernel's BTF.
//!
//! The globals live in `.rodata`, which is frozen before the programs are verified: the verifier sees constants, so a load
//! at such an offset is checked against the kernel's own types, and branches that depend on them are removed.

use core::ptr::read_volatile;

use profiler_common::limits;
use profiler_common::wait_budget::WaitBudget;

/// The value of an offset whose field this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! globals {
    ($($(#[$meta:meta])* $name:ident / $read:ident: $type:ty = $default:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            static $name: $type = $default;

            $(#[$meta])*
            #[inline(always)]
            pub fn $read() -> $type {
                // SAFETY: reads an initialized static; volatile, because the loader replaces its value.
                unsafe { read_volatile(&raw const $name) }
            }
        )*
    };
}

globals! {
    /// `task_struct.pid`.
    TASK_PID / task_pid: u32 = ABSENT;
    /// `task_struct.tgid`.
    TASK_TGID / task_tgid: u32 = ABSENT;
    /// `task_struct.comm`.
    TASK_COMM / task_comm: u32 = ABSENT;
    /// `task_struct.flags`.
    TASK_FLAGS / task_flags: u32 = ABSENT;
    /// `task_struct.__state`, or `state` before Linux 5.14 (then a long, of which the low half is read).
    TASK_STATE / task_state: u32 = ABSENT;
    /// `task_struct.on_cpu`.
    TASK_ON_CPU / task_on_cpu: u32 = ABSENT;
    /// `task_struct.start_boottime`.
    TASK_START / task_start: u32 = ABSENT;
    /// `task_struct.group_leader`.
    TASK_LEADER / task_leader: u32 = ABSENT;
    /// `task_struct.signal`.
    TASK_SIGNAL / task_signal: u32 = ABSENT;
    /// `task_struct.files`.
    TASK_FILES / task_files: u32 = ABSENT;
    /// `task_struct.stack`.
    #[cfg_attr(feature = "storage", expect(dead_code))]
    TASK_STACK / task_stack: u32 = ABSENT;
    /// `task_struct.sched_info.run_delay`.
    TASK_RUN_DELAY / task_run_delay: u32 = ABSENT;
    /// `task_struct.se.sum_exec_runtime`.
    TASK_CPU_TIME / task_cpu_time: u32 = ABSENT;
    /// `task_struct.se.cfs_rq`.
    TASK_CFS_RQ / task_cfs_rq: u32 = ABSENT;
    /// `cfs_rq.throttle_count`.
    CFS_RQ_THROTTLE_COUNT / cfs_rq_throttle_count: u32 = ABSENT;
    /// `cfs_rq.rq`.
    CFS_RQ_QUEUE / cfs_rq_queue: u32 = ABSENT;
    /// `task_struct.thread_info.preempt_count` (aarch64).
    TASK_PREEMPT_COUNT / task_preempt_count: u32 = ABSENT;
    /// `task_struct.softirq_disable_cnt`, where soft interrupts run in threads (PREEMPT_RT).
    TASK_SOFT_INTERRUPTS / task_soft_interrupts: u32 = ABSENT;
    /// How far behind a CPU's run queue its preempt count lies (x86_64), or zero.
    PREEMPT_COUNT_DISTANCE / preempt_count_distance: u64 = 0;
    /// How far behind it the byte with `hrtimer_cpu_base.in_hrtirq` lies, or zero.
    TIMER_INTERRUPT_DISTANCE / timer_interrupt_distance: u64 = 0;
    /// The bit within that byte, as a mask.
    TIMER_INTERRUPT_MASK / timer_interrupt_mask: u32 = 0;
    /// How far behind it `timer_base.running_timer` of the first wheel lies, or zero.
    TIMER_RUNNING_DISTANCE / timer_running_distance: u64 = 0;
    /// The size of a wheel.
    TIMER_BASE_BYTES / timer_base_bytes: u32 = 0;
    /// How many wheels a CPU has.
    TIMER_BASES / timer_bases: u32 = 0;
    /// `task_struct.throttled` (Linux 6.18 on).
    TASK_THROTTLED / task_throttled: u32 = ABSENT;
    /// The byte that holds `task_struct.in_iowait`.
    TASK_IN_IOWAIT / task_in_iowait: u32 = ABSENT;
    /// Its bit within that byte, as a mask.
    TASK_IN_IOWAIT_MASK / task_in_iowait_mask: u32 = 0;
    /// The byte that holds `task_struct.in_memstall`.
    TASK_IN_MEMSTALL / task_in_memstall: u32 = ABSENT;
    /// Its bit within that byte, as a mask.
    TASK_IN_MEMSTALL_MASK / task_in_memstall_mask: u32 = 0;
    /// The byte that holds `task_struct.frozen`.
    TASK_FROZEN / task_frozen: u32 = ABSENT;
    /// Its bit within that byte, as a mask.
    TASK_FROZEN_MASK / task_frozen_mask: u32 = 0;
    /// `task_struct.thread_info.status` (x86_64).
    TASK_THREAD_STATUS / task_thread_status: u32 = ABSENT;
    /// The thread pointer: `task_struct.thread.fsbase` (x86_64) or `.thread.uw.tp_value` (aarch64).
    TASK_THREAD_POINTER / task_thread_pointer: u32 = ABSENT;
    /// `signal_struct.live.counter`.
    SIGNAL_LIVE / signal_live: u32 = ABSENT;
    /// `files_struct.fdt`.
    FILES_TABLE / files_table: u32 = ABSENT;
    /// `fdtable.max_fds`.
    TABLE_SIZE / table_size: u32 = ABSENT;
    /// `fdtable.fd`.
    TABLE_FILES / table_files: u32 = ABSENT;
    /// `file.f_inode`.
    FILE_INODE / file_inode: u32 = ABSENT;
    /// `file.f_op`.
    FILE_OPERATIONS / file_operations: u32 = ABSENT;
    /// `file.private_data`.
    FILE_PRIVATE / file_private: u32 = ABSENT;
    /// `inode.i_mode`.
    INODE_MODE / inode_mode: u32 = ABSENT;
    /// `file_operations.poll`.
    OPERATIONS_POLL / operations_poll: u32 = ABSENT;
    /// `socket.sk`.
    SOCKET_SOCK / socket_sock: u32 = ABSENT;
    /// `sock.__sk_common.skc_family`.
    SOCK_FAMILY / sock_family: u32 = ABSENT;
    /// The system call number in `pt_regs`.
    REGS_SYSCALL / regs_syscall: u32 = ABSENT;
    /// The first argument of a system call in `pt_regs`.
    REGS_ARGUMENT0 / regs_argument0: u32 = ABSENT;
    /// The second argument.
    REGS_ARGUMENT1 / regs_argument1: u32 = ABSENT;
    /// The third argument.
    REGS_ARGUMENT2 / regs_argument2: u32 = ABSENT;
    /// The fourth argument.
    REGS_ARGUMENT3 / regs_argument3: u32 = ABSENT;
    /// Where `pt_regs` lies above `task_struct.stack`.
    #[cfg_attr(feature = "storage", expect(dead_code))]
    STACK_REGS / stack_regs: u32 = ABSENT;
    /// Whether `sched_switch` hands the previous state as its fourth argument (Linux 5.18 on).
    HAS_PREVIOUS_STATE / has_previous_state: u32 = 0;
    /// `sock.__sk_common.skc_state`.
    SOCK_STATE / sock_state: u32 = ABSENT;
    /// `sock.__sk_common.skc_num`.
    SOCK_PORT / sock_port: u32 = ABSENT;
    /// `sock.__sk_common.skc_dport`.
    SOCK_PEER_PORT / sock_peer_port: u32 = ABSENT;
    /// `sock.__sk_common.skc_daddr`.
    SOCK_PEER_ADDRESS4 / sock_peer_address4: u32 = ABSENT;
    /// `sock.__sk_common.skc_v6_daddr`.
    SOCK_PEER_ADDRESS6 / sock_peer_address6: u32 = ABSENT;
    /// `sock.__sk_common.skc_rcv_saddr`.
    SOCK_OWN_ADDRESS4 / sock_own_address4: u32 = ABSENT;
    /// `sock.__sk_common.skc_v6_rcv_saddr`.
    SOCK_OWN_ADDRESS6 / sock_own_address6: u32 = ABSENT;
    /// `sock.sk_protocol`.
    SOCK_PROTOCOL / sock_protocol: u32 = ABSENT;
    /// `sock.sk_peer_pid`.
    SOCK_PEER_PID / sock_peer_pid: u32 = ABSENT;
    /// `pid.numbers`.
    PID_NUMBERS / pid_numbers: u32 = ABSENT;
    /// `unix_sock.addr`.
    LOCAL_SOCK_ADDRESS / local_sock_address: u32 = ABSENT;
    /// `inet_connection_sock.icsk_bind_hash`.
    CONNECTION_BIND / connection_bind: u32 = ABSENT;
    /// `inet_bind_bucket.fastreuse`.
    BIND_REUSE / bind_reuse: u32 = ABSENT;
    /// `eventpoll.rdllist`.
    EVENTS_READY / events_ready: u32 = ABSENT;
    /// `epitem.rdllink`.
    EVENT_READY_LINK / event_ready_link: u32 = ABSENT;
    /// `epitem.ffd.file`.
    EVENT_FILE / event_file: u32 = ABSENT;
    /// `inode.i_rdev`.
    INODE_DEVICE / inode_device: u32 = ABSENT;
    /// `inode.i_ino`.
    INODE_NUMBER / inode_number: u32 = ABSENT;
    /// `vm_unmapped_area_info.length`.
    AREA_LENGTH / area_length: u32 = ABSENT;
    /// The address of `ep_eventpoll_poll`, or zero.
    EVENTS_POLL / events_poll: u64 = 0;
    /// The address of `timerfd_poll`, or zero.
    TIMER_POLL / timer_poll: u64 = 0;
    /// The address of `pidfd_poll`, or zero.
    PROCESS_POLL / process_poll: u64 = 0;
    /// The address of `eventfd_poll`, or zero.
    EVENT_COUNTER_POLL / event_counter_poll: u64 = 0;
    /// The address of `signalfd_poll`, or zero.
    SIGNALS_POLL / signals_poll: u64 = 0;
    /// The address of `inotify_poll`, or zero.
    FILE_CHANGES_POLL / file_changes_poll: u64 = 0;
    /// The nanoseconds between two on-CPU samples of one CPU.
    CPU_PERIOD_NS / cpu_period_ns: u64 = 10_309_278;
    /// T, the mean off-CPU nanoseconds between two captured waits of one thread, at the start; [`wait_budget`].
    WAIT_PERIOD_START_NS / wait_period_start_ns: u64 = limits::WAIT_PERIOD_START_NS;
    /// The shortest T.
    WAIT_PERIOD_LEAST_NS / wait_period_least_ns: u64 = limits::WAIT_PERIOD_LEAST_NS;
    /// The longest T.
    WAIT_PERIOD_MOST_NS / wait_period_most_ns: u64 = limits::WAIT_PERIOD_MOST_NS;
    /// Captures of waits per CPU and second.
    WAIT_BUDGET_HZ / wait_budget_hz: u64 = 200;
    /// Whether the machine is an aarch64 and not an x86_64.
    IS_AARCH64 / is_aarch64: u32 = 0;
    /// The signal that stops a thread whose stack was captured, so that a test can look at it; zero for none.
    STOP_SIGNAL / stop_signal: u32 = 0;
}

/// What the user asked for.
#[inline(always)]
pub fn wait_budget() -> WaitBudget {
    WaitBudget {
        captures_hz: wait_budget_hz(),
        start_ns: wait_period_start_ns(),
        least_ns: wait_period_least_ns(),
        most_ns: wait_period_most_ns(),
    }
}
