//! The layout an interpreter publishes of itself: `_Py_DebugOffsets`, at the beginning of its runtime's state (3.13 on).
//!
//! It does not describe itself: which fields it has depends on the minor version, and each minor version so far only added
//! some ([3.13](https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_runtime.h),
//! [3.14](https://github.com/python/cpython/blob/v3.14.0/Include/internal/pycore_debug_offsets.h)). So it is read by the
//! table of its version and believed only if it agrees with all that is known otherwise. Patch levels moved fields, which is
//! why it is read and not kept here.

use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::{CODE_BYTES, FRAME_BYTES, Interpreter, SHIMS};

use super::layout::{self, Instructions, Layout, Place, TextLayout};
use super::refusal::Refusal;
use super::version::Version;
use crate::process::elf::{u32_at, u64_at};
use crate::runtime::memory::ProcessMemory;

/// The byte of a coroutine that awaits something: -1, or from 3.15 on 2.
const AWAITS_3_14: u32 = 0xff;
const AWAITS_3_15: u32 = 2;

/// What it begins with.
const COOKIE: &[u8; 8] = b"xdebugpy";
/// Cookie, version, and whether it is free-threaded.
const HEADER_WORDS: usize = 3;

/// Groups of fields in their order, each with the minor version it is there from.
const FIELDS: &[(u8, &str, &[&str])] = &[
    (13, "runtime", &["size", "finalizing", "interpreters_head"]),
    (13, "interpreter", &["size", "id", "next", "threads_head"]),
    (14, "interpreter", &["threads_main"]),
    (13, "interpreter", &["gc", "modules", "sysdict", "builtins", "ceval_gil", "gil_state", "gil_enabled"]),
    (13, "interpreter", &["gil_locked", "gil_holder"]),
    (14, "interpreter", &["code_object_generation", "tlbc_generation"]),
    (13, "thread", &["size", "prev", "next", "interpreter", "current_frame"]),
    (15, "thread", &["base_frame", "last_profiled_frame", "last_profiled_frame_seq"]),
    (13, "thread", &["thread_id", "native_thread_id", "datastack_chunk", "status"]),
    (15, "thread", &["holds_gil", "gil_requested", "current_exception", "exc_state"]),
    (15, "exception_state", &["exc_value"]),
    (13, "frame", &["size", "previous", "executable", "instr_ptr", "localsplus", "owner"]),
    (14, "frame", &["stackpointer", "tlbc_index"]),
    (13, "code", &["size", "filename", "name", "qualname", "linetable", "firstlineno", "argcount"]),
    (13, "code", &["localsplusnames", "localspluskinds", "co_code_adaptive"]),
    (14, "code", &["co_tlbc"]),
    (13, "object", &["size", "ob_type"]),
    (13, "type", &["size", "tp_name", "tp_repr", "tp_flags"]),
    (15, "type", &["tp_basicsize", "tp_dictoffset"]),
    (15, "heaptype", &["size", "ht_cached_keys"]),
    (13, "tuple", &["size", "ob_item", "ob_size"]),
    (13, "list", &["size", "ob_item", "ob_size"]),
    (14, "set", &["size", "used", "table", "mask"]),
    (13, "dict", &["size", "ma_keys", "ma_values"]),
    (13, "float", &["size", "ob_fval"]),
    (13, "long", &["size", "lv_tag", "ob_digit"]),
    (13, "bytes", &["size", "ob_size", "ob_sval"]),
    (13, "unicode", &["size", "state", "length", "asciiobject_size"]),
    (15, "unicode", &["compactunicodeobject_size"]),
    (13, "gc", &["size", "collecting"]),
    (15, "gc", &["frame", "generation_stats_size", "generation_stats"]),
    (14, "generator", &["size", "gi_name", "gi_iframe", "gi_frame_state"]),
    (14, "llist", &["next", "prev"]),
    (14, "debugger", &["eval_breaker", "remote_debugger_support", "debugging_enabled"]),
    (14, "debugger", &["debugger_pending_call", "debugger_script_path", "debugger_script_path_size"]),
];

/// What an interpreter says about its layout.
struct Offsets {
    version: Version,
    is_free_threaded: bool,
    /// One word per field, in the order of [`FIELDS`].
    words: Vec<u64>,
    /// The word behind it, which is where the runtime says that it was initialized.
    next: u32,
}

/// Reads and checks what the interpreter whose state begins at `runtime`, and has so many bytes, says about its layout.
pub(super) fn read(
    runtime: u64,
    runtime_bytes: u64,
    version: Version,
    memory: &ProcessMemory<'_>,
) -> Result<(Interpreter, Layout), Refusal> {
    let length = 8 * (HEADER_WORDS + field_count(version.minor));
    let bytes = memory.read_bytes(runtime, length + 8).ok_or(Refusal::Unreadable)?;
    let offsets = Offsets::decode(&bytes, version).ok_or(Refusal::UnknownLayout(version))?;
    offsets.to_layout(runtime_bytes).ok_or(Refusal::UnknownLayout(version))
}

fn field_count(minor: u8) -> usize {
    FIELDS.iter().filter(|(since, ..)| *since <= minor).map(|(.., names)| names.len()).sum()
}

impl Offsets {
    /// `None` if it is none, or one of another version.
    fn decode(bytes: &[u8], version: Version) -> Option<Self> {
        let words: Vec<_> = bytes.chunks_exact(8).map(|word| u64_at(word, 0)).collect();
        let (fields, next) = (words.get(HEADER_WORDS..words.len() - 1)?, words.last()?.to_le_bytes());
        let is_of_version = Version::from_number(u32::try_from(words[1]).ok()?) == version;
        let offsets = Self { version, is_free_threaded: words[2] == 1, words: fields.to_vec(), next: u32_at(&next, 0) };
        (bytes.starts_with(COOKIE) && is_of_version && words[2] <= 1).then_some(offsets)
    }

    /// A field of a group. `None` if this version has no such field, or if it is no offset.
    fn find(&self, group: &str, field: &str) -> Option<u32> {
        let known = FIELDS.iter().filter(|(since, ..)| *since <= self.version.minor);
        let mut names = known.flat_map(|(_, group, names)| names.iter().map(move |name| (*group, *name)));
        let word = self.words.get(names.position(|name| name == (group, field))?)?;
        u32::try_from(*word).ok()
    }

    /// A field that lies within the object its group describes.
    fn within(&self, group: &str, field: &str, bytes: u32) -> Option<u32> {
        let offset = self.find(group, field)?;
        (offset.checked_add(bytes)? <= self.find(group, "size")?).then_some(offset)
    }

    /// `None` if it contradicts itself or the symbol's size.
    fn to_layout(&self, runtime_bytes: u64) -> Option<(Interpreter, Layout)> {
        if u64::from(self.find("runtime", "size")?) != runtime_bytes || self.next > 1 {
            return None;
        }
        let interpreter = self.to_interpreter()?;
        let frames_fit = interpreter.frame_bytes <= FRAME_BYTES && interpreter.frame_previous % 8 == 0;
        let code = [interpreter.code_name, interpreter.code_filename, interpreter.code_lines, interpreter.object_type];
        let code_fits = code.iter().all(|field| field % 8 == 0 && field + 8 <= CODE_BYTES);
        let lines_fit = interpreter.code_first_line % 4 == 0 && interpreter.code_first_line + 4 <= CODE_BYTES;
        let words = [interpreter.frame_code, interpreter.frame_instruction];
        let is_aligned = words.iter().all(|field| field % 8 == 0);
        if !(frames_fit && code_fits && lines_fit && is_aligned) {
            return None;
        }
        Some((interpreter, self.to_names()?))
    }

    fn to_interpreter(&self) -> Option<Interpreter> {
        let frame_owner = self.within("frame", "owner", 1)?;
        let frame = |field| self.within("frame", field, 8);
        let (frame_code, frame_previous) = (frame("executable")?, frame("previous")?);
        let frame_instruction = frame("instr_ptr")?;
        // What a coroutine awaits is on its stack.
        let frame_stack = frame("stackpointer").unwrap_or_default();
        let ends = [frame_owner + 1, frame_code + 8, frame_previous + 8, frame_instruction + 8, frame_stack + 8];
        let known = Interpreter {
            flags: SHIMS,
            frame_bytes: ends.into_iter().max()?.checked_next_multiple_of(8)?,
            frame_code,
            frame_previous,
            frame_instruction,
            frame_owner,
            ..Interpreter::default()
        };
        self.with_objects(known)
    }

    /// Adds what is not of frames.
    fn with_objects(&self, known: Interpreter) -> Option<Interpreter> {
        Some(Interpreter {
            interpreter_next: self.within("interpreter", "next", 8)?,
            interpreter_threads: self.within("interpreter", "threads_head", 8)?,
            thread_next: self.within("thread", "next", 8)?,
            thread_id: self.within("thread", "thread_id", 8)?,
            thread_frame: self.within("thread", "current_frame", 8)?,
            thread_bytes: self.thread_bytes()?,
            object_type: self.within("object", "ob_type", 8)?,
            code_first_line: self.within("code", "firstlineno", 4)?,
            code_name: self.within("code", "name", 8)?,
            code_filename: self.within("code", "filename", 8)?,
            code_lines: self.within("code", "linetable", 8)?,
            ..known
        })
    }

    /// From 3.15 on, the frame that ends each stack follows the state.
    fn thread_bytes(&self) -> Option<u32> {
        let base_frame = if self.version.minor >= 15 { self.find("frame", "size")? } else { 0 };
        self.find("thread", "size")?.checked_add(base_frame)
    }

    fn to_names(&self) -> Option<Layout> {
        let at = self.find("code", "co_code_adaptive")?;
        let has_copies = self.is_free_threaded && self.version.minor >= 14;
        let copies = if has_copies { Some(self.within("code", "co_tlbc", 8)?) } else { None };
        let interpreter_gc = self.within("interpreter", "gc", 8)?;
        let text = self.to_text()?;
        Some(Layout {
            asyncio: self.to_asyncio(&text),
            version: self.version,
            is_free_threaded: self.is_free_threaded,
            runtime_interpreters: self.within("runtime", "interpreters_head", 8)?,
            object_length: self.within("bytes", "ob_size", 8)?,
            bytes_data: self.within("bytes", "ob_sval", 1)?,
            text,
            code_qualified_name: Some(self.within("code", "qualname", 8)?),
            instructions: copies.map_or(Instructions::Inline { at }, |copies| Instructions::Copied { at, copies }),
            native_thread_id: Some(self.within("thread", "native_thread_id", 8)?),
            lock: self.to_lock()?,
            is_collecting: Place::Interpreter(interpreter_gc.checked_add(self.within("gc", "collecting", 4)?)?),
            thread_key: thread_key(self.version.minor),
        })
    }

    /// What asyncio's tasks are made of, without the tasks themselves and without addresses; published from 3.14 on.
    fn to_asyncio(&self, text: &TextLayout) -> Option<Asyncio> {
        let (coroutine_awaits, below) = match self.version.minor {
            14 => (AWAITS_3_14, 8),
            15 => (AWAITS_3_15, 16),
            _ => return None,
        };
        Some(Asyncio {
            coroutine_frame: self.within("generator", "gi_iframe", 8)?,
            coroutine_state: self.within("generator", "gi_frame_state", 1)?,
            coroutine_awaits,
            frame_stack: self.within("frame", "stackpointer", 8).filter(|field| field % 8 == 0)?,
            frame_awaits: below,
            set_used: self.within("set", "used", 8)?,
            set_mask: self.within("set", "mask", 8)?,
            set_table: self.within("set", "table", 8)?,
            text_length: text.length,
            text_state: text.state,
            text_ascii_bit: text.ascii_bit,
            text_data: text.ascii_bytes,
            number_tag: self.within("long", "lv_tag", 8)?,
            ..Asyncio::default()
        })
    }

    /// Strings. The bits of their state are not published.
    fn to_text(&self) -> Option<TextLayout> {
        let ascii_bytes = self.find("unicode", "asciiobject_size")?;
        let compact_bytes = self.find("unicode", "compactunicodeobject_size");
        let moved = if self.is_free_threaded && self.version.minor >= 14 { 6 } else { 0 };
        Some(TextLayout {
            length: self.within("unicode", "length", 8)?,
            state: self.within("unicode", "state", 4)?,
            kind_bit: layout::TEXT.kind_bit + moved,
            compact_bit: layout::TEXT.compact_bit + moved,
            ascii_bit: layout::TEXT.ascii_bit + moved,
            ascii_bytes,
            compact_bytes: compact_bytes.or_else(|| ascii_bytes.checked_add(16))?,
        })
    }

    fn to_lock(&self) -> Option<Place> {
        Some(Place::Interpreter(self.within("interpreter", "ceval_gil", 8)?))
    }
}

/// Not published; the same in all patch levels seen.
fn thread_key(minor: u8) -> Option<u32> {
    match minor {
        13 => Some(2160),
        14 => Some(2336),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::python::fixture::{MadeUp, PID, RUNTIME};
    use crate::runtime::python::fuzzing::MEMORY_AT;

    /// Fields of a free-threaded 3.14, as its headers have them; the others are eight here.
    const FREE_THREADED_3_14: &[(&str, &str, u64)] = &[
        ("runtime", "size", 365_624),
        ("runtime", "interpreters_head", 808),
        ("interpreter", "size", 249_976),
        ("interpreter", "threads_head", 7344),
        ("interpreter", "next", 7272),
        ("interpreter", "gc", 7408),
        ("interpreter", "ceval_gil", 16),
        ("thread", "size", 832),
        ("thread", "current_frame", 72),
        ("thread", "thread_id", 152),
        ("thread", "native_thread_id", 160),
        ("frame", "size", 88),
        ("frame", "executable", 0),
        ("frame", "instr_ptr", 56),
        ("frame", "owner", 78),
        ("code", "size", 240),
        ("code", "filename", 128),
        ("code", "name", 136),
        ("code", "qualname", 144),
        ("code", "linetable", 152),
        ("code", "firstlineno", 84),
        ("code", "co_code_adaptive", 232),
        ("code", "co_tlbc", 224),
        ("object", "size", 32),
        ("object", "ob_type", 24),
        ("bytes", "size", 56),
        ("bytes", "ob_size", 32),
        ("bytes", "ob_sval", 48),
        ("unicode", "size", 80),
        ("unicode", "state", 48),
        ("unicode", "length", 32),
        ("unicode", "asciiobject_size", 56),
        ("gc", "size", 264),
        ("gc", "collecting", 192),
    ];

    fn version() -> Version {
        Version::from_number(0x030e_00f0)
    }

    /// The words an interpreter publishes, with the one behind them; later fields replace earlier ones.
    fn words(fields: &[(&str, &str, u64)]) -> Vec<u64> {
        let known = FIELDS.iter().filter(|(since, ..)| *since <= version().minor);
        let names = known.flat_map(|(_, group, names)| names.iter().map(move |name| (*group, *name)));
        let value = |name| fields.iter().rfind(|(group, field, _)| (*group, *field) == name).map_or(8, |found| found.2);
        let header = [u64::from_le_bytes(*COOKIE), 0x030e_00f0, 1];
        header.into_iter().chain(names.map(value)).chain([1]).collect()
    }

    fn read_words(words: &[u64]) -> Result<(Interpreter, Layout), Refusal> {
        let mut made = MadeUp::interpreter(0, 0);
        made.put_words(RUNTIME, words);
        let world = made.world();
        read(MEMORY_AT + RUNTIME, 365_624, version(), &ProcessMemory::new(PID, &world))
    }

    #[test]
    fn what_is_published_has_the_length_it_has_in_each_version() {
        for (minor, bytes) in [(13, 584), (14, 760), (15, 888)] {
            assert_eq!(8 * (HEADER_WORDS + field_count(minor)), bytes);
        }
    }

    #[test]
    fn a_free_threaded_interpreter_has_larger_headers_and_copies_of_code() {
        let (interpreter, layout) = read_words(&words(FREE_THREADED_3_14)).unwrap();
        assert_eq!((interpreter.frame_owner, interpreter.frame_bytes, interpreter.thread_bytes), (78, 80, 832));
        assert_eq!((interpreter.object_type, interpreter.code_lines), (24, 152));
        assert_eq!(layout.instructions, Instructions::Copied { at: 232, copies: 224 });
        assert_eq!((layout.text.kind_bit, layout.text.compact_bit, layout.text.ascii_bit), (8, 11, 12));
        assert_eq!((layout.text.ascii_bytes, layout.text.compact_bytes, layout.thread_key), (56, 72, Some(2336)));
        assert_eq!(layout.is_collecting, Place::Interpreter(7600));
        assert!(layout.is_free_threaded);
    }

    #[test]
    fn what_contradicts_itself_or_the_symbols_is_not_believed() {
        let refused = Err(Refusal::UnknownLayout(version()));
        for change in [
            ("runtime", "size", 365_625),
            ("interpreter", "threads_head", 249_976),
            ("thread", "thread_id", u64::MAX),
            ("frame", "owner", 88),
            ("frame", "previous", 4),
            ("frame", "instr_ptr", 60),
            ("code", "linetable", 160),
            ("code", "name", 132),
            ("code", "firstlineno", 200),
            ("object", "ob_type", 32),
        ] {
            assert_eq!(read_words(&words(&[FREE_THREADED_3_14, &[change]].concat())), refused, "{change:?}");
        }
        let intact = words(FREE_THREADED_3_14);
        for (at, word) in [(0, 0), (1, 0x030e_01f0), (2, 2), (intact.len() - 1, 2)] {
            let mut damaged = intact.clone();
            damaged[at] = word;
            assert_eq!(read_words(&damaged), refused, "word {at}");
        }
    }
}
