//! The Python part of a stack: finds the thread's state in the interpreter and follows its frames, over several programs.

use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use profiler_common::limits::{
    ASYNCIO_STEPS_PER_PROGRAM, INTERPRETERS as MOST_INTERPRETERS, PYTHON_ENTRIES, PYTHON_FRAMES_PER_PROGRAM,
    PYTHON_PROGRAMS, PYTHON_THREADS_PER_PROGRAM,
};
use profiler_common::python::asyncio::{Asyncio, Awaiting, Step, TASK_ENTRIES, TASK_WORDS};
use profiler_common::python::interpreter::{ASYNCIO as HAS_ASYNCIO, Interpreter, LOCK_BYTES, LOCK_HOLDER};
use profiler_common::python::thread::{Search, Sought, innermost_frame, is_state_of};
use profiler_common::python::{ENTRY_WORDS, NEXT_STATE, stop, walk};

use crate::memory::{self, User};
use crate::task::Task;
use crate::threads::Thread;
use crate::user_stack::ROOM_WORDS;

/// The interpreter of each space that has one. Preallocated: before Linux 6.1, programs of perf events may use no other hash.
#[map]
static INTERPRETERS: HashMap<u32, Interpreter> = HashMap::with_max_entries(MOST_INTERPRETERS, 0);

/// Where asyncio keeps its tasks, for each space whose interpreter says that it is known.
#[map]
static ASYNCIO: HashMap<u32, Asyncio> = HashMap::with_max_entries(MOST_INTERPRETERS, 0);

/// Whether a space has an interpreter.
#[inline(always)]
pub fn is_in(space: u32) -> bool {
    // SAFETY: nothing is read but the presence.
    unsafe { INTERPRETERS.get(space) }.is_some()
}

/// What is remembered of a thread's state in an interpreter.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PythonThread {
    /// The state, or zero.
    pub state: u64,
    /// The lock around the interpreter, or zero.
    lock: u64,
    /// The state of the thread that held that lock when this one began to wait for it.
    pub lock_holder: u64,
}

impl PythonThread {
    /// Nothing.
    pub const UNKNOWN: Self = Self { state: 0, lock: 0, lock_holder: 0 };

    /// Whether a futex of the current task is part of the lock around its interpreter. If so, notes who holds it.
    #[inline(always)]
    pub fn waits_for_lock(&mut self, futex: u64) -> bool {
        if self.lock == 0 || futex.wrapping_sub(self.lock) >= LOCK_BYTES {
            return false;
        }
        self.lock_holder = memory::user_word(self.lock.wrapping_add(LOCK_HOLDER)).unwrap_or_default();
        true
    }
}

/// States of the thread are being searched for.
const SEARCHING: u32 = 0;
/// The frames of one are being followed.
const WALKING: u32 = 1;

/// How far a walk has come.
#[repr(C)]
pub struct PythonWalk {
    interpreter: Interpreter,
    search: Search,
    walk: walk::Walk,
    sought: Sought,
    /// The thread's state whose frames are innermost, or zero.
    pub state: u64,
    /// The lowest marker so far, which is one of that state.
    lowest_marker: u64,
    asyncio: Asyncio,
    awaiting: Awaiting,
    /// The frame of the coroutine that the running task was made of; zero if there is none.
    task_frame: u64,
    space: u32,
    /// Entries up to that frame; zero until it is met.
    pub task_entries: u32,
    /// Why the walk of awaiting tasks ended: one of [`stop`].
    pub await_stop: u32,
    /// Where entries begin.
    begin: u32,
    phase: u32,
    /// Programs that took part.
    programs: u32,
    /// Entries recorded.
    pub entries: u32,
    /// Why it ended: one of [`stop`].
    pub stop: u32,
}

impl PythonWalk {
    /// No walk.
    #[inline(always)]
    pub fn skip(&mut self) {
        self.entries = 0;
        self.state = 0;
        self.stop = u32::from(stop::NONE);
        self.task_frame = 0;
        self.task_entries = 0;
        self.await_stop = u32::from(stop::NONE);
    }

    /// Whether a state of the thread was found.
    #[inline(always)]
    pub fn has_found(&self) -> bool {
        self.state != 0
    }

    /// Prepares a walk of the current task's frames, whose entries go to the words from `begin` on. Returns whether there is
    /// one to be done.
    #[inline(always)]
    pub fn start(&mut self, space: u32, begin: u32, stack_pointer: u64) -> bool {
        // SAFETY: the entry is copied at once; one that changes meanwhile belongs to a space nobody has.
        let Some(interpreter) = (unsafe { INTERPRETERS.get(space) }) else { return false };
        self.interpreter = *interpreter;
        self.space = space;
        self.begin = begin;
        self.programs = 0;
        self.phase = SEARCHING;
        self.lowest_marker = u64::MAX;
        self.sought = Sought { thread_pointer: Task::current().thread_pointer(), stack_pointer };
        true
    }

    /// Ends here, because no further program goes on.
    #[inline(always)]
    pub fn give_up(&mut self) {
        self.stop = u32::from(if self.phase == WALKING { stop::DEPTH } else { stop::TOO_MANY_THREADS });
    }

    /// Goes on. Returns whether another program is to go on after this one.
    #[inline(always)]
    pub fn advance(&mut self, thread: &mut Thread, words: &mut [u64; ROOM_WORDS]) -> bool {
        if self.programs == 0 {
            self.begin_search(thread);
        }
        let reason = if self.phase == SEARCHING { self.search() } else { self.follow(words) };
        self.programs += 1;
        if reason == stop::GOES_ON && self.programs < PYTHON_PROGRAMS {
            return true;
        }
        if reason == stop::GOES_ON {
            self.give_up();
        } else {
            self.stop = u32::from(reason);
        }
        self.remember(thread);
        false
    }

    /// The state remembered is believed if it is the only one there may be, and still says that it is this thread's.
    #[inline(always)]
    fn begin_search(&mut self, thread: &Thread) {
        self.search = Search::start(&self.interpreter, &mut User).unwrap_or_default();
        let known = thread.python.state;
        if known != 0
            && !self.search.has_several()
            && is_state_of(known, self.sought.thread_pointer, &self.interpreter, &mut User)
            && innermost_frame(known, &self.interpreter, &mut User).is_some_and(|frame| frame != 0)
        {
            self.search = Search::at(known);
        }
    }

    /// Looks at some threads. Goes on with another program, also if a state was found.
    #[inline(always)]
    fn search(&mut self) -> u8 {
        for _ in 0..PYTHON_THREADS_PER_PROGRAM {
            match self.search.step(&self.sought, &self.interpreter, &mut User) {
                stop::GOES_ON => {}
                stop::COMPLETE => return self.begin_walk(),
                stop::NO_STATE if self.has_found() => return stop::COMPLETE,
                reason => return reason,
            }
        }
        stop::GOES_ON
    }

    #[inline(always)]
    fn begin_walk(&mut self) -> u8 {
        if !self.has_found() {
            self.state = self.search.thread;
        }
        self.phase = WALKING;
        // Of several states, a task would have to be told which it runs in.
        if self.interpreter.has(HAS_ASYNCIO) && !self.search.has_several() {
            self.find_task();
        }
        self.walk.start(self.search.thread, &self.interpreter, &mut User)
    }

    /// Looks which task of asyncio the thread runs.
    #[inline(always)]
    fn find_task(&mut self) {
        // SAFETY: as with the interpreter.
        let Some(asyncio) = (unsafe { ASYNCIO.get(self.space) }) else { return };
        self.asyncio = *asyncio;
        self.task_frame = self.awaiting.start(self.search.thread, &self.interpreter, &self.asyncio, &mut User);
    }

    /// Whether the thread is collecting garbage.
    #[inline(always)]
    pub fn collects(&self, thread: &Thread) -> bool {
        self.has_found() && self.interpreter.collects(self.state, thread.python.lock, &mut User)
    }

    /// Whether the thread runs a task of asyncio whose frames are all there, so that those of tasks that await it may follow.
    #[inline(always)]
    pub fn has_task(&self) -> bool {
        self.task_frame != 0 && (self.task_entries != 0 || self.stop == u32::from(stop::COMPLETE))
    }

    /// Whether it runs one whose frames are not all there.
    #[inline(always)]
    pub fn lacks_task(&self) -> bool {
        self.task_frame != 0 && !self.has_task()
    }

    /// Goes on with the tasks that await the running one. Returns whether another program is to go on after this one.
    #[inline(always)]
    pub fn advance_awaiting(&mut self, words: &mut [u64; ROOM_WORDS]) -> bool {
        for _ in 0..ASYNCIO_STEPS_PER_PROGRAM {
            let fits = match self.awaiting.step(&self.interpreter, &self.asyncio, &mut User) {
                Step::GoesOn => true,
                Step::Task => self.record_task(words),
                Step::Frame(entry) => self.record(words, entry),
                Step::End(reason) => {
                    self.await_stop = u32::from(reason);
                    return false;
                }
            };
            if !fits {
                self.give_up_awaiting();
                return false;
            }
        }
        self.programs += 1;
        if self.programs < PYTHON_PROGRAMS {
            return true;
        }
        self.give_up_awaiting();
        false
    }

    /// Ends here, because no further program goes on, or because there is no more room.
    #[inline(always)]
    pub fn give_up_awaiting(&mut self) {
        self.await_stop = u32::from(stop::DEPTH);
    }

    /// Returns whether there was room.
    #[inline(always)]
    fn record_task(&mut self, words: &mut [u64; ROOM_WORDS]) -> bool {
        if self.entries + TASK_ENTRIES as u32 > PYTHON_ENTRIES as u32 {
            return false;
        }
        let at = self.begin + self.entries * ENTRY_WORDS as u32;
        for number in 0..TASK_WORDS {
            words[core::hint::black_box(at + number as u32) as usize & (ROOM_WORDS - 1)] = self.awaiting.name[number];
        }
        self.entries += TASK_ENTRIES as u32;
        true
    }

    /// Follows some frames. Behind the last of a state, the search goes on if there may be further states.
    #[inline(always)]
    fn follow(&mut self, words: &mut [u64; ROOM_WORDS]) -> u8 {
        for _ in 0..PYTHON_FRAMES_PER_PROGRAM {
            let frame = self.walk.frame();
            let step = self.walk.step(&self.interpreter, &mut User);
            if step.stop == stop::COMPLETE && self.search.has_several() {
                self.phase = SEARCHING;
                self.record(words, NEXT_STATE);
                return self.search.pass(&self.interpreter, &mut User);
            }
            if step.stop != stop::GOES_ON {
                return step.stop;
            }
            if step.entry[0] != 0 && !self.record(words, step.entry) {
                return stop::DEPTH;
            }
            if frame == self.task_frame {
                self.task_entries = self.entries;
            }
            if step.marker != 0 && !self.record_marker(words, step.marker) {
                return stop::DEPTH;
            }
        }
        stop::GOES_ON
    }

    /// Returns whether there was room. Stacks grow downwards: the state with the lowest marker is the innermost.
    #[inline(always)]
    fn record_marker(&mut self, words: &mut [u64; ROOM_WORDS], marker: u64) -> bool {
        if marker < self.lowest_marker {
            self.lowest_marker = marker;
            self.state = self.search.thread;
        }
        self.record(words, [0, marker, 0])
    }

    /// Keeps what was found for the thread's next stacks and waits.
    #[inline(always)]
    fn remember(&self, thread: &mut Thread) {
        if !self.has_found() {
            return;
        }
        // A state may come to lie where that of another interpreter was.
        let is_same = thread.python.state == self.state && !self.search.has_several();
        thread.python.state = self.state;
        if !is_same || thread.python.lock == 0 {
            thread.python.lock = self.interpreter.lock_address(self.state, &mut User).unwrap_or_default();
        }
    }

    /// Returns whether there was room.
    #[inline(always)]
    fn record(&mut self, words: &mut [u64; ROOM_WORDS], entry: [u64; ENTRY_WORDS]) -> bool {
        if self.entries >= PYTHON_ENTRIES as u32 {
            return false;
        }
        let at = self.begin + self.entries * ENTRY_WORDS as u32;
        for (number, word) in entry.into_iter().enumerate() {
            words[core::hint::black_box(at + number as u32) as usize & (ROOM_WORDS - 1)] = word;
        }
        self.entries += 1;
        true
    }
}
