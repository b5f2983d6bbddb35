//! Following the frames of one thread, innermost first.

use super::interpreter::{
    CFRAME_MARKERS, CODE_BYTES, CODE_WORDS, ENTRY_FRAMES, FRAME_BYTES, INSTRUCTION_INDEX, Interpreter, SHIM_OWNER,
    SHIMS, byte, half, word,
};
use super::thread::innermost_frame;
use super::{ENTRY_WORDS, stop};
use crate::memory::Memory;

/// Bits of a pointer to an object that are a tag (3.14 on).
const TAG: u64 = 3;

/// Where a walk has come, and room to read to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// The frame to look at next.
    frame: u64,
    /// The `CFrame` of its activation of the loop, with [`CFRAME_MARKERS`].
    cframe: u64,
    /// The thread's state.
    thread: u64,
    /// Frames recorded.
    frames: u64,
    frame_words: [u64; FRAME_BYTES as usize / 8],
    code_words: [u64; CODE_WORDS],
}

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// An entry to record, if its first two words are not both zero.
    pub entry: [u64; ENTRY_WORDS],
    /// The address of a marker to record behind it, or zero.
    pub marker: u64,
    /// Why the walk ends here, or [`stop::GOES_ON`].
    pub stop: u8,
}

impl Step {
    #[inline(always)]
    fn end(stop: u8) -> Self {
        Self { entry: [0; ENTRY_WORDS], marker: 0, stop }
    }
}

impl Walk {
    /// A walk of nothing.
    pub const EMPTY: Self = Self {
        frame: 0,
        cframe: 0,
        thread: 0,
        frames: 0,
        frame_words: [0; FRAME_BYTES as usize / 8],
        code_words: [0; CODE_WORDS],
    };

    /// Starts at the innermost frame of a thread's state. Returns a reason if it cannot be read.
    #[inline(always)]
    pub fn start(&mut self, thread: u64, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        self.thread = thread;
        self.frames = 0;
        self.cframe = 0;
        let Some(frame) = innermost_frame(thread, interpreter, memory) else { return stop::UNREADABLE };
        self.frame = frame;
        if interpreter.has(CFRAME_MARKERS) {
            let cframe = memory.read_word(thread.wrapping_add(u64::from(interpreter.thread_cframe)));
            self.cframe = cframe.unwrap_or_default();
        }
        stop::GOES_ON
    }

    /// The address of the frame to look at next.
    #[inline(always)]
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// Looks at one frame.
    #[inline(always)]
    pub fn step(&mut self, interpreter: &Interpreter, memory: &mut impl Memory) -> Step {
        if self.frame == 0 {
            return Step::end(stop::COMPLETE);
        }
        if !memory.read_words(self.frame, interpreter.frame_bytes, &mut self.frame_words) {
            return Step::end(stop::UNREADABLE);
        }
        let at = self.frame;
        let previous = word(&self.frame_words, interpreter.frame_previous);
        if interpreter.has(SHIMS) && byte(&self.frame_words, interpreter.frame_owner) >= SHIM_OWNER {
            return self.pass_shim(at, previous, interpreter);
        }
        let code = word(&self.frame_words, interpreter.frame_code) & !TAG;
        if !memory.read_words(code, CODE_BYTES, &mut self.code_words) {
            return self.pass_unknown(previous, stop::UNREADABLE);
        }
        if word(&self.code_words, interpreter.object_type) != interpreter.code_type {
            return self.pass_unknown(previous, stop::NOT_A_FRAME);
        }
        self.frame = previous;
        self.frames += 1;
        let entry = [code, self.instruction(interpreter), interpreter.fingerprint(&self.code_words)];
        Step { entry, marker: self.end_activation(interpreter, memory), stop: stop::GOES_ON }
    }

    #[inline(always)]
    fn instruction(&self, interpreter: &Interpreter) -> u64 {
        if interpreter.has(INSTRUCTION_INDEX) {
            u64::from(half(&self.frame_words, interpreter.frame_instruction))
        } else {
            word(&self.frame_words, interpreter.frame_instruction)
        }
    }

    /// A shim ends the frames of its activation. The one in the thread's state ends the stack.
    #[inline(always)]
    fn pass_shim(&mut self, at: u64, previous: u64, interpreter: &Interpreter) -> Step {
        if self.is_in_state(at, interpreter) {
            return Step::end(stop::COMPLETE);
        }
        self.frame = previous;
        Step { entry: [0; ENTRY_WORDS], marker: at, stop: stop::GOES_ON }
    }

    /// The innermost frame may be just pushed or popped: it is left out. Any other one ends the walk.
    #[inline(always)]
    fn pass_unknown(&mut self, previous: u64, reason: u8) -> Step {
        if self.frames > 0 || previous == 0 || previous == self.frame {
            return Step::end(reason);
        }
        self.frames = 1;
        self.frame = previous;
        Step::end(stop::GOES_ON)
    }

    /// The address of the `CFrame` whose activation ends with the frame just read, or zero.
    #[inline(always)]
    fn end_activation(&mut self, interpreter: &Interpreter, memory: &mut impl Memory) -> u64 {
        if !interpreter.has(CFRAME_MARKERS) || self.cframe == 0 {
            return 0;
        }
        if interpreter.has(ENTRY_FRAMES) && byte(&self.frame_words, interpreter.frame_owner) == 0 {
            return 0;
        }
        let cframe = self.cframe;
        if self.is_in_state(cframe, interpreter) {
            self.cframe = 0;
            return 0;
        }
        self.cframe = memory.read_word(cframe.wrapping_add(u64::from(interpreter.cframe_previous))).unwrap_or_default();
        cframe
    }

    #[inline(always)]
    fn is_in_state(&self, address: u64, interpreter: &Interpreter) -> bool {
        address.wrapping_sub(self.thread) < u64::from(interpreter.thread_bytes)
    }
}
