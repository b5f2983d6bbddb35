//! The suspended tasks of an asyncio event loop, read from outside while its thread sleeps (3.14 on): where each awaits
//! something, and which tasks await it in turn.
//!
//! Each thread keeps a list of the tasks it made. A task that others await leads to these, so those that nobody is behind are the
//! *pending* ones: what they await is no task. What is read may be torn if the thread runs meanwhile; whoever asks must look
//! whether it did. Nothing that is read is believed: every list is bounded, and a link must be answered by its back link.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use profiler_common::python::asyncio::{Asyncio, NAME_BYTES};
use profiler_common::python::interpreter::{CODE_BYTES, CODE_WORDS, Interpreter};

use crate::process::elf::{u32_at, u64_at};
use crate::profile::asyncio::NAME_WORDS;
use crate::profile::{AsyncEntry, AsyncName, AsyncTask, PythonFrame};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// Where one build of asyncio keeps its tasks, as far as only a look from outside needs it; offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLists {
    /// What walks of the kernel half need as well.
    pub tasks: Asyncio,
    /// The running loop, in the state of a thread.
    pub thread_loop: u32,
    /// The list of its tasks, in the same: a pointer to the next node and one to the node before.
    pub thread_tasks: u32,
    /// A task's node of that list.
    pub task_node: u32,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PendingTasks {
    /// How many tasks the thread has.
    pub tasks: usize,
    /// How many of them are pending.
    pub pending: usize,
    /// Where the pending ones await, leaf first: the coroutines of the task, the task, and those that await it. Where there
    /// are too many, a sample of them, each as likely as any other.
    pub places: Vec<Arc<[AsyncEntry]>>,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// No event loop runs in the thread.
    #[error("no event loop runs in the thread")]
    NoLoop,
    /// The list contradicts itself, or cannot be read: it changed meanwhile.
    #[error("the list of tasks makes no sense")]
    Torn,
    /// There are more tasks than are looked at, or no time for them.
    #[error("there are too many tasks")]
    TooMany,
}

/// Bits of a pointer to an object that are a tag.
const TAG: u64 = 3;
/// The hash of a slot of a set whose key was removed.
const NO_KEY: u64 = u64::MAX;
/// Futures in a row that lead from a task to the one that awaits it, where that is shown.
const FUTURES: usize = 8;

/// Reads the pending tasks of the thread with a state, until there is no more time. `seed` chooses among too many.
pub fn read_pending(
    state: u64,
    lists: &TaskLists,
    python: &Interpreter,
    memory: &ProcessMemory<'_>,
    (until, seed): (Instant, usize),
) -> Result<PendingTasks, Unread> {
    let (codes, awaiting) = (HashMap::new(), HashMap::new());
    let mut look = Look { lists, python, memory, until, codes, awaiting };
    let tasks = look.list(state)?;
    let pending = look.without_awaiting(&tasks)?;
    let places = sample(&pending, seed).map(|task| look.place(task)).collect::<Result<_, _>>()?;
    Ok(PendingTasks { tasks: tasks.len(), pending: pending.len(), places })
}

/// Every so-and-so-many-th of too many.
fn sample<'t>(pending: &'t [&'t Task], seed: usize) -> impl Iterator<Item = &'t Task> {
    let taken = pending.len().min(limits::ASYNCIO_PLACES);
    let first = seed % pending.len().max(1);
    (0..taken).map(move |at| pending[(first + at * pending.len() / taken.max(1)) % pending.len()])
}

/// What is read of a task.
#[derive(Debug, Clone, Copy)]
struct Task {
    address: u64,
    coroutine: u64,
    name: u64,
    awaited_by: Awaiters,
}

/// What awaits a task or a future.
#[derive(Debug, Clone, Copy)]
enum Awaiters {
    Nobody,
    One(u64),
    /// The address of a set.
    Set(u64),
}

struct Look<'a, 'm> {
    lists: &'a TaskLists,
    python: &'a Interpreter,
    memory: &'a ProcessMemory<'m>,
    until: Instant,
    /// The fingerprints of code objects; none of what is no code object.
    codes: HashMap<u64, Option<u64>>,
    /// The entries of tasks that await others, with all that await these.
    awaiting: HashMap<u64, Arc<[AsyncEntry]>>,
}

impl Look<'_, '_> {
    /// The tasks of a thread.
    fn list(&self, state: u64) -> Result<Vec<Task>, Unread> {
        if self.memory.read_field(state, self.lists.thread_loop).ok_or(Unread::Torn)? == 0 {
            return Err(Unread::NoLoop);
        }
        let head = field(state, self.lists.thread_tasks);
        let (mut before, mut node) = (head, self.memory.read_u64(head).ok_or(Unread::Torn)?);
        let mut tasks = Vec::new();
        while node != head {
            if tasks.len() == limits::ASYNCIO_TASKS || tasks.len() % 64 == 0 && Instant::now() >= self.until {
                return Err(Unread::TooMany);
            }
            let (task, next, previous) = self.task_of(node).ok_or(Unread::Torn)?;
            if previous != before {
                return Err(Unread::Torn);
            }
            tasks.push(task);
            (before, node) = (node, next);
        }
        Ok(tasks)
    }

    /// The task with this node, and the nodes after and before it.
    fn task_of(&self, node: u64) -> Option<(Task, u64, u64)> {
        let (known, at) = (&self.lists.tasks, self.lists.task_node as usize);
        let address = node.wrapping_sub(at as u64);
        let bytes = self.memory.read_bytes(address, (at + 16).max(known.task_bytes as usize))?;
        let word = |offset: u32| u64_at(&bytes, offset as usize);
        let is_task = bytes[known.task_is_task as usize] == 1;
        let is_set = bytes[known.task_awaited_by_is_set as usize] == 1;
        let awaited_by = Awaiters::of(word(known.task_awaited_by), is_set);
        let task = Task { address, coroutine: word(known.task_coroutine), name: word(known.task_name), awaited_by };
        is_task.then_some((task, u64_at(&bytes, at), u64_at(&bytes, at + 8)))
    }

    /// The tasks that are behind no other: none of the others is awaited by them.
    fn without_awaiting<'t>(&self, tasks: &'t [Task]) -> Result<Vec<&'t Task>, Unread> {
        let known: HashSet<u64> = tasks.iter().map(|task| task.address).collect();
        let mut awaiting = HashSet::new();
        let mut left: Vec<u64> = Vec::new();
        for task in tasks {
            left.extend(self.addresses(task.awaited_by, limits::ASYNCIO_AWAITERS));
            while let Some(address) = left.pop() {
                if awaiting.len() > 2 * limits::ASYNCIO_TASKS || Instant::now() >= self.until {
                    return Err(Unread::TooMany);
                }
                // A future leads on to what awaits it, once.
                if awaiting.insert(address) && !known.contains(&address) {
                    left.extend(self.addresses(self.awaiters_of(address), limits::ASYNCIO_AWAITERS));
                }
            }
        }
        Ok(tasks.iter().filter(|task| !awaiting.contains(&task.address)).collect())
    }

    fn awaiters_of(&self, future: u64) -> Awaiters {
        let known = &self.lists.tasks;
        let is_set = self.memory.read_u8(field(future, known.task_awaited_by_is_set)) == Some(1);
        Awaiters::of(self.memory.read_field(future, known.task_awaited_by).unwrap_or_default(), is_set)
    }

    /// Where these are, up to so many.
    fn addresses(&self, awaiters: Awaiters, most: usize) -> Vec<u64> {
        match awaiters {
            Awaiters::Nobody => Vec::new(),
            Awaiters::One(address) => vec![address],
            Awaiters::Set(set) => self.keys(set, most).unwrap_or_default(),
        }
    }

    fn keys(&self, set: u64, most: usize) -> Option<Vec<u64>> {
        let known = &self.lists.tasks;
        let last = self.memory.read_field(set, known.set_mask)?;
        let slots = usize::try_from(last).ok()?.saturating_add(1).min(limits::ASYNCIO_AWAITERS);
        let bytes = self.memory.read_bytes(self.memory.read_field(set, known.set_table)?, slots * 16)?;
        let slots = bytes.chunks_exact(16).map(|slot| (u64_at(slot, 0), u64_at(slot, 8)));
        Some(slots.filter(|(key, hash)| *key != 0 && *hash != NO_KEY).map(|(key, _)| key).take(most).collect())
    }

    /// Where a task awaits something, and what awaits it.
    fn place(&mut self, task: &Task) -> Result<Arc<[AsyncEntry]>, Unread> {
        if Instant::now() >= self.until {
            return Err(Unread::TooMany);
        }
        let mut entries = self.entries_of(task);
        entries.extend(self.behind(task.awaited_by, 0).iter().copied());
        Ok(entries.into())
    }

    /// The coroutines of a task, the innermost first, and the task.
    fn entries_of(&mut self, task: &Task) -> Vec<AsyncEntry> {
        let mut entries = Vec::new();
        let mut coroutine = task.coroutine;
        while entries.len() < limits::ASYNCIO_COROUTINES
            && let Some((frame, awaited)) = self.coroutine(coroutine)
        {
            entries.push(AsyncEntry::Frame(frame));
            coroutine = awaited;
        }
        entries.reverse();
        let is_shared =
            matches!(task.awaited_by, Awaiters::Set(set) if self.keys(set, 2).is_some_and(|keys| keys.len() > 1));
        entries.push(AsyncEntry::Task(AsyncTask { name: self.name(task.name), is_shared }));
        entries
    }

    /// The entries of the first of these that is a task, and of those that await it.
    fn behind(&mut self, awaiters: Awaiters, depth: usize) -> Arc<[AsyncEntry]> {
        let mut first = self.addresses(awaiters, 1).first().copied();
        for _ in 0..FUTURES {
            let Some(address) = first else { return Arc::default() };
            if let Some(known) = self.awaiting.get(&address) {
                return known.clone();
            }
            if let Some((task, ..)) = self.task_of(field(address, self.lists.task_node)) {
                return self.awaiting_task(&task, depth);
            }
            first = self.addresses(self.awaiters_of(address), 1).first().copied();
        }
        Arc::default()
    }

    fn awaiting_task(&mut self, task: &Task, depth: usize) -> Arc<[AsyncEntry]> {
        let mut entries = self.entries_of(task);
        match depth < limits::ASYNCIO_AWAITING {
            true => entries.extend(self.behind(task.awaited_by, depth + 1).iter().copied()),
            false => entries.push(AsyncEntry::Cut),
        }
        let entries: Arc<[AsyncEntry]> = entries.into();
        self.awaiting.insert(task.address, entries.clone());
        entries
    }

    /// The frame of a coroutine, and what it awaits. What is awaited at last is no coroutine.
    fn coroutine(&mut self, object: u64) -> Option<(PythonFrame, u64)> {
        let (known, python) = (&self.lists.tasks, self.python);
        let of = self.memory.read_field(object, python.object_type).filter(|_| object != 0)?;
        if of != known.coroutine_type && of != known.generator_type {
            return None;
        }
        let bytes = self.memory.read_bytes(field(object, known.coroutine_frame), python.frame_bytes as usize)?;
        let word = |offset: u32| u64_at(&bytes, offset as usize);
        let code = word(python.frame_code) & !TAG;
        let fingerprint = self.fingerprint(code)?;
        let frame = PythonFrame { code, instruction: word(python.frame_instruction), fingerprint, place: None };
        let state = self.memory.read_u8(field(object, known.coroutine_state)).map(u32::from);
        let at = word(known.frame_stack).wrapping_sub(u64::from(known.frame_awaits));
        let is_awaiting = state == Some(known.coroutine_awaits);
        let awaited = if is_awaiting { self.memory.read_u64(at).unwrap_or_default() & !TAG } else { 0 };
        Some((frame, awaited))
    }

    fn fingerprint(&mut self, code: u64) -> Option<u64> {
        if let Some(known) = self.codes.get(&code) {
            return *known;
        }
        let mut words = [0; CODE_WORDS];
        let read = self.memory.read(code, &mut bytemuck::cast_slice_mut(&mut words)[..CODE_BYTES as usize]);
        let is_code = read.is_some() && words[self.python.object_type as usize / 8] == self.python.code_type;
        let fingerprint = is_code.then(|| self.python.fingerprint(&words));
        self.codes.insert(code, fingerprint);
        fingerprint
    }

    fn name(&self, address: u64) -> AsyncName {
        self.read_name(address).unwrap_or(AsyncName::Unreadable)
    }

    fn read_name(&self, address: u64) -> Option<AsyncName> {
        let known = &self.lists.tasks;
        let of = self.memory.read_field(address, self.python.object_type)?;
        if of == known.number_type {
            let tag = self.memory.read_field(address, known.number_tag)?;
            let digits = self.memory.read_u64(field(address, known.number_tag).wrapping_add(8))?;
            // What lies behind the only digit is not the number's.
            return Some(AsyncName::Number { tag, digits: if tag >> 3 < 2 { digits & 0xffff_ffff } else { digits } });
        }
        let length = self.memory.read_field(address, known.text_length).filter(|_| of == known.text_type)?;
        let mut state = [0; 4];
        self.memory.read(field(address, known.text_state), &mut state)?;
        if u32_at(&state, 0) >> (known.text_ascii_bit & 31) & 1 == 0 {
            return Some(AsyncName::Text { address, length });
        }
        let mut characters = [0; NAME_WORDS];
        let bytes = length.min(NAME_BYTES) as usize;
        self.memory.read(field(address, known.text_data), &mut bytemuck::cast_slice_mut(&mut characters)[..bytes])?;
        Some(AsyncName::Ascii { address, length, characters })
    }
}

impl Awaiters {
    fn of(address: u64, is_set: bool) -> Self {
        match (address, is_set) {
            (0, _) => Self::Nobody,
            (set, true) => Self::Set(set),
            (one, false) => Self::One(one),
        }
    }
}

fn field(object: u64, offset: u32) -> u64 {
    object.wrapping_add(u64::from(offset))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    const BASE: u64 = 0x10_0000;
    const STATE: u64 = BASE + 0x100;
    const HEAD: u64 = STATE + 880;
    const CODE: u64 = BASE + 0x800;
    const CODE_TYPE: u64 = 0xc0de;
    const COROUTINE_TYPE: u64 = 0xc0c0;
    const NUMBER_TYPE: u64 = 0x4040;
    const TEXT_TYPE: u64 = 0x7e47;
    /// In the bytes behind the one at 104: a task; one that a set awaits.
    const IS_TASK: u64 = 1 << 32;
    const BY_SET: u64 = 1 << 40;

    /// As in 3.14.
    fn lists() -> TaskLists {
        let tasks = Asyncio {
            text_type: TEXT_TYPE,
            number_type: NUMBER_TYPE,
            coroutine_type: COROUTINE_TYPE,
            generator_type: 0x9e9e,
            thread_task: 872,
            task_bytes: 144,
            task_name: 136,
            task_awaited_by: 96,
            task_is_task: 108,
            task_awaited_by_is_set: 109,
            task_coroutine: 128,
            coroutine_frame: 72,
            coroutine_state: 67,
            coroutine_awaits: 0xff,
            frame_stack: 64,
            frame_awaits: 8,
            set_used: 24,
            set_mask: 32,
            set_table: 40,
            text_length: 16,
            text_state: 32,
            text_ascii_bit: 6,
            text_data: 40,
            number_tag: 16,
        };
        TaskLists { tasks, thread_loop: 864, thread_tasks: 880, task_node: 152 }
    }

    fn python() -> Interpreter {
        Interpreter {
            frame_bytes: 80,
            frame_instruction: 56,
            object_type: 8,
            code_type: CODE_TYPE,
            ..Interpreter::default()
        }
    }

    /// The memory of a process with a loop.
    struct Memory(Vec<u8>);

    impl Memory {
        fn new() -> Self {
            let mut memory = Self(vec![0; 0x20_0000]);
            memory.put(STATE, &[(864, 1), (880, HEAD), (888, HEAD)]);
            memory.put(CODE, &[(8, CODE_TYPE)]);
            memory
        }

        fn put(&mut self, at: u64, words: &[(u64, u64)]) {
            for (offset, word) in words {
                let at = (at + offset - BASE) as usize;
                self.0[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
        }

        fn word(&self, at: u64) -> u64 {
            u64_at(&self.0, (at - BASE) as usize)
        }

        /// A task at the end of the list, whose coroutines stand at these instructions, the outermost first.
        fn add_task(&mut self, task: u64, number: u64, instructions: &[u64], (awaited_by, is_set): (u64, u64)) {
            let (last, node, name) = (self.word(HEAD + 8), task + 152, task + 0x100);
            self.put(last, &[(0, node)]);
            self.put(HEAD, &[(8, node)]);
            self.put(node, &[(0, HEAD), (8, last)]);
            self.put(name, &[(8, NUMBER_TYPE), (16, 8), (24, 0xdead_0000_0000 | number)]);
            self.put(task, &[(96, awaited_by), (104, IS_TASK | is_set), (128, task + 0x200), (136, name)]);
            for (at, instruction) in (1..).zip(instructions) {
                let (coroutine, stack) = (task + 0x200 * at, task + 0x200 * at + 0x100);
                self.put(coroutine, &[(8, COROUTINE_TYPE), (64, 0xff << 24), (72, CODE | 1), (128, *instruction)]);
                self.put(coroutine, &[(136, stack + 8)]);
                self.put(stack, &[(0, (task + 0x200 * (at + 1)) | 1)]);
            }
        }

        fn read(&self) -> Result<PendingTasks, Unread> {
            let world = FixtureWorld::default();
            let memory = [(BASE, self.0.clone())].into();
            world.insert(7, FixtureProcess { memory, ..FixtureProcess::default() });
            let until = Instant::now() + Duration::from_secs(60);
            read_pending(STATE, &lists(), &python(), &ProcessMemory::new(7, &world), (until, 5))
        }
    }

    /// Instructions and names, leaf first.
    fn shown(places: &[Arc<[AsyncEntry]>]) -> Vec<Vec<String>> {
        let show = |entry: &AsyncEntry| match entry {
            AsyncEntry::Frame(frame) => frame.instruction.to_string(),
            AsyncEntry::Task(task) => {
                format!("{}{}", task.name.text().unwrap_or_default(), if task.is_shared { "+" } else { "" })
            }
            AsyncEntry::Cut => "cut".to_owned(),
        };
        places.iter().map(|place| place.iter().map(show).collect()).collect()
    }

    const fn task(number: u64) -> u64 {
        BASE + 0x1_0000 + number * 0x1000
    }

    #[test]
    fn tasks_that_await_others_are_behind_these_also_through_futures_and_sets() {
        let (future, set, table) = (BASE + 0x2000, BASE + 0x3000, BASE + 0x3100);
        let mut memory = Memory::new();
        memory.add_task(task(1), 1, &[10], (0, 0));
        memory.add_task(task(2), 2, &[20, 21], (future, 0));
        memory.add_task(task(3), 3, &[30], (set, BY_SET));
        memory.add_task(task(4), 4, &[40], (0, 0));
        memory.put(future, &[(96, task(1))]);
        memory.put(set, &[(24, 2), (32, 7), (40, table)]);
        memory.put(table, &[(0, 5), (8, NO_KEY), (32, task(1)), (40, 1), (48, task(4)), (56, 2)]);
        let found = memory.read().unwrap();
        assert_eq!((found.tasks, found.pending), (4, 2));
        let mut places = shown(&found.places);
        places.sort();
        let expected = [vec!["21", "20", "Task-2", "10", "Task-1"], vec!["30", "Task-3+", "10", "Task-1"]];
        assert_eq!(places, expected);
    }

    #[test]
    fn of_too_many_pending_tasks_a_sample_is_taken() {
        let mut memory = Memory::new();
        for number in 0..300 {
            memory.add_task(task(number), number, &[number], (0, 0));
        }
        let found = memory.read().unwrap();
        assert_eq!((found.tasks, found.pending, found.places.len()), (300, 300, limits::ASYNCIO_PLACES));
        let distinct: HashSet<_> = found.places.iter().collect();
        assert_eq!(distinct.len(), limits::ASYNCIO_PLACES);
    }

    #[test]
    fn a_list_that_leads_nowhere_or_round_in_circles_is_not_believed() {
        let mut memory = Memory::new();
        (1..=3).for_each(|number| memory.add_task(task(number), number, &[1], (0, 0)));
        assert_eq!(memory.read().map(|found| found.pending), Ok(3));
        for (at, word) in [
            (task(2) + 152, task(1) + 152),
            (task(2) + 152, task(2) + 152),
            (task(2) + 152, 8),
            (task(3) + 160, HEAD),
            (task(2) + 104, 0),
            (HEAD, u64::MAX),
        ] {
            let mut damaged = Memory(memory.0.clone());
            damaged.put(at, &[(0, word)]);
            assert_eq!(damaged.read(), Err(Unread::Torn), "{at:x} {word:x}");
        }
        memory.put(STATE, &[(864, 0)]);
        assert_eq!(memory.read(), Err(Unread::NoLoop));
    }

    #[test]
    fn tasks_and_coroutines_that_await_each_other_in_a_circle_end_somewhere() {
        let mut memory = Memory::new();
        memory.add_task(task(1), 1, &[10], (task(2), 0));
        memory.add_task(task(2), 2, &[20], (task(1), 0));
        memory.add_task(task(3), 3, &[30], (task(1), 0));
        memory.put(task(3) + 0x300, &[(0, task(3) + 0x200)]);
        let found = memory.read().unwrap();
        let places = shown(&found.places);
        assert_eq!((found.pending, places.len()), (1, 1));
        assert_eq!(places[0].iter().filter(|shown| *shown == "30").count(), limits::ASYNCIO_COROUTINES);
        assert_eq!(places[0].last().map(String::as_str), Some("cut"));
    }
}
