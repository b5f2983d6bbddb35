//! Every capacity both halves depend on, with its reason and what happens when it is exceeded.

/// Kernel frames per stack. Deeper stacks lose their root side and are flagged as truncated.
pub const KERNEL_FRAMES: usize = 64;

/// User frames per stack: the default of `kernel.perf_event_max_stack`. Deeper stacks lose their root side and are flagged as truncated.
pub const USER_FRAMES: usize = 127;

/// System call numbers the table of kinds covers; higher numbers are unknown.
pub const SYSCALLS: usize = 512;

/// Selected processes at once. A further one is not selected, and counted.
pub const TARGETS: u32 = 65_536;

/// Bytes of the ring of stacks: two seconds at 8,000 average stacks per second. When full, stacks are lost and counted.
pub const STACK_RING_BYTES: u32 = 8 << 20;

/// Bytes of the ring of lifecycle records: 10,000 exits between two reads. When full, records are lost and counted.
pub const LIFECYCLE_RING_BYTES: u32 = 4 << 20;

/// The slice of time over which the cap on stack walks is counted.
pub const WALK_SLICE_NS: u64 = 100_000_000;

/// The longest gap between the scheduler's CPU clock and the switch itself that is the switch's own work.
///
/// The scheduler stops a thread's CPU clock shortly before the context switch is traced. A shorter gap belongs to the
/// wait that follows; a longer one is time the hypervisor (or, where the kernel accounts them apart, interrupts) took.
pub const SWITCH_GAP_NS: u64 = 20_000;

/// How old the scheduler's CPU clock of a running thread may be: it is brought up to date at each timer tick.
pub const TICK_NS: u64 = 10_000_000;
