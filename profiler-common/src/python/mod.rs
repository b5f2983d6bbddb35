//! Walking the Python frames of a thread: pure steps that the kernel half runs, and that tests run on the host.
//!
//! CPython keeps a list of its threads' states, and each state leads to the thread's innermost frame. [`thread`] finds the
//! state of a thread, [`walk`] follows its frames. Both are told by an [`interpreter::Interpreter`] where a version keeps
//! its fields, and read through [`crate::memory::Memory`]: user memory in the kernel, another process's or a recorded one elsewhere.
//!
//! No file of the process is needed, and no symbol but that of `_PyRuntime`. The state is found by the thread's own identity
//! (`thread_id`, which is the thread pointer) and not by the variable for the current thread, which is empty while the
//! thread has released the interpreter's lock: in nearly every wait.

pub mod asyncio;
pub mod interpreter;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod walk;

/// Why a walk of Python frames ended. Numbers are part of the record and never used for anything else.
pub mod stop {
    /// There was no walk: no interpreter is known in the process.
    pub const NONE: u8 = 0;
    /// The outermost frame was reached.
    pub const COMPLETE: u8 = 1;
    /// The thread has no state in the interpreter: it never ran Python.
    pub const NO_STATE: u8 = 2;
    /// There are more frames than the walk records.
    pub const DEPTH: u8 = 3;
    /// Memory of the interpreter could not be read.
    pub const UNREADABLE: u8 = 4;
    /// What should be a frame is none: it was being changed, or the layout is another one.
    pub const NOT_A_FRAME: u8 = 5;
    /// There are more threads than the search looks at.
    pub const TOO_MANY_THREADS: u8 = 6;
    /// Not a reason: the walk goes on.
    pub const GOES_ON: u8 = u8::MAX;
}

/// The words of one entry of a record: `[code, instruction, fingerprint]` of a frame, or `[0, address, 0]` of a *marker*.
///
/// A marker follows the frames that one activation of the interpreter's loop runs. Its address lies in the part of the C
/// stack that belongs to that activation: between the stack pointer of its native frame and that of the native caller.
///
/// Behind these, if the thread runs a task of asyncio: the entries of that task, see [`asyncio::TASK`], and those of the tasks
/// that await it, each followed by its coroutines from the outermost to the innermost.
///
/// Where a thread has states in several interpreters, [`NEXT_STATE`] stands between their frames.
pub const ENTRY_WORDS: usize = 3;

/// The entry behind which the frames of another state of the same thread begin, or nothing.
pub const NEXT_STATE: [u64; ENTRY_WORDS] = [0; ENTRY_WORDS];
