//! Following asyncio: which task a thread runs, and which coroutines of other tasks await it (3.14 on).
//!
//! A task that runs has its coroutines among the frames of the thread. A task that awaits it has none on any stack: its
//! coroutines lead from the one it was made of to the innermost, and the task says which task awaits it in turn.

use super::interpreter::{CODE_BYTES, CODE_WORDS, FRAME_BYTES, Interpreter, byte, word};
use super::{ENTRY_WORDS, stop};
use crate::memory::Memory;

/// The first word of the entries that name a task: no code object lies there.
pub const TASK: u64 = 1;
/// The entries that name one task. Words: [`TASK`], the address of its name, a kind of name with [`SEVERAL`]; the name's
/// length, or what says how many digits it has; its digits; the bytes of a text.
pub const TASK_ENTRIES: usize = 4;
/// The words of one task.
pub const TASK_WORDS: usize = TASK_ENTRIES * ENTRY_WORDS;
/// Bytes of a name that are recorded.
pub const NAME_BYTES: u64 = 8 * (TASK_WORDS as u64 - NAME_AT as u64);
/// The word at which they begin.
pub const NAME_AT: usize = 5;

/// A kind of name: it could not be read.
pub const NAME_UNREADABLE: u64 = 0;
/// A text of ASCII characters.
pub const NAME_ASCII: u64 = 1;
/// A text of other characters, which are not recorded.
pub const NAME_TEXT: u64 = 2;
/// A number, for a task nobody gave a name.
pub const NAME_NUMBER: u64 = 3;
/// Added to the kind of name: more than one task, or future, awaits the task.
pub const SEVERAL: u64 = 1 << 8;

/// Bits of a pointer to an object that are a tag.
const TAG: u64 = 3;
/// Slots of a set looked at in one step, each a key and its hash.
const SLOTS: u64 = 8;
/// The hash of a slot whose key was removed.
const NO_KEY: u64 = u64::MAX;
/// The slots of the largest set that is searched.
const MOST_SLOTS: u64 = 256;

/// Where one build of asyncio and its interpreter keep what the walk needs: addresses of types, and offsets in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Asyncio {
    /// `PyUnicode_Type`.
    pub text_type: u64,
    /// `PyLong_Type`.
    pub number_type: u64,
    /// `PyCoro_Type`.
    pub coroutine_type: u64,
    /// `PyGen_Type`.
    pub generator_type: u64,
    /// The task a thread runs, in its state.
    pub thread_task: u32,
    /// How many bytes of a task to read: all of its fields below.
    pub task_bytes: u32,
    /// The name: a text or a number.
    pub task_name: u32,
    /// What awaits it: a task, a future or a set of such.
    pub task_awaited_by: u32,
    /// The byte that says that it is a task and no mere future.
    pub task_is_task: u32,
    /// The byte that says that it is awaited by a set.
    pub task_awaited_by_is_set: u32,
    /// The coroutine it was made of.
    pub task_coroutine: u32,
    /// The frame in a coroutine.
    pub coroutine_frame: u32,
    /// The byte that says what a coroutine does.
    pub coroutine_state: u32,
    /// The value of that byte if it awaits something.
    pub coroutine_awaits: u32,
    /// The pointer to the end of a frame's stack, in the frame.
    pub frame_stack: u32,
    /// How far below that end the frame keeps what it awaits.
    pub frame_awaits: u32,
    /// How many keys a set has.
    pub set_used: u32,
    /// How many slots it has, less one.
    pub set_mask: u32,
    /// Its slots.
    pub set_table: u32,
    /// The length of a text.
    pub text_length: u32,
    /// The bits that tell what kind of text it is.
    pub text_state: u32,
    /// The bit among them that is set if all characters are ASCII.
    pub text_ascii_bit: u32,
    /// Where the characters of such a text are.
    pub text_data: u32,
    /// How many digits a number has, and its sign; the first two digits follow.
    pub number_tag: u32,
}

/// Where a walk of awaiting tasks has come, and room to read to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaiting {
    /// The task, or future, to look at next.
    task: u64,
    /// The coroutine to look at before that.
    coroutine: u64,
    /// The slots of a set to look at before that.
    slots: u64,
    /// The end of those slots.
    slots_end: u64,
    /// Whether the coroutines of the task to look at next are to be shown: not those of the one that runs.
    is_awaiting: u64,
    words: [u64; CODE_WORDS],
    frame_words: [u64; FRAME_BYTES as usize / 8],
    characters: [u64; TASK_WORDS - NAME_AT],
    /// The entries of the last task.
    pub name: [u64; TASK_WORDS],
}

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing to record; the walk goes on.
    GoesOn,
    /// A task, whose entries are in [`Awaiting::name`].
    Task,
    /// A coroutine's frame, to be recorded as any other. The coroutines of a task come from the outermost to the innermost.
    Frame([u64; ENTRY_WORDS]),
    /// The end, for one of the reasons of [`stop`].
    End(u8),
}

impl Awaiting {
    /// A walk of nothing.
    pub const EMPTY: Self = Self {
        task: 0,
        coroutine: 0,
        slots: 0,
        slots_end: 0,
        is_awaiting: 0,
        words: [0; CODE_WORDS],
        frame_words: [0; FRAME_BYTES as usize / 8],
        characters: [0; TASK_WORDS - NAME_AT],
        name: [0; TASK_WORDS],
    };

    /// Begins at the task that a thread runs. Returns the address of the frame of the coroutine it was made of; zero if it runs
    /// none, or none that is known.
    #[inline(always)]
    pub fn start(&mut self, thread: u64, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) -> u64 {
        self.coroutine = 0;
        self.slots = 0;
        self.is_awaiting = 0;
        self.task = memory.read_word(field(thread, asyncio.thread_task)).unwrap_or_default();
        if self.task == 0 || !memory.read_words(self.task, asyncio.task_bytes, &mut self.words) {
            return 0;
        }
        let coroutine = word(&self.words, asyncio.task_coroutine);
        if byte(&self.words, asyncio.task_is_task) != 1 || !is_coroutine(coroutine, python, asyncio, memory) {
            return 0;
        }
        field(coroutine, asyncio.coroutine_frame)
    }

    /// Looks at one object.
    #[inline(always)]
    pub fn step(&mut self, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) -> Step {
        if self.coroutine != 0 {
            self.pass_coroutine(python, asyncio, memory)
        } else if self.slots != 0 {
            self.pass_slots(memory)
        } else if self.task != 0 {
            self.pass_task(python, asyncio, memory)
        } else {
            Step::End(stop::COMPLETE)
        }
    }

    #[inline(always)]
    fn pass_task(&mut self, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) -> Step {
        if !memory.read_words(self.task, asyncio.task_bytes, &mut self.words) {
            return Step::End(stop::UNREADABLE);
        }
        let awaited_by = word(&self.words, asyncio.task_awaited_by);
        let is_set = byte(&self.words, asyncio.task_awaited_by_is_set) == 1;
        let is_task = byte(&self.words, asyncio.task_is_task) == 1;
        let text = word(&self.words, asyncio.task_name);
        let coroutine = word(&self.words, asyncio.task_coroutine);
        self.task = if is_set { 0 } else { awaited_by };
        let mut several = 0;
        if is_set && awaited_by != 0 {
            let Some(used) = self.enter_set(awaited_by, asyncio, memory) else { return Step::End(stop::UNREADABLE) };
            several = if used > 1 { SEVERAL } else { 0 };
        }
        if !is_task {
            return Step::GoesOn;
        }
        self.coroutine = if self.is_awaiting != 0 { coroutine } else { 0 };
        self.is_awaiting = 1;
        self.read_name(text, python, asyncio, memory);
        self.name[2] |= several;
        Step::Task
    }

    /// Prepares to look for the first key of a set. Returns how many it has.
    #[inline(always)]
    fn enter_set(&mut self, set: u64, asyncio: &Asyncio, memory: &mut impl Memory) -> Option<u64> {
        let used = memory.read_word(field(set, asyncio.set_used))?;
        let last = memory.read_word(field(set, asyncio.set_mask))?;
        let table = memory.read_word(field(set, asyncio.set_table))?;
        if used > 0 {
            let slots = if last < MOST_SLOTS { last + 1 } else { MOST_SLOTS };
            self.slots = table;
            self.slots_end = table.wrapping_add(slots * 16);
        }
        Some(used)
    }

    #[inline(always)]
    fn pass_slots(&mut self, memory: &mut impl Memory) -> Step {
        if self.slots >= self.slots_end || !memory.read_words(self.slots, SLOTS as u32 * 16, &mut self.words) {
            return Step::End(stop::UNREADABLE);
        }
        self.slots = self.slots.wrapping_add(SLOTS * 16);
        for slot in 0..SLOTS as usize {
            let (key, hash) = (self.words[2 * slot], self.words[2 * slot + 1]);
            if key != 0 && hash != NO_KEY {
                self.task = key;
                self.slots = 0;
                return Step::GoesOn;
            }
        }
        Step::GoesOn
    }

    /// What is awaited at last is no coroutine, but a future or an object of C code.
    #[inline(always)]
    fn pass_coroutine(&mut self, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) -> Step {
        let coroutine = self.coroutine;
        self.coroutine = 0;
        if !is_coroutine(coroutine, python, asyncio, memory) {
            return Step::GoesOn;
        }
        let frame = field(coroutine, asyncio.coroutine_frame);
        if !memory.read_words(frame, python.frame_bytes, &mut self.frame_words) {
            return Step::End(stop::UNREADABLE);
        }
        let code = word(&self.frame_words, python.frame_code) & !TAG;
        if !memory.read_words(code, CODE_BYTES, &mut self.words) {
            return Step::End(stop::UNREADABLE);
        }
        if word(&self.words, python.object_type) != python.code_type {
            return Step::End(stop::NOT_A_FRAME);
        }
        let state = memory.read_word(field(coroutine, asyncio.coroutine_state)).unwrap_or_default();
        if state & 0xff == u64::from(asyncio.coroutine_awaits) {
            let end = word(&self.frame_words, asyncio.frame_stack);
            let awaited = memory.read_word(end.wrapping_sub(u64::from(asyncio.frame_awaits)));
            self.coroutine = awaited.unwrap_or_default() & !TAG;
        }
        Step::Frame([code, word(&self.frame_words, python.frame_instruction), python.fingerprint(&self.words)])
    }

    /// Fills in the entries of a task with the name at `name`.
    #[inline(always)]
    fn read_name(&mut self, name: u64, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) {
        self.name = [0; TASK_WORDS];
        self.name[0] = TASK;
        self.name[1] = name;
        let of = memory.read_word(field(name, python.object_type)).unwrap_or_default();
        if of == asyncio.number_type {
            self.read_number(name, asyncio, memory);
        } else if of == asyncio.text_type {
            self.read_text(name, asyncio, memory);
        }
    }

    #[inline(always)]
    fn read_number(&mut self, name: u64, asyncio: &Asyncio, memory: &mut impl Memory) {
        let tag = memory.read_word(field(name, asyncio.number_tag)).unwrap_or_default();
        let digits = memory.read_word(field(name, asyncio.number_tag).wrapping_add(8)).unwrap_or_default();
        self.name[2] = NAME_NUMBER;
        self.name[3] = tag;
        // What lies behind the only digit is not the number's.
        self.name[4] = if tag >> 3 < 2 { digits & 0xffff_ffff } else { digits };
    }

    #[inline(always)]
    fn read_text(&mut self, name: u64, asyncio: &Asyncio, memory: &mut impl Memory) {
        let length = memory.read_word(field(name, asyncio.text_length)).unwrap_or_default();
        let state = memory.read_word(field(name, asyncio.text_state)).unwrap_or_default();
        self.name[2] = NAME_TEXT;
        self.name[3] = length;
        if state >> (asyncio.text_ascii_bit & 31) & 1 == 0 {
            return;
        }
        let bytes = if length < NAME_BYTES { length as u32 } else { NAME_BYTES as u32 };
        self.characters = [0; TASK_WORDS - NAME_AT];
        if memory.read_words(field(name, asyncio.text_data), bytes, &mut self.characters) {
            self.name[2] = NAME_ASCII;
            self.name[NAME_AT..].copy_from_slice(&self.characters);
        }
    }
}

#[inline(always)]
fn field(object: u64, offset: u32) -> u64 {
    object.wrapping_add(u64::from(offset))
}

#[inline(always)]
fn is_coroutine(object: u64, python: &Interpreter, asyncio: &Asyncio, memory: &mut impl Memory) -> bool {
    let of = memory.read_word(field(object, python.object_type)).unwrap_or_default();
    object != 0 && (of == asyncio.coroutine_type || of == asyncio.generator_type)
}
