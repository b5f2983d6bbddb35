//! Where one version of CPython keeps what a walk needs, and where that is in one process.

use crate::memory::Memory;

/// In [`Interpreter::flags`]: a thread's state leads to a `_PyCFrame`, and that to its frame (3.11, 3.12).
pub const FRAME_IN_CFRAME: u32 = 1;
/// Each activation of the loop has a `CFrame` on the C stack, which marks it (3.10, 3.11).
pub const CFRAME_MARKERS: u32 = 2;
/// A frame says whether its activation of the loop began with it (3.11). Otherwise each frame has its own.
pub const ENTRY_FRAMES: u32 = 4;
/// Each activation of the loop begins with a frame that is no function's, on the C stack (3.12 on).
pub const SHIMS: u32 = 8;
/// A frame counts its instruction as an `int` and does not point at it (3.8 to 3.10).
pub const INSTRUCTION_INDEX: u32 = 16;

/// The lock around an interpreter belongs to its state (3.12 on), else to the runtime's.
pub const LOCK_IN_INTERPRETER: u32 = 32;

/// It is known where asyncio keeps its tasks (3.14 on).
pub const ASYNCIO: u32 = 64;

/// What says whether garbage is being collected belongs to an interpreter's state (3.9 on), else to the runtime's.
pub const COLLECTING_IN_INTERPRETER: u32 = 128;

/// `PyThreadState.interp`, in all versions.
pub const THREAD_INTERPRETER: u64 = 16;

/// Bytes of the lock around the interpreter: its fields, and the mutexes and conditions threads wait on.
pub const LOCK_BYTES: u64 = 208;

/// Within the lock: the state of the thread that held it last.
pub const LOCK_HOLDER: u64 = 8;

/// In the byte at [`Interpreter::frame_owner`]: from this value on, a frame is no function's.
pub const SHIM_OWNER: u8 = 3;

/// Bytes of a code object a walk reads.
pub const CODE_BYTES: u32 = 160;

/// The most bytes of a frame a walk reads.
pub const FRAME_BYTES: u32 = 128;

/// One interpreter in one process: addresses, and offsets of fields in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Interpreter {
    /// The address of the pointer to the newest interpreter state: `_PyRuntime.interpreters.head`.
    pub interpreters: u64,
    /// The address of `PyCode_Type`.
    pub code_type: u64,
    /// The lock around the interpreter: its address, or with [`LOCK_IN_INTERPRETER`] the offset of the pointer to it in an
    /// interpreter's state.
    pub lock: u64,
    /// The `int` that is not zero while garbage is being collected: its address, or with [`COLLECTING_IN_INTERPRETER`] its
    /// offset in an interpreter's state. Zero if there is none to go by.
    pub collecting: u64,
    /// Bits of this module's flags.
    pub flags: u32,
    /// How many bytes of a frame to read: up to [`FRAME_BYTES`], and all the fields below.
    pub frame_bytes: u32,
    /// `PyInterpreterState.next`.
    pub interpreter_next: u32,
    /// `PyInterpreterState.threads.head`.
    pub interpreter_threads: u32,
    /// `PyThreadState.next`.
    pub thread_next: u32,
    /// `PyThreadState.thread_id`.
    pub thread_id: u32,
    /// `PyThreadState.frame`, `.cframe` with [`FRAME_IN_CFRAME`], or `.current_frame`.
    pub thread_frame: u32,
    /// `PyThreadState.cframe`, with [`CFRAME_MARKERS`] or [`FRAME_IN_CFRAME`].
    pub thread_cframe: u32,
    /// The size of `PyThreadState`: a `CFrame` or shim within it ends the stack and is no marker.
    pub thread_bytes: u32,
    /// `CFrame.current_frame`, with [`FRAME_IN_CFRAME`].
    pub cframe_frame: u32,
    /// `CFrame.previous`, with [`CFRAME_MARKERS`].
    pub cframe_previous: u32,
    /// The code object of a frame.
    pub frame_code: u32,
    /// Its caller.
    pub frame_previous: u32,
    /// The instruction it is at.
    pub frame_instruction: u32,
    /// The byte that says who owns the frame with [`SHIMS`], or whether it is an entry frame with [`ENTRY_FRAMES`].
    pub frame_owner: u32,
    /// The type of an object.
    pub object_type: u32,
    /// `PyCodeObject.co_firstlineno`.
    pub code_first_line: u32,
    /// `PyCodeObject.co_name`.
    pub code_name: u32,
    /// `PyCodeObject.co_filename`.
    pub code_filename: u32,
    /// `PyCodeObject.co_linetable` or `co_lnotab`.
    pub code_lines: u32,
}

impl Interpreter {
    /// The address of the lock that a thread needs to run in the interpreter of one of its states.
    #[inline(always)]
    pub fn lock_address(&self, thread: u64, memory: &mut impl Memory) -> Option<u64> {
        if !self.has(LOCK_IN_INTERPRETER) {
            return Some(self.lock);
        }
        let interpreter = memory.read_word(thread.wrapping_add(THREAD_INTERPRETER))?;
        memory.read_word(interpreter.wrapping_add(self.lock))
    }

    /// Whether a thread's state leads to a `CFrame`, which lies on the stack of the thread that runs (3.10 to 3.12).
    #[inline(always)]
    pub fn has_cframes(&self) -> bool {
        self.flags & (CFRAME_MARKERS | FRAME_IN_CFRAME) != 0
    }

    /// Whether each activation of the loop has something on the C stack that marks it.
    #[inline(always)]
    pub fn has_markers(&self) -> bool {
        self.flags & (CFRAME_MARKERS | SHIMS) != 0
    }

    /// Whether the thread with this state is collecting garbage: who held the lock around the interpreter last, while that is
    /// being done, does it, or runs a finalizer, or goes on while a finalizer has given the lock away.
    #[inline(always)]
    pub fn collects(&self, thread: u64, lock: u64, memory: &mut impl Memory) -> bool {
        if self.collecting == 0 || lock == 0 {
            return false;
        }
        let base = if self.has(COLLECTING_IN_INTERPRETER) {
            memory.read_word(thread.wrapping_add(THREAD_INTERPRETER)).unwrap_or_default()
        } else {
            0
        };
        let collecting = memory.read_word(base.wrapping_add(self.collecting)).unwrap_or_default();
        collecting as u32 != 0 && memory.read_word(lock.wrapping_add(LOCK_HOLDER)) == Some(thread)
    }

    /// Whether a flag is set.
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// What tells a code object from another that comes to lie at the same address, from the words it begins with.
    #[inline(always)]
    pub fn fingerprint(&self, code: &[u64; CODE_WORDS]) -> u64 {
        let first_line = u64::from(half(code, self.code_first_line));
        [self.code_name, self.code_filename, self.code_lines].iter().fold(first_line, |sum, field| {
            (sum ^ word(code, *field)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        })
    }
}

/// Room for the words of a code object: a power of two, so that a masked index is in bounds.
pub const CODE_WORDS: usize = 32;

/// The word at a byte offset, which is a multiple of eight.
#[inline(always)]
pub fn word<const N: usize>(words: &[u64; N], offset: u32) -> u64 {
    words[core::hint::black_box(offset / 8) as usize & (N - 1)]
}

/// The four bytes at a byte offset, which is a multiple of four.
#[inline(always)]
pub fn half<const N: usize>(words: &[u64; N], offset: u32) -> u32 {
    (word(words, offset) >> (offset % 8 * 8)) as u32
}

/// The byte at a byte offset.
#[inline(always)]
pub fn byte<const N: usize>(words: &[u64; N], offset: u32) -> u8 {
    (word(words, offset) >> (offset % 8 * 8)) as u8
}
