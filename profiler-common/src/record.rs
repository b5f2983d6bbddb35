//! The records that cross from the kernel half to the user half: fixed-width integers, explicit padding.

use crate::limits::{KERNEL_FRAMES, PYTHON_ENTRIES, USER_FRAMES};
use crate::python::ENTRY_WORDS;
use crate::wait_lengths::Lengths;

/// Declares a record that crosses the border as bytes. On the host it is plain data, checked at compile time.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }
    };
}

record! {
    /// Who a record is about. Start times are nanoseconds since boot.
    pub struct Identity {
        /// The thread group: what user space calls pid.
        pub tgid: u32,
        /// The thread.
        pub pid: u32,
        /// When the thread-group leader started.
        pub process_start_ns: u64,
        /// When the thread started.
        pub thread_start_ns: u64,
        /// When the program image was executed, on the monotonic clock; zero if before the attach.
        pub exec_ns: u64,
        /// When accounting of the thread began, on the monotonic clock. Tells two accounts of one thread apart.
        pub attach_ns: u64,
    }
}

/// The accounts of a thread's books: the wait classes by their numbers, then these. Their sum is the wall time.
pub mod account {
    use crate::wait_class;

    /// Waiting for a CPU.
    pub const RUNQ: u8 = wait_class::COUNT as u8;
    /// Held back by a CPU quota.
    pub const THROTTLED: u8 = RUNQ + 1;
    /// On a CPU, by the scheduler's own clock.
    pub const CPU: u8 = RUNQ + 2;
    /// On a CPU in the guest's eyes only.
    pub const STEAL: u8 = RUNQ + 3;
    /// Room for accounts: a power of two, so that a masked number is always in bounds and old verifiers see it.
    pub const SLOTS: usize = 16;

    /// The slot of an account.
    ///
    /// In the kernel half the mask must stay where the compiler knows the bound from an earlier branch: verifiers before
    /// Linux 6.3 do not follow it there. So it may not know the number.
    #[inline(always)]
    pub fn slot(account: u8) -> usize {
        #[cfg(target_arch = "bpf")]
        let account = core::hint::black_box(account);
        usize::from(account) & (SLOTS - 1)
    }

    /// Whether the account is that of a wait class.
    #[inline(always)]
    pub const fn is_wait(account: u8) -> bool {
        account < RUNQ
    }
}

record! {
    /// The books of one thread since its `attach_ns`.
    pub struct Totals {
        /// Nanoseconds by account; their sum is the wall time since the attach.
        pub times_ns: [u64; account::SLOTS],
        /// Off-CPU intervals that ended, by account.
        pub intervals: [u64; account::SLOTS],
        /// The idle part of the waits.
        pub idle_ns: u64,
        /// The part of the waits that began before `attach_ns`.
        pub before_attach_ns: u64,
        /// Weight of waits that were chosen for a stack but refused by the cap.
        pub unattributed_ns: u64,
        /// Differences of run delay that were longer than their interval.
        pub clamped: u64,
    }
}

impl Totals {
    /// Empty books.
    pub const ZERO: Self = Self {
        times_ns: [0; account::SLOTS],
        intervals: [0; account::SLOTS],
        idle_ns: 0,
        before_attach_ns: 0,
        unattributed_ns: 0,
        clamped: 0,
    };

    /// Nanoseconds of one account.
    #[inline(always)]
    pub fn of(&self, account: u8) -> u64 {
        self.times_ns[account::slot(account)]
    }
}

/// A stack of a thread on a CPU.
pub const STACK_ON_CPU: u8 = 1;
/// A stack of a thread that has just been off CPU.
pub const STACK_OFF_CPU: u8 = 2;

/// The off-CPU interval was involuntary: all of it was spent waiting for a CPU.
pub const FLAG_INVOLUNTARY: u8 = 1;
/// The thread was held back by a CPU quota.
pub const FLAG_THROTTLED: u8 = 2;
/// The wait was idle.
pub const FLAG_IDLE: u8 = 4;
/// The wait began before the attach.
pub const FLAG_BEFORE_ATTACH: u8 = 8;
/// It is a thread of the kernel.
pub const FLAG_KERNEL_THREAD: u8 = 16;
/// Each user address is followed by the stack pointer of its frame, or, if a virtual machine made its code, by what the frame is: a
/// word of [`crate::hotspot::Code`].
pub const FLAG_STACK_POINTERS: u8 = 32;
/// The wait was for the lock around the Python interpreter.
pub const FLAG_INTERPRETER_LOCK: u8 = 64;
/// The thread was collecting the garbage of a Python interpreter.
pub const FLAG_COLLECTING: u8 = 128;

/// What a wait is for, beyond its class.
pub mod subject {
    /// Not known.
    pub const NONE: u8 = 0;
    /// The other end of a connection: an address and a port.
    pub const ADDRESS: u8 = 1;
    /// A port of this host, on which clients are served.
    pub const PORT: u8 = 2;
    /// The process at the other end of a local socket; its pid as of when it connected or listened.
    pub const PROCESS: u8 = 3;
    /// An open file: its inode, and the descriptor it was waited on by.
    pub const FILE: u8 = 4;
    /// A lock: its address in the memory of the process.
    pub const LOCK: u8 = 5;
}

record! {
    /// What a captured wait was for.
    pub struct WaitReason {
        /// The address of a host (an IPv6 address, or an IPv4 address mapped to one).
        pub address: [u8; 16],
        /// An inode's number, or the address of a lock.
        pub object: u64,
        /// Who ended the wait, of [`crate::waker`]; zero if that was not seen or the wait goes on.
        pub waker: u64,
        /// The ports of the connection the waker was in a system call on, of [`crate::waker::pack_ports`].
        pub waker_ports: u32,
        /// The ports of the connection waited on.
        pub ports: u32,
        /// A pid or a descriptor.
        pub number: u32,
        /// A port.
        pub port: u16,
        /// One of [`subject`].
        pub subject: u8,
        /// One of [`crate::wait_detail`].
        pub detail: u8,
    }
}

impl WaitReason {
    /// Nothing known.
    pub const NONE: Self = Self {
        address: [0; 16],
        object: 0,
        waker: 0,
        waker_ports: 0,
        ports: 0,
        number: 0,
        port: 0,
        subject: subject::NONE,
        detail: 0,
    };
}

record! {
    /// Precedes the addresses of one captured stack: kernel frames, then user frames, then Python frames, leaf first.
    ///
    /// The first user address is the instruction the thread entered the kernel at or was interrupted at, the others are
    /// return addresses. An instruction that a signal handler interrupted stands one byte further on, so that one byte less
    /// is right for every address but the first. Of more than [`USER_FRAMES`] frames, the first [`limits::LEAF_FRAMES`] are
    /// in their places, and each further frame replaced the oldest of the others: the last frame walked is that before
    /// place `LEAF_FRAMES + (walked - LEAF_FRAMES) % (USER_FRAMES - LEAF_FRAMES)`.
    ///
    /// [`limits::LEAF_FRAMES`]: crate::limits::LEAF_FRAMES
    pub struct StackHeader {
        /// Who.
        pub identity: Identity,
        /// When the stack was captured, on the monotonic clock; an off-CPU interval ends here.
        pub at_ns: u64,
        /// The length of the off-CPU interval; zero on CPU.
        pub duration_ns: u64,
        /// The part of `duration_ns` spent waiting for a CPU after the wait was over.
        pub runq_ns: u64,
        /// The thread-nanoseconds this capture stands for.
        pub weight_ns: u64,
        /// The sampling period that was in force.
        pub period_ns: u64,
        /// The address of the thread's state in the Python interpreter, or zero.
        pub python_thread: u64,
        /// With [`FLAG_INTERPRETER_LOCK`]: that of the thread that held the lock when the wait began.
        pub lock_holder: u64,
        /// When memory was last about to be mapped where code of the process was known to have been, on the monotonic clock;
        /// zero if none was.
        pub code_ns: u64,
        /// What the wait was for.
        pub reason: WaitReason,
        /// How many kernel addresses follow.
        pub kernel_frames: u16,
        /// How many user addresses follow them.
        pub user_frames: u16,
        /// [`STACK_ON_CPU`] or [`STACK_OFF_CPU`].
        pub kind: u8,
        /// The wait class of the blocked part.
        pub class: u8,
        /// Bits of `FLAG_*`.
        pub flags: u8,
        /// Why the walk of the user stack ended: one of [`crate::unwind::stop`].
        pub stop: u8,
        /// How many user frames were walked; more than `user_frames` if not all were kept.
        pub walked: u16,
        /// How many entries of Python frames and markers follow, of [`ENTRY_WORDS`] words each.
        pub python_entries: u16,
        /// Why the walk of Python frames ended: one of [`crate::python::stop`].
        pub python_stop: u8,
        /// Why the walk of the tasks that await the running one ended: one of [`crate::python::stop`].
        pub await_stop: u8,
        /// How many of the entries run in the task of asyncio whose entries follow them, if any do.
        pub task_entries: u16,
    }
}

/// The most words of user frames a stack record carries: two for each frame if stack pointers are recorded.
pub const USER_WORDS: usize = 2 * USER_FRAMES;

/// The most words of Python frames.
pub const PYTHON_WORDS: usize = ENTRY_WORDS * PYTHON_ENTRIES;

/// The most words a stack record carries.
pub const STACK_WORDS: usize = KERNEL_FRAMES + USER_WORDS + PYTHON_WORDS;

/// A thread ended: its final totals.
pub const LIFECYCLE_EXIT: u32 = 1;
/// A thread is no longer selected: its final totals.
pub const LIFECYCLE_DESELECTED: u32 = 2;
/// A thread gave up its identity by executing a program while it was not the leader: the totals under its old identity.
pub const LIFECYCLE_IDENTITY_END: u32 = 3;
/// A process, selected or not, executed a program or changed its name. Without totals.
pub const LIFECYCLE_EXEC: u32 = 4;

record! {
    /// A change in the life of a thread, with its totals up to then.
    pub struct Lifecycle {
        /// Who.
        pub identity: Identity,
        /// When, on the monotonic clock.
        pub at_ns: u64,
        /// The thread's books.
        pub totals: Totals,
        /// How long its waits were; means nothing without totals.
        pub lengths: Lengths,
        /// The thread's name, NUL-padded.
        pub thread_name: [u8; 16],
        /// The name of the thread-group leader, NUL-padded.
        pub process_name: [u8; 16],
        /// One of `LIFECYCLE_*`.
        pub kind: u32,
        /// Bits of `FLAG_*`.
        pub flags: u32,
    }
}

record! {
    /// Memory is about to be mapped where code of a process is known to have been. Lies in one ring with [`Lifecycle`], and is told
    /// by its size.
    pub struct CodeMapped {
        /// Who mapped it.
        pub identity: Identity,
        /// When, on the monotonic clock.
        pub at_ns: u64,
        /// When that was the last time before, whether there was a record or not; zero if it never was.
        pub before_ns: u64,
        /// The first address.
        pub start: u64,
        /// The first address behind it.
        pub end: u64,
    }
}

record! {
    /// The books of a living thread, waits in progress included. The [`Lengths`] of its waits follow.
    pub struct Snapshot {
        /// Who.
        pub identity: Identity,
        /// When the snapshot was taken, on the monotonic clock.
        pub at_ns: u64,
        /// The thread's books.
        pub totals: Totals,
        /// The thread's name, NUL-padded.
        pub thread_name: [u8; 16],
        /// The name of the thread-group leader, NUL-padded.
        pub process_name: [u8; 16],
        /// Bits of `FLAG_*`.
        pub flags: u32,
        /// The account of the wait in progress, with `waits_since_ns`.
        pub waits_for: u32,
        /// When the wait in progress began, on the monotonic clock; zero if the thread is not off CPU.
        pub waits_since_ns: u64,
        /// The thread pointer, by which user space knows the thread.
        pub thread_pointer: u64,
        /// What the wait in progress is for.
        pub reason: WaitReason,
        /// The first two kept registers with which it entered the kernel: the frame pointer, and `rbx` or `x30`.
        pub kept: [u64; 2],
    }
}

/// What the pass over all tasks tells of one thread.
pub const SNAPSHOT_BYTES: usize = size_of::<Snapshot>() + size_of::<Lengths>();

/// Index of the counter of stacks lost because the ring was full.
pub const COUNTER_STACK_RING_FULL: u32 = 0;
/// Index of the counter of lifecycle records lost because the ring was full.
pub const COUNTER_LIFECYCLE_RING_FULL: u32 = 1;
/// Index of the counter of threads that got no state.
pub const COUNTER_THREAD_TABLE_FULL: u32 = 2;
/// Index of the counter of stack walks the cap refused.
pub const COUNTER_WALK_REFUSED: u32 = 3;
/// Index of the counter of truncated kernel stacks.
pub const COUNTER_STACK_TRUNCATED: u32 = 4;
/// Index of the counter of stack walks.
pub const COUNTER_STACK_WALKS: u32 = 5;
/// Index of the counter of context switches seen of selected threads.
pub const COUNTER_SWITCHES: u32 = 6;
/// Index of the counter of processes that could not be added to the table of targets.
pub const COUNTER_TARGET_TABLE_FULL: u32 = 7;
/// How many counters there are.
pub const COUNTERS: u32 = 8;

/// The switches of the kernel half that change while it runs: the value of its only control entry.
pub mod control {
    /// Select every thread.
    pub const SELECT_ALL: u32 = 1;
    /// Report every exec and rename, also of processes that are not selected.
    pub const REPORT_EXEC: u32 = 2;
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;

    #[test]
    fn records_keep_the_alignment_of_the_addresses_that_follow_them() {
        for size in [size_of::<StackHeader>(), size_of::<Lifecycle>(), size_of::<CodeMapped>(), size_of::<Snapshot>()] {
            assert_eq!(size % 8, 0);
        }
    }
}
