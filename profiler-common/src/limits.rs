//! Every capacity both halves depend on, with its reason and what happens when it is exceeded.

/// Kernel frames per stack. Deeper stacks lose their root side and are flagged as truncated.
pub const KERNEL_FRAMES: usize = 64;

/// User frames per stack, so that stacks have 256 frames in all. Of deeper ones both ends are kept.
pub const USER_FRAMES: usize = 192;

/// Of a user stack that is too deep, how many frames are kept on the leaf side; the others are the outermost. A power of two.
pub const LEAF_FRAMES: usize = 128;

/// User frames walked by one program before it calls the next.
pub const FRAMES_PER_PROGRAM: u32 = 12;

/// Frames of a Java virtual machine walked by one program before it calls the next.
pub const JAVA_FRAMES_PER_PROGRAM: u32 = 8;

/// Programs a walk of a user stack, Java frames included, consists of at most: the kernel allows 33 tail calls, and 32 before Linux 5.16, which the
/// walk of Python frames shares. A deeper stack lacks its outermost frames and is flagged as truncated.
pub const WALK_PROGRAMS: u32 = 24;

/// Entries of Python frames and markers per stack: 256 frames, each with a marker, as 3.10 has them. Of deeper ones the innermost
/// are kept, and the stack is flagged as truncated.
pub const PYTHON_ENTRIES: usize = 512;

/// Python frames walked by one program before it calls the next.
pub const PYTHON_FRAMES_PER_PROGRAM: u32 = 40;

/// Thread states one program looks at to find that of the current thread; it is remembered.
pub const PYTHON_THREADS_PER_PROGRAM: u32 = 64;

/// Programs a walk of Python frames, and the search for the thread before it, consist of at most.
pub const PYTHON_PROGRAMS: u32 = 8;

/// Steps of one program along the tasks of asyncio that await the running one, of which each looks at a task, a set of tasks
/// or a coroutine. Programs and entries are those of Python frames; tasks there is no room for are left out, and counted.
pub const ASYNCIO_STEPS_PER_PROGRAM: u32 = 24;

/// Address spaces with a Python interpreter at once. Threads of a further one have no Python frames.
pub const INTERPRETERS: u32 = 4096;

/// Address spaces with a Java virtual machine at once. The Java code of a further one is followed by frame pointers.
pub const HOTSPOTS: u32 = 1024;

/// System call numbers the table of kinds covers; higher numbers are unknown.
pub const SYSCALLS: usize = 512;

/// Selected processes at once. A further one is not selected, and counted.
pub const TARGETS: u32 = 65_536;

/// Bytes of the ring of stacks: two seconds at 8,000 average stacks per second. When full, stacks are lost and counted.
pub const STACK_RING_BYTES: u32 = 8 << 20;

/// Bytes of the ring of lifecycle records: 5,000 exits between two reads. When full, records are lost and counted.
pub const LIFECYCLE_RING_BYTES: u32 = 8 << 20;

/// The slice of time after which T is set anew, and over which captures of waits are counted.
pub const BUDGET_SLICE_NS: u64 = 100_000_000;

/// T before anything is known of a CPU's waits.
pub const WAIT_PERIOD_START_NS: u64 = 10_000_000;

/// The shortest T a CPU sets itself. Below it, there is little left to be learnt: the sum of a thread's waits on one stack is
/// known to a millisecond times the root of the captures behind it.
pub const WAIT_PERIOD_LEAST_NS: u64 = 1_000_000;

/// The longest T. At this, a thread has at most one capture of short waits in ten seconds; what is more is refused, and counted.
pub const WAIT_PERIOD_MOST_NS: u64 = 10_000_000_000;

/// The longest gap between the scheduler's CPU clock and the switch itself that is the switch's own work.
///
/// The scheduler stops a thread's CPU clock shortly before the context switch is traced. A shorter gap belongs to the
/// wait that follows; a longer one is time the hypervisor (or, where the kernel accounts them apart, interrupts) took.
pub const SWITCH_GAP_NS: u64 = 20_000;

/// How old the scheduler's CPU clock of a running thread may be: it is brought up to date at each timer tick.
pub const TICK_NS: u64 = 10_000_000;

/// Processes whose mappings are known at once. Stacks of a further one follow frame pointers, unchecked, and are counted.
pub const SPACES: u32 = 65_536;

/// Living processes that mapped memory where code was after their mappings were first read. The mappings of a further one that
/// does count as not known.
pub const NEW_CODE: u32 = 16_384;

/// The shortest time between two records of one process about memory that is about to be mapped where it already was.
pub const NEW_CODE_QUIET_NS: u64 = 1_000_000;

/// Blocks of mappings at once; a mapping has about ten. Code of a mapping that does not fit counts as unmapped.
pub const MAPPING_BLOCKS: u32 = 1 << 20;

/// Tables of unwind rules at once. Code of a further executable is followed by frame pointers.
pub const TABLES: u32 = 8192;

/// Shards of rows at once, 64 KiB each: 256 MiB, allocated as they are needed.
pub const SHARDS: u32 = 4096;

/// Distinct unwind rules; a row has 16 bits for their number.
pub const RULES: u32 = 65_536;
