//! Finding the states of a thread: by the thread pointer, in the lists of all interpreters.
//!
//! A thread has one state, unless there are subinterpreters: then it has one in each that it runs code of, and the frames of all
//! of them together are its stack. States before 3.13 do not name the thread that runs them, but the one that made them: there
//! the thread is told by the address of its innermost `CFrame`, which lies on its stack. 3.8 and 3.9 have nothing on the C stack;
//! of several states that of the oldest interpreter counts, which nobody but its own thread runs.

use super::interpreter::{FRAME_IN_CFRAME, Interpreter};
use super::stop;
use crate::memory::Memory;

/// The thread that a search is for.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sought {
    /// Its thread pointer.
    pub thread_pointer: u64,
    /// Its stack pointer.
    pub stack_pointer: u64,
}

impl Sought {
    /// Whether an address lies on the thread's stack. The thread pointer lies above the stack, but for a process's first thread,
    /// above whose stack there is nothing.
    #[inline(always)]
    fn has_on_stack(&self, address: u64) -> bool {
        address >= self.stack_pointer && (self.thread_pointer <= self.stack_pointer || address < self.thread_pointer)
    }
}

/// Where a search has come.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Search {
    /// The interpreter state whose threads are looked at.
    interpreter: u64,
    /// The thread state to look at next.
    pub thread: u64,
    /// The state of the thread that was met last, where only the last one counts.
    last: u64,
    /// Whether there are several interpreters, in which the thread may have states.
    several: u64,
}

impl Search {
    /// A search from the newest interpreter's newest thread on.
    #[inline(always)]
    pub fn start(interpreter: &Interpreter, memory: &mut impl Memory) -> Option<Self> {
        let newest = memory.read_word(interpreter.interpreters)?;
        // The pointer to the main interpreter, which is the oldest, follows that to the newest.
        let main = memory.read_word(interpreter.interpreters.wrapping_add(8))?;
        let thread = first_thread(newest, interpreter, memory)?;
        Some(Self { interpreter: newest, thread, last: 0, several: u64::from(newest != main) })
    }

    /// A search that ends at a state found earlier.
    #[inline(always)]
    pub fn at(thread: u64) -> Self {
        Self { thread, ..Self::default() }
    }

    /// Whether there may be further states of the same thread.
    #[inline(always)]
    pub fn has_several(&self) -> bool {
        self.several != 0
    }

    /// Looks at one thread. [`stop::COMPLETE`] if it is the one, a reason if there is none, else the search goes on.
    ///
    /// A state without frames is passed over: while a thread is being started, its state names the thread that starts it.
    #[inline(always)]
    pub fn step(&mut self, sought: &Sought, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        if self.thread == 0 {
            return self.enter_next(interpreter, memory);
        }
        if self.is_at(sought, interpreter, memory) {
            if !self.has_several() || interpreter.has_markers() {
                return stop::COMPLETE;
            }
            self.last = self.thread;
        }
        self.pass(interpreter, memory)
    }

    /// Moves on to the next thread.
    #[inline(always)]
    pub fn pass(&mut self, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        match memory.read_word(self.thread.wrapping_add(u64::from(interpreter.thread_next))) {
            Some(next) => self.thread = next,
            None => return stop::UNREADABLE,
        }
        stop::GOES_ON
    }

    #[inline(always)]
    fn is_at(&self, sought: &Sought, interpreter: &Interpreter, memory: &mut impl Memory) -> bool {
        let is_its = if self.has_several() && interpreter.has_cframes() {
            let cframe = memory.read_word(self.thread.wrapping_add(u64::from(interpreter.thread_cframe)));
            cframe.is_some_and(|cframe| sought.has_on_stack(cframe))
        } else {
            is_state_of(self.thread, sought.thread_pointer, interpreter, memory)
        };
        is_its && innermost_frame(self.thread, interpreter, memory).is_some_and(|frame| frame != 0)
    }

    #[inline(always)]
    fn enter_next(&mut self, interpreter: &Interpreter, memory: &mut impl Memory) -> u8 {
        if self.interpreter == 0 {
            return self.end();
        }
        let Some(next) = memory.read_word(self.interpreter.wrapping_add(u64::from(interpreter.interpreter_next)))
        else {
            return stop::UNREADABLE;
        };
        if next == 0 {
            return self.end();
        }
        let Some(thread) = first_thread(next, interpreter, memory) else { return stop::UNREADABLE };
        self.interpreter = next;
        self.thread = thread;
        stop::GOES_ON
    }

    /// There are no more threads.
    #[inline(always)]
    fn end(&mut self) -> u8 {
        if self.last == 0 {
            return stop::NO_STATE;
        }
        *self = Self::at(self.last);
        stop::COMPLETE
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
