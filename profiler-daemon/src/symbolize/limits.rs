//! Every bound of this room.

use std::time::Duration;

use super::debuginfod::DownloadBounds;

/// Bytes of symbols and debug information taken of one file; above it the debug information is left out, and above it even
/// without, the file counts as unavailable.
pub const SYMBOL_BYTES_PER_FILE: u64 = 256 << 20;
/// Bytes of symbols and debug information in memory; above it the least recently used files are let go.
pub const SYMBOL_BYTES: u64 = 512 << 20;
/// Files whose symbols are in memory; each takes two descriptors, or four with symbols that were packed into it.
pub const SYMBOL_FILES: usize = 256;
/// How long symbols stay in memory that no new address was looked up in; they are read again when there is one.
pub const SYMBOLS_UNUSED: Duration = Duration::from_secs(30);
/// Look-ups in a file's debug information that took longer than this together are not made anew: its symbols stay.
pub const SYMBOLS_DEAR: Duration = Duration::from_secs(3);
/// The largest file of debug information that is looked at; a larger one is not used.
pub const DEBUG_FILE_BYTES: u64 = 512 << 20;
/// Bytes of symbols unpacked from within an executable; with more they are not used.
pub const MINI_SYMBOLS_BYTES: u64 = 64 << 20;
/// Memory for unpacking them, in KiB; what needs more is not used.
pub const UNPACKING_KIB: u32 = 96 << 10;
/// Named addresses of executables remembered.
pub const NATIVE_FRAMES: usize = 1 << 18;
/// Named addresses of the kernel remembered.
pub const KERNEL_FRAMES: usize = 1 << 16;
/// Other frames remembered: those of runtimes, and those without a name.
pub const OTHER_FRAMES: usize = 1 << 16;
/// Names and paths shared between frames.
pub const TEXTS: usize = 1 << 18;
/// Bytes kept of a function's name or a file's path; a longer one is cut.
pub const TEXT_BYTES: usize = 1024;
/// The longest name that is demangled.
pub const MANGLED_BYTES: usize = 16 << 10;
/// Functions inlined into each other at one address; further ones are left out.
pub const INLINED: usize = 64;
/// Kernel frames at the leaf among which the scheduler's entry is looked for.
pub const LEAF_FRAMES: usize = 24;
/// Steps followed in a table of a Go function's lines; code that lies beyond has no line.
pub const GO_STEPS: usize = 1 << 16;
/// Bytes of relocations searched for the beginning of a Go program's code; in a longer table it is not found.
pub const GO_RELOCATION_BYTES: u64 = 64 << 20;
/// Bytes that may follow the Go code in its section, for alignment, if nothing else is to be in it.
pub const GO_TEXT_REST: u64 = 64;
/// Files of debug information that wait to be fetched; further ones are not asked for until their executables are read again.
pub const DOWNLOADS_WAITING: usize = 512;
/// Build ids remembered as asked for.
pub const DOWNLOADS_REMEMBERED: usize = 16_384;
/// How long a build id is not asked for again.
pub const DOWNLOAD_AGAIN: Duration = Duration::from_secs(3600);
/// How often a file is asked for whose server did not answer, or not to the end.
pub const DOWNLOAD_TRIES: u32 = 3;
/// How long further failures to fetch a file are not told in the log.
pub const DOWNLOAD_SILENCE: Duration = Duration::from_secs(60);
/// How long fetching a file may take, and how large it may be; what takes longer is tried again, what is larger is not used.
pub const DOWNLOAD: DownloadBounds = DownloadBounds {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(60),
    whole: Duration::from_secs(300),
    retry: Duration::from_secs(60),
    file_bytes: DEBUG_FILE_BYTES,
};
/// Steps the library may take to read all debug information of a file; with more it is left out.
pub const DWARF_STEPS: u64 = 1 << 28;
/// Memory it may take once all of it was looked at; with more it is left out.
pub const DWARF_MEMORY_BYTES: u64 = 1 << 30;
/// Attributes of an entry of debug information; with more all of it is left out.
pub const DWARF_ATTRIBUTES: usize = 128;
/// Functions inlined into each other, for which the library calls itself; with more all debug information is left out.
pub const DWARF_NESTING: usize = 256;
/// The longest text of the debug information; with a longer one all of it is left out.
pub const DWARF_TEXT_BYTES: usize = 128 << 10;
/// The time spent on looking up lines in one executable; from then on only its symbols are used.
pub const DEBUG_TIME: Duration = Duration::from_secs(30);
/// The largest file whose lines are shown as source text.
pub const SOURCE_FILE_BYTES: u64 = 2 << 20;
/// Bytes of source files in memory; above it the least recently used are let go, and read again when they are needed.
pub const SOURCE_BYTES: usize = 32 << 20;
/// Source files in memory.
pub const SOURCE_FILES: usize = 8192;
/// Files of program images of which it is remembered what was found; those forgotten are looked for again.
pub const SOURCE_PLACES: usize = 1 << 17;
/// Bytes kept of a line of source text; a longer one is cut.
pub const SOURCE_LINE_BYTES: usize = 256;
/// How long source files are looked for and read in one window; lines not reached have their text in a later one.
pub const SOURCE_TIME: Duration = Duration::from_secs(1);

/// Tasks of asyncio in one process and window whose names differ in nothing but their numbers and that are shown apart. Of more,
/// numbers are shown as `*`.
pub const NUMBERED_TASKS: usize = 64;
