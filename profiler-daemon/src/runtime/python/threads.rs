//! The Python frames of all threads of a process, walked from outside.
//!
//! The steps are those of the kernel half. The threads run on meanwhile, so a stack may be torn; one of a thread that
//! waits is not.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use profiler_common::python::thread::{Search, Sought};
use profiler_common::python::walk::Walk;
use profiler_common::python::{ENTRY_WORDS, stop};

use super::detect::Python;
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The Python part of a thread's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadFrames {
    /// The thread's state.
    pub state: u64,
    /// Its thread pointer, which identifies it within the process.
    pub thread_pointer: u64,
    /// Its id as the process itself sees it; not known before 3.11.
    pub native_id: Option<u32>,
    /// Frames and markers, innermost first, as the kernel half records them.
    pub entries: Vec<[u64; ENTRY_WORDS]>,
    /// Why the walk ended: one of [`stop`].
    pub stop: u8,
}

/// The frames of every thread, subinterpreters' included; not of further ones once there are more entries than the limit.
pub fn read_threads(python: &Python, memory: &ProcessMemory<'_>) -> Vec<ThreadFrames> {
    let mut threads = Vec::new();
    let mut entries = 0;
    for state in list_states(python, memory, Instant::now() + LIST_TIME) {
        let Some(thread) = read_thread(state, python, memory) else { continue };
        entries += thread.entries.len();
        threads.push(thread);
        if entries > limits::PYTHON_ENTRIES {
            break;
        }
    }
    threads
}

/// How long the states of all threads are looked for.
const LIST_TIME: Duration = Duration::from_secs(1);

/// The states of all threads, as far as there is time.
fn list_states(python: &Python, memory: &ProcessMemory<'_>, until: Instant) -> Vec<u64> {
    /// No thread has these, so that the search goes on to the end.
    const NOBODY: Sought = Sought { thread_pointer: u64::MAX, stack_pointer: u64::MAX };
    let mut memory = memory;
    let mut seen = HashSet::new();
    let mut states = Vec::new();
    let Some(mut search) = Search::start(&python.interpreter, &mut memory) else { return states };
    for _ in 0..limits::PYTHON_THREADS {
        if Instant::now() >= until || search.thread != 0 && !seen.insert(search.thread) {
            break;
        }
        states.extend(Some(search.thread).filter(|thread| *thread != 0));
        if search.step(&NOBODY, &python.interpreter, &mut memory) != stop::GOES_ON {
            break;
        }
    }
    states
}

/// The frames of some threads, told by their thread pointers, or of all, as far as there is time. Of a thread with states in several
/// interpreters all, the innermost first; before 3.13 only those of the oldest, for others may be run by another thread.
pub(super) fn read_wanted(
    wanted: Option<&HashSet<u64>>,
    python: &Python,
    memory: &ProcessMemory<'_>,
    until: Instant,
) -> Vec<ThreadFrames> {
    let is_told = python.interpreter.has_markers() && !python.interpreter.has_cframes();
    let mut threads: Vec<ThreadFrames> = Vec::new();
    for state in list_states(python, memory, until) {
        if Instant::now() >= until {
            break;
        }
        let pointer = memory.read_field(state, python.interpreter.thread_id);
        let is_wanted = |pointer: &u64| wanted.is_none_or(|wanted| wanted.contains(pointer));
        let Some(pointer) = pointer.filter(is_wanted) else { continue };
        let Some(thread) = read_thread(state, python, memory).filter(|thread| !thread.entries.is_empty()) else {
            continue;
        };
        if !is_told {
            threads.retain(|newer| newer.thread_pointer != pointer);
        }
        threads.push(thread);
    }
    threads.sort_by_key(ThreadFrames::first_marker);
    threads
}

impl ThreadFrames {
    /// The address that marks the innermost activation of the loop. Stacks grow downwards.
    fn first_marker(&self) -> u64 {
        self.entries.iter().find(|[code, ..]| *code == 0).map_or(u64::MAX, |[_, marker, _]| *marker)
    }
}

/// `None` if the state is gone.
fn read_thread(state: u64, python: &Python, memory: &ProcessMemory<'_>) -> Option<ThreadFrames> {
    let thread_pointer = memory.read_field(state, python.interpreter.thread_id)?;
    let native_id = python.layout.native_thread_id.and_then(|field| memory.read_field(state, field));
    let (entries, stop) = read_frames(state, python, memory);
    let native_id = native_id.and_then(|id| u32::try_from(id).ok());
    Some(ThreadFrames { state, thread_pointer, native_id, entries, stop })
}

fn read_frames(state: u64, python: &Python, memory: &ProcessMemory<'_>) -> (Vec<[u64; ENTRY_WORDS]>, u8) {
    let mut memory = memory;
    let mut walk = Walk::EMPTY;
    let mut entries = Vec::new();
    let mut stop = walk.start(state, &python.interpreter, &mut memory);
    for _ in 0..limits::PYTHON_FRAMES {
        if stop != stop::GOES_ON {
            return (entries, stop);
        }
        let step = walk.step(&python.interpreter, &mut memory);
        if step.entry[..2] != [0, 0] {
            entries.push(step.entry);
        }
        if step.marker != 0 {
            entries.push([0, step.marker, 0]);
        }
        stop = step.stop;
    }
    (entries, stop::DEPTH)
}
