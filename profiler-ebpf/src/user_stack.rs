//! The user part of a stack: a walk that goes on over several programs, because one may not have that many instructions.

use profiler_common::hotspot::{HotSpot, walk as java_walk};
use profiler_common::limits::{FRAMES_PER_PROGRAM, JAVA_FRAMES_PER_PROGRAM, LEAF_FRAMES, USER_FRAMES, WALK_PROGRAMS};
use profiler_common::record::Identity;
use profiler_common::unwind::aarch64::Aarch64;
use profiler_common::unwind::code::{GENERATED, Mapping, PENDING};
use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::stop;
use profiler_common::unwind::walk::{Code, Process, step};
use profiler_common::unwind::x86_64::X86_64;

use crate::code::{self, Current};
use crate::memory::User;
use crate::task::Task;
use crate::{java, offsets, python};

/// Words of a room for frames: a power of two, so that a masked index is in bounds.
pub const ROOM_WORDS: usize = 2048;

/// A table, or a program, was missing that will be there soon.
const LACKED_TABLE: u32 = 1;
/// The innermost code lies in no mapping that is known.
const LACKED_MAPPING: u32 = 2;

/// Not a reason to stop: the frame is one of a virtual machine.
const IN_HEAP: u32 = 1 << 8;

/// What goes on with a walk.
pub enum Next {
    /// The walk of native frames.
    Native,
    /// That of Java frames.
    Java,
    /// Nothing.
    Done,
}

/// How far a walk has come.
#[repr(C)]
pub struct Walk {
    cursor: Cursor,
    last: Mapping,
    /// When memory was last about to be mapped where code was.
    code_ns: u64,
    /// The stack pointer with which the task entered the kernel.
    stack_pointer: u64,
    space: u32,
    /// Whether it has a Python interpreter.
    has_python: u32,
    /// Whether it has a Java virtual machine.
    has_java: u32,
    /// Whether the mappings of the process are known.
    prepared: u32,
    /// Where user frames begin.
    begin: u32,
    /// Words per frame: its address, and perhaps its stack pointer, or what it is if a virtual machine made its code.
    stride: u32,
    /// Frames walked.
    pub walked: u32,
    /// Programs that took part.
    programs: u32,
    /// Why it ended, or [`stop::NONE`].
    stop: u32,
    /// What was not known of the code that was walked: bits of `LACKED_*`.
    lacked: u32,
}

impl Walk {
    /// Starts at the registers with which the current task entered the kernel. Frames go to the words from `begin` on.
    #[inline(always)]
    pub fn start(&mut self, identity: &Identity, begin: u32) {
        self.begin = begin;
        self.walked = 0;
        self.programs = 0;
        self.lacked = 0;
        self.stop = u32::from(stop::NONE);
        self.last = Mapping { start: 0, end: 0, bias: 0, table: 0, kind: 0 };
        self.code_ns = code::reserved_ns(identity.tgid);
        // What is known is not believed until it was read anew. To ask of each frame whether it lies in a place that may have
        // other code now would cost each walk, and the verifier most, for what happens to few processes and for milliseconds.
        let space = code::find_space(identity).filter(|space| self.code_ns < space.read_ns);
        self.prepared = u32::from(space.is_some());
        self.space = space.map_or(0, |space| space.space);
        self.has_python = u32::from(self.prepared != 0 && python::is_in(self.space));
        self.has_java = u32::from(self.prepared != 0 && java::find(self.space).is_some());
        self.stride = 1 + (self.has_python | self.has_java);
        let registers = Task::current().registers();
        let read = if offsets::is_aarch64() != 0 {
            registers.start_aarch64(&mut self.cursor)
        } else {
            registers.start_x86_64(&mut self.cursor)
        };
        if !read || self.cursor.pc == 0 {
            self.stop = u32::from(stop::UNREADABLE);
        }
        self.stack_pointer = self.cursor.sp;
    }

    /// A walk of nothing: the thread has no user stack.
    #[inline(always)]
    pub fn skip(&mut self) {
        self.walked = 0;
        self.has_python = 0;
        self.has_java = 0;
        self.stride = 1;
        self.prepared = 1;
        self.lacked = 0;
        self.code_ns = 0;
        self.stop = u32::from(stop::COMPLETE);
    }

    /// Ends here if it has not ended, because no further program goes on.
    #[inline(always)]
    pub fn give_up(&mut self) {
        if self.stop == u32::from(stop::NONE) || self.stop == IN_HEAP {
            self.stop = u32::from(stop::DEPTH);
        }
    }

    /// What would go on with it is not there yet.
    #[inline(always)]
    pub fn lack_program(&mut self) {
        self.lacked |= LACKED_TABLE;
    }

    /// Why it ended. One that had to trust frame pointers for want of a table says so, for it may lack frames.
    #[inline(always)]
    pub fn ending(&self) -> u8 {
        if self.prepared == 0 || self.lacked & LACKED_TABLE != 0 {
            return stop::UNPREPARED;
        }
        let is_cut = self.stop != u32::from(stop::COMPLETE);
        if is_cut && self.lacked & LACKED_MAPPING != 0 { stop::UNMAPPED } else { self.stop as u8 }
    }

    /// When memory was last about to be mapped where code was; zero if it never was.
    #[inline(always)]
    pub fn code_ns(&self) -> u64 {
        self.code_ns
    }

    /// The space of the process.
    #[inline(always)]
    pub fn space(&self) -> u32 {
        self.space
    }

    /// The stack pointer with which the task entered the kernel.
    #[inline(always)]
    pub fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }

    /// Whether there are Python frames to walk as well.
    #[inline(always)]
    pub fn has_python(&self) -> bool {
        self.has_python != 0
    }

    /// How many frames are kept.
    #[inline(always)]
    pub fn kept(&self) -> u32 {
        if self.walked > USER_FRAMES as u32 { USER_FRAMES as u32 } else { self.walked }
    }

    /// Words per frame.
    #[inline(always)]
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Walks some frames further.
    #[inline(always)]
    pub fn advance(&mut self, words: &mut [u64; ROOM_WORDS]) -> Next {
        for _ in 0..FRAMES_PER_PROGRAM {
            if self.stop != u32::from(stop::NONE) {
                break;
            }
            self.stop = self.walk_one(words);
        }
        self.go_on()
    }

    /// Walks some frames of a virtual machine.
    #[inline(always)]
    pub fn advance_java(&mut self, room: &mut java_walk::Room, words: &mut [u64; ROOM_WORDS]) -> Next {
        let Some(hotspot) = java::find(self.space) else {
            self.stop = u32::from(stop::NO_RULE);
            return Next::Done;
        };
        // An interrupted frame is the only one of its program, so that the verifier follows no others behind each way out of it.
        if self.cursor.exact != 0 {
            let frame = java_walk::step_from::<true>(hotspot, &mut self.cursor, &mut User, room);
            self.add_java(hotspot, frame, words);
            return self.go_on();
        }
        for _ in 0..JAVA_FRAMES_PER_PROGRAM {
            if self.stop != IN_HEAP {
                break;
            }
            let frame = java_walk::step_from::<false>(hotspot, &mut self.cursor, &mut User, room);
            self.add_java(hotspot, frame, words);
        }
        self.go_on()
    }

    #[inline(always)]
    fn add_java(&mut self, hotspot: &HotSpot, frame: java_walk::Frame, words: &mut [u64; ROOM_WORDS]) {
        write(words, place(self.begin, self.stride, self.walked), self.stride, frame.pc, frame.word);
        self.walked += 1;
        let goes_on = (frame.stop == stop::NONE) & hotspot.heap_of(self.cursor.pc).is_some();
        self.stop = if goes_on { IN_HEAP } else { u32::from(frame.stop) };
    }

    /// What goes on, if there may be one more program.
    #[inline(always)]
    fn go_on(&mut self) -> Next {
        let next = match self.stop {
            IN_HEAP => Next::Java,
            stop if stop == u32::from(stop::NONE) => Next::Native,
            _ => return Next::Done,
        };
        self.programs += 1;
        if self.programs < WALK_PROGRAMS {
            return next;
        }
        self.stop = u32::from(stop::DEPTH);
        Next::Done
    }

    /// Records the frame the cursor is at and moves to its caller.
    #[inline(always)]
    fn walk_one(&mut self, words: &mut [u64; ROOM_WORDS]) -> u32 {
        let mut process = Current { space: self.space, last: &mut self.last };
        let code = if self.prepared == 0 { Code::Untabled } else { process.find_code(self.cursor.lookup_address()) };
        // Where the innermost frame is, there is code, known or not; frame pointers may lead on from it.
        let code = match code {
            Code::Nowhere if self.walked > 0 => return u32::from(stop::UNMAPPED),
            Code::Nowhere => {
                self.lacked |= LACKED_MAPPING;
                Code::Untabled
            }
            Code::Untabled if process.last.kind == GENERATED => return IN_HEAP,
            Code::Untabled if process.last.kind == PENDING => {
                self.lacked |= LACKED_TABLE;
                code
            }
            known => known,
        };
        // An interrupted instruction that is not the leaf stands one byte on, as if it were a return address.
        let pc = if self.walked > 0 && self.cursor.exact != 0 { self.cursor.pc + 1 } else { self.cursor.pc };
        write(words, place(self.begin, self.stride, self.walked), self.stride, pc, self.cursor.sp);
        self.walked += 1;
        let stop = if offsets::is_aarch64() != 0 {
            step::<Aarch64>(&mut self.cursor, code, &mut process)
        } else {
            step::<X86_64>(&mut self.cursor, code, &mut process)
        };
        u32::from(stop)
    }
}

/// Where the first word of a frame belongs; beyond the room for the leaf side, over the oldest of the others.
#[inline(always)]
fn place(begin: u32, stride: u32, number: u32) -> u32 {
    const ROOT_FRAMES: u32 = (USER_FRAMES - LEAF_FRAMES) as u32;
    let leaf = LEAF_FRAMES as u32;
    let place = if number < leaf { number } else { leaf + ((number - leaf) & (ROOT_FRAMES - 1)) };
    begin + place * stride
}

#[inline(always)]
fn write(words: &mut [u64; ROOM_WORDS], at: u32, stride: u32, pc: u64, beside: u64) {
    words[core::hint::black_box(at) as usize & (ROOM_WORDS - 1)] = pc;
    if stride == 2 {
        words[core::hint::black_box(at + 1) as usize & (ROOM_WORDS - 1)] = beside;
    }
}
