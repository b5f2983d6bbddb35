//! Finding the state of a thread: by the thread pointer, in the lists of all interpreters.

use super::Memory;
use super::interpreter::{FRAME_IN_CFRAME, Interpreter};
use super::stop;

/// Where a search has come.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Search {
    /// The interpreter state whose threads are looked at.
    interpreter: u64,
    /// The thread state to look at next.
    pub thread: u64,
}

impl Search {
    /// A search from the newest interpreter's newest thread on.
    #[inline(always)]
    pub fn start(interpreter: &Interpreter, memory: &mut impl Memory) -> Option<Self> {
        let newest = memory.read_word(interpreter.interpreters)?;
        Some(Self { interpreter: newest, thread: first_thread(newest, interpreter, memory)? })
    }

    /// A search that begins at a state found earlier.
    #[inline(always)]
    pub fn at(thread: u64) -> Self {
        Self { interpreter: 0, thread }
    }

    /// Looks at one thread. [`stop::COMPLETE`] if it is the one, a reason if there is none, else the search goes on.
    ///
    /// A state without frames is passed over: while a thread is being started, its state names the thread that starts it.
    #[inline(always)]
    pub fn step(&mut self, thread_pointer: u64, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        if self.thread == 0 {
            return self.enter_next(interpreter, memory);
        }
        if is_state_of(self.thread, thread_pointer, interpreter, memory)
            && innermost_frame(self.thread, interpreter, memory).is_some_and(|frame| frame != 0)
        {
            return stop::COMPLETE;
        }
        match memory.read_word(self.thread.wrapping_add(u64::from(interpreter.thread_next))) {
            Some(next) => self.thread = next,
            None => return stop::UNREADABLE,
        }
        stop::GOES_ON
    }

    #[inline(always)]
    fn enter_next(&mut self, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        if self.interpreter == 0 {
            return stop::NO_STATE;
        }
        let Some(next) = memory.read_word(self.interpreter.wrapping_add(u64::from(interpreter.interpreter_next)))
        else {
            return stop::UNREADABLE;
        };
        if next == 0 {
            return stop::NO_STATE;
        }
        let Some(thread) = first_thread(next, interpreter, memory) else { return stop::UNREADABLE };
        *self = Self { interpreter: next, thread };
        stop::GOES_ON
    }
}

/// Whether the state is, or still is, that of the thread.
#[inline(always)]
pub fn is_state_of(state: u64, thread_pointer: u64, interpreter: &Interpreter, memory: &mut impl Memory) -> bool {
    memory.read_word(state.wrapping_add(u64::from(interpreter.thread_id))) == Some(thread_pointer)
}

/// The innermost frame of a state; zero if it has none.
#[inline(always)]
pub fn innermost_frame(state: u64, interpreter: &Interpreter, memory: &mut impl Memory) -> Option<u64> {
    let frame = memory.read_word(state.wrapping_add(u64::from(interpreter.thread_frame)))?;
    if !interpreter.has(FRAME_IN_CFRAME) || frame == 0 {
        return Some(frame);
    }
    memory.read_word(frame.wrapping_add(u64::from(interpreter.cframe_frame)))
}

/// Zero if the interpreter, or none, has no thread.
#[inline(always)]
fn first_thread(state: u64, interpreter: &Interpreter, memory: &mut impl Memory) -> Option<u64> {
    if state == 0 {
        return Some(0);
    }
    memory.read_word(state.wrapping_add(u64::from(interpreter.interpreter_threads)))
}
