//! Where a version of CPython keeps what naming needs, and the tables of those versions that do not say so themselves.
//!
//! In comes a version; out come an [`Interpreter`] without addresses, for walks, and a [`Layout`], for names. From 3.13 on the
//! interpreter publishes both in its memory, see [`super::debug_offsets`].

use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::{
    CFRAME_MARKERS, ENTRY_FRAMES, FRAME_IN_CFRAME, INSTRUCTION_INDEX, Interpreter, SHIMS,
};

use super::version::Version;

/// Offsets of fields in bytes, for what is read in user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The version it belongs to.
    pub version: Version,
    /// Whether threads run at once, without a lock around the interpreter.
    pub is_free_threaded: bool,
    /// `_PyRuntimeState.interpreters.head`.
    pub runtime_interpreters: u32,
    /// `PyVarObject.ob_size`.
    pub object_length: u32,
    /// `PyBytesObject.ob_sval`.
    pub bytes_data: u32,
    /// Strings.
    pub text: TextLayout,
    /// `PyCodeObject.co_qualname`; there is none before 3.11.
    pub code_qualified_name: Option<u32>,
    /// Where the instructions of a code object are.
    pub instructions: Instructions,
    /// `PyThreadState.native_thread_id`; there is none before 3.11.
    pub native_thread_id: Option<u32>,
    /// The lock around the interpreter: the lock itself in the runtime's state; in an interpreter's, the pointer to it.
    pub lock: Place,
    /// Whether garbage is being collected, an `int`.
    pub is_collecting: Place,
    /// `_PyRuntimeState.autoTSSkey`: whether the key was made, and in the next four bytes which it is. None from 3.15 on.
    pub thread_key: Option<u32>,
    /// What tasks of asyncio are made of: all but the tasks themselves and the addresses; none before 3.14.
    pub asyncio: Option<Asyncio>,
}

/// `PyUnicodeObject` and what it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLayout {
    /// `length`, in characters.
    pub length: u32,
    /// `state`, bits.
    pub state: u32,
    /// The first bit of `state` that tells how many bytes a character has; the other two follow.
    pub kind_bit: u32,
    /// The bit of `state` that says that characters follow the object.
    pub compact_bit: u32,
    /// The bit of `state` that says that all characters are ASCII.
    pub ascii_bit: u32,
    /// The size of an object that is compact and ASCII: there its characters are.
    pub ascii_bytes: u32,
    /// The size of one that is compact only. One that is not has the characters' address here.
    pub compact_bytes: u32,
}

/// Where the instructions of a code object are, and how frames say at which one they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// In a bytes object, counted in units of so many bytes (3.8 to 3.10).
    Counted {
        /// `PyCodeObject.co_code`.
        code: u32,
        /// Bytes of a unit.
        unit: u32,
    },
    /// In the code object itself, pointed at.
    Inline {
        /// `PyCodeObject.co_code_adaptive`.
        at: u32,
    },
    /// In the code object and in a copy for each thread that ran it, pointed at (free-threaded, 3.14 on).
    Copied {
        /// `PyCodeObject.co_code_adaptive`.
        at: u32,
        /// `PyCodeObject.co_tlbc`.
        copies: u32,
    },
}

/// A field of the runtime's or of an interpreter's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An offset in `_PyRuntimeState`.
    Runtime(u32),
    /// An offset in `PyInterpreterState`.
    Interpreter(u32),
}

/// Of 3.8 to 3.11.
const TEXT_WITH_CACHE: TextLayout =
    TextLayout { length: 16, state: 32, kind_bit: 2, compact_bit: 5, ascii_bit: 6, ascii_bytes: 48, compact_bytes: 72 };

/// Of 3.12 on.
pub(super) const TEXT: TextLayout = TextLayout { ascii_bytes: 40, compact_bytes: 56, ..TEXT_WITH_CACHE };

/// Without addresses: those are of a process.
const NOTHING: Interpreter = Interpreter {
    interpreters: 0,
    code_type: 0,
    lock: 0,
    collecting: 0,
    flags: 0,
    frame_bytes: 0,
    interpreter_next: 0,
    interpreter_threads: 0,
    thread_next: 8,
    thread_id: 0,
    thread_frame: 0,
    thread_cframe: 0,
    thread_bytes: 0,
    cframe_frame: 0,
    cframe_previous: 0,
    frame_code: 0,
    frame_previous: 0,
    frame_instruction: 0,
    frame_owner: 0,
    object_type: 8,
    code_first_line: 0,
    code_name: 0,
    code_filename: 0,
    code_lines: 0,
};

const INTERPRETER_3_8: Interpreter = Interpreter {
    flags: INSTRUCTION_INDEX,
    frame_bytes: 112,
    interpreter_threads: 8,
    thread_id: 176,
    thread_frame: 24,
    thread_bytes: 264,
    frame_code: 32,
    frame_previous: 24,
    frame_instruction: 104,
    code_first_line: 40,
    code_filename: 104,
    code_name: 112,
    code_lines: 120,
    ..NOTHING
};

const INTERPRETER_3_10: Interpreter = Interpreter {
    flags: INSTRUCTION_INDEX | CFRAME_MARKERS,
    frame_bytes: 104,
    thread_cframe: 48,
    thread_bytes: 280,
    cframe_previous: 8,
    frame_instruction: 96,
    ..INTERPRETER_3_8
};

const INTERPRETER_3_11: Interpreter = Interpreter {
    flags: FRAME_IN_CFRAME | CFRAME_MARKERS | ENTRY_FRAMES,
    frame_bytes: 72,
    interpreter_threads: 16,
    thread_id: 152,
    thread_frame: 56,
    thread_cframe: 56,
    thread_bytes: 360,
    cframe_frame: 8,
    cframe_previous: 16,
    frame_code: 32,
    frame_previous: 48,
    frame_instruction: 56,
    frame_owner: 68,
    code_first_line: 72,
    code_filename: 112,
    code_name: 120,
    code_lines: 136,
    ..NOTHING
};

const INTERPRETER_3_12: Interpreter = Interpreter {
    flags: FRAME_IN_CFRAME | SHIMS,
    interpreter_threads: 72,
    thread_id: 136,
    thread_bytes: 288,
    cframe_frame: 0,
    cframe_previous: 8,
    frame_code: 0,
    frame_previous: 8,
    frame_owner: 70,
    code_first_line: 68,
    ..INTERPRETER_3_11
};

const LAYOUT_3_8: Layout = Layout {
    version: Version::of_minor(8),
    is_free_threaded: false,
    runtime_interpreters: 32,
    object_length: 16,
    bytes_data: 32,
    text: TEXT_WITH_CACHE,
    code_qualified_name: None,
    instructions: Instructions::Counted { code: 48, unit: 1 },
    native_thread_id: None,
    lock: Place::Runtime(1152),
    is_collecting: Place::Runtime(544),
    thread_key: Some(1392),
    asyncio: None,
};

const LAYOUT_3_9: Layout =
    Layout { lock: Place::Runtime(352), is_collecting: Place::Interpreter(816), thread_key: Some(584), ..LAYOUT_3_8 };

const LAYOUT_3_10: Layout = Layout { instructions: Instructions::Counted { code: 48, unit: 2 }, ..LAYOUT_3_9 };

const LAYOUT_3_11: Layout = Layout {
    runtime_interpreters: 40,
    code_qualified_name: Some(128),
    instructions: Instructions::Inline { at: 184 },
    native_thread_id: Some(160),
    lock: Place::Runtime(360),
    is_collecting: Place::Interpreter(848),
    thread_key: Some(592),
    ..LAYOUT_3_8
};

const LAYOUT_3_12: Layout = Layout {
    text: TEXT,
    instructions: Instructions::Inline { at: 192 },
    native_thread_id: Some(144),
    lock: Place::Interpreter(384),
    is_collecting: Place::Interpreter(312),
    thread_key: Some(1544),
    ..LAYOUT_3_11
};

/// What is known of a version that does not publish its layout; `None` of any other.
pub fn of_version(version: Version) -> Option<(Interpreter, Layout)> {
    let (interpreter, layout) = match version.minor {
        8 => (INTERPRETER_3_8, LAYOUT_3_8),
        9 => (INTERPRETER_3_8, LAYOUT_3_9),
        10 => (INTERPRETER_3_10, LAYOUT_3_10),
        11 => (INTERPRETER_3_11, LAYOUT_3_11),
        12 => (INTERPRETER_3_12, LAYOUT_3_12),
        _ => return None,
    };
    Some((interpreter, Layout { version, ..layout }))
}
