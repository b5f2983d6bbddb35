//! Every bound of this room.

use std::time::Duration;

/// Images with attached runtimes; beyond that the least recently used are let go, and their late stacks stay unnamed.
pub const IMAGES: usize = 256;
/// The largest perf map read; of a larger one only the beginning counts.
pub const PERF_MAP_BYTES: usize = 64 << 20;
/// All perf maps in memory together; a map that would exceed it is not read, and its addresses stay unnamed.
pub const PERF_MAPS_BYTES: usize = 256 << 20;
/// Entries of one perf map; further ones are ignored.
pub const PERF_MAP_ENTRIES: usize = 1 << 20;
/// Bytes kept of a name; a longer one is cut.
pub const NAME_BYTES: usize = 1024;
/// Executables of one process asked whether they are a Python interpreter; further ones are not, and their Python code
/// shows as native frames.
pub const PYTHON_IMAGES: usize = 4096;
/// Segments of an executable in memory; one with more has no names.
pub const IMAGE_SEGMENTS: usize = 256;
/// Bytes read of an executable's dynamic section; real ones have less than a thousand, and what lies beyond is not known.
pub const IMAGE_DYNAMIC_BYTES: usize = 16 << 10;
/// Symbols compared in one chain of a hash table; beyond that a name counts as absent.
pub const IMAGE_SYMBOL_CHAIN: usize = 4096;
/// Looks at whether an interpreter's lists make sense; they may be in the middle of a change. Then it is refused.
pub const PYTHON_CHECKS: usize = 4;
/// Characters kept of a Python function's name; a longer one is cut. The longest of the standard library has 86.
pub const PYTHON_NAME_CHARACTERS: usize = 512;
/// Characters kept of the path of a Python file; a longer one is cut.
pub const PYTHON_PATH_CHARACTERS: usize = 4096;
/// The longest table of lines of one code object, in bytes; of one with a longer table no lines are known. The longest of
/// the standard library has 39,146.
pub const PYTHON_LINE_TABLE_BYTES: usize = 64 << 10;
/// Copies of one code object's instructions, one per thread that ran it, that are searched for an instruction; one in a
/// further copy has no line.
pub const PYTHON_CODE_COPIES: usize = 1024;
/// Steps of a search through the threads of a process's interpreters; what lies beyond is not seen.
pub const PYTHON_THREADS: usize = 65_536;
/// Python frames of one thread read from outside; outer ones are left out.
pub const PYTHON_FRAMES: usize = 1024;

/// Memory for the code objects of all processes. Beyond it those of the process that needs more are read again.
pub const PYTHON_CODE_BYTES: usize = 128 << 20;

/// Innermost instructions remembered of one process. Beyond it they are looked at again.
pub const PYTHON_CALLS: usize = 65_536;
/// Python frames of all threads of a process read from outside at once, and one thread's more; further threads are left out.
pub const PYTHON_ENTRIES: usize = 1 << 18;

/// Names of tasks of asyncio remembered of one process, of those the kernel half does not record whole. Beyond it they are
/// forgotten, and known again when they are on a stack next.
pub const ASYNCIO_NAMES: usize = 4096;
/// Tasks of one thread read from outside at once; of a loop with more, nothing is.
pub const ASYNCIO_TASKS: usize = 8192;
/// Pending tasks of one thread of which it is told where they are. Of more a sample is.
pub const ASYNCIO_PLACES: usize = 256;
/// Slots of a set of what awaits a task that are looked at.
pub const ASYNCIO_AWAITERS: usize = 256;
/// Coroutines of one task read from outside; inner ones are left out.
pub const ASYNCIO_COROUTINES: usize = 32;
/// Tasks in a row that await each other read from outside; outer ones are left out.
pub const ASYNCIO_AWAITING: usize = 16;
/// The largest task of asyncio that is read, in bytes; of a larger one nothing is. It has 168.
pub const ASYNCIO_TASK_BYTES: u64 = 1024;
/// Files of one process searched for what asyncio says about itself: that of the interpreter, and modules of that name.
pub const ASYNCIO_FILES: usize = 4;

/// Bytes read of that; it has 104.
pub const ASYNCIO_SECTION_BYTES: u64 = 1024;

/// Program images that were asked for an interpreter. Beyond it those not used for the longest time are asked again.
pub const PYTHON_PROCESSES: usize = 4096;

/// How long code objects of one stack are read. Those there is no time for are read with the next new stack they are on.
pub const PYTHON_READ_TIME: Duration = Duration::from_millis(5);

/// Program images that were asked for a Java virtual machine. Beyond it those not used for the longest time are asked again.
pub const HOTSPOT_PROCESSES: usize = 4096;
/// Executables of one process named like a Java virtual machine that are asked; further ones are not.
pub const HOTSPOT_EXECUTABLES: usize = 4;
/// Rows of a table in which a virtual machine describes itself; one with more is refused. Real ones have less than a thousand.
pub const HOTSPOT_ROWS: usize = 8192;
/// The longest row, in bytes; a machine with longer ones is refused. It has 48.
pub const HOTSPOT_ROW_BYTES: u64 = 256;
/// Bytes of a name in those tables; a longer one is cut, and then none that is looked for.
pub const HOTSPOT_WORD_BYTES: usize = 128;
/// Readings of a process for those tables. A machine whose tables need more is refused; real ones need less than a hundred.
pub const HOTSPOT_TABLE_READS: usize = 512;
/// The largest offset of a field, and size of what fields lie in, in bytes; a machine with a larger one is refused. Real ones
/// are below 500. Of those the kernel half reads of a blob, none may lie beyond what it reads.
pub const HOTSPOT_FIELD_OFFSET: u32 = 1024;
/// The largest entry of the table of places of a compiled method, in bytes; a machine with larger ones is refused. It has 16.
pub const HOTSPOT_PLACE_BYTES: u32 = 64;
/// Places read of a compiled method at once; a longer table is halved until the rest is shorter.
pub const HOTSPOT_PLACES_READ: u64 = 1024;
/// Methods inlined into each other at one instruction; of more only the outermost is told. The compilers stop at 15 unless told
/// otherwise.
pub const HOTSPOT_INLINED: usize = 64;
/// Bytes of the table in which a compiled method's scopes name others, where its end is not told: what is beyond is not believed.
pub const HOTSPOT_METADATA_BYTES: u64 = 64 << 10;
/// Steps from a segment of a code heap to the one in which its blob begins; beyond them nothing is known of it. One step goes
/// over 254 segments at the most, and up to nine were seen.
pub const HOTSPOT_SEGMENT_STEPS: usize = 4096;
/// Bytes kept of the name of a blob; a longer one is cut.
pub const HOTSPOT_BLOB_NAME_BYTES: usize = 64;
/// Bytes kept of a name of Java; a longer one is cut.
pub const HOTSPOT_SYMBOL_BYTES: u64 = 1024;
/// Bytes searched for the end of a table of lines; of a method with a longer one no lines are known.
pub const HOTSPOT_LINE_TABLE_BYTES: u64 = 128 << 10;
/// Memory for what frames of all virtual machines stand for. Beyond it that of the process that needs more is read again.
pub const HOTSPOT_NAME_BYTES: usize = 128 << 20;
/// How long frames of one stack are read. Those there is no time for are read with the next new stack they are on.
pub const HOTSPOT_READ_TIME: Duration = Duration::from_millis(5);
