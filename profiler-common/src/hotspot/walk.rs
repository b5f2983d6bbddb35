//! One frame of a code heap: find its blob, say what it is, move to the caller.
//!
//! A compiled frame has the size its blob says, with the caller's frame pointer and the return address at its outer end, but for the
//! first instructions of a method and its last ones, where it is being made or taken down; which these are, their bytes tell. An
//! interpreted frame is found by its frame pointer. Frames that are not innermost stand at calls, where they are complete.
//!
//! How HotSpot lays out its frames: <https://github.com/openjdk/jdk/blob/jdk-21-ga/src/hotspot/cpu/x86/frame_x86.hpp#L31-L104>, and its
//! code cache: <https://github.com/openjdk/jdk/blob/jdk-21-ga/src/hotspot/share/memory/heap.cpp#L300-L353>.

use super::{CODE_BY_OFFSET, Code, HotSpot, NO_BYTECODE, equal, is_zero, less};
use crate::memory::Memory;
use crate::unwind::cursor::Cursor;
use crate::unwind::rule::Rule;
use crate::unwind::stop;
use crate::unwind::walk::{Code as NativeCode, Process};
use crate::unwind::x86_64::{R13, RBP};

/// Words of a blob's room: a power of two, so that a masked index is in bounds.
const BLOB_ROOM: usize = 64;
/// Bytes read of a blob. The fields of all releases from 8 to 26 lie within 332.
pub const BLOB_BYTES: u32 = 384;
/// Words of code before an interrupted instruction that are looked at, and from it on.
const CODE_WORDS: usize = 4;
/// Steps along the segment map to the beginning of a blob: the interpreter, the largest, takes nine in release 8.
const SEGMENT_STEPS: u32 = 16;
/// A byte of the segment map: no blob is here.
const FREE_SEGMENT: u64 = 0xff;

/// The beginnings of the names of blobs, as the first four bytes.
const COMPILED: u32 = u32::from_le_bytes(*b"nmet");
const NATIVE: u32 = u32::from_le_bytes(*b"nati");
const INTERPRETER: u32 = u32::from_le_bytes(*b"Inte");
const TABLE_STUB: u32 = u32::from_le_bytes(*b"vtab");
/// Behind `StubRoutines (`: those that mount virtual threads and take them off.
const CONTINUATION: u64 = u64::from_le_bytes(*b"continua");
const CONTINUATION_AT: u64 = 14;

/// The largest frame: beyond it a frame pointer is none.
const FRAME_BYTES: u64 = 1 << 16;
/// Words on the stack of a stub among which its return address is looked for: no stub pushes more than four. Each more doubles what the
/// verifier has to follow.
const STUB_WORDS: usize = 5;

/// Where the parts of one frame are read to, too large for a stack in the kernel.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Room {
    blob: [u64; BLOB_ROOM],
    before: [u64; CODE_WORDS],
    after: [u64; CODE_WORDS],
    frame: [u64; FRAME_ROOM],
    calls: [[u64; 2]; CALL_ROOM],
}

impl Default for Room {
    fn default() -> Self {
        Self {
            blob: [0; BLOB_ROOM],
            before: [0; CODE_WORDS],
            after: [0; CODE_WORDS],
            frame: [0; FRAME_ROOM],
            calls: [[0; 2]; CALL_ROOM],
        }
    }
}

/// Room for words of a frame, and for what lies before the instructions some of them lead to: powers of two.
const FRAME_ROOM: usize = 16;
const CALL_ROOM: usize = 8;

/// Words of an interpreted frame: from ten below its frame pointer to the return address.
const FRAME_WORDS: usize = 12;
/// Among them: its frame pointer.
const FRAME_POINTER: usize = 10;

/// A frame that was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The instruction; that of a deoptimized frame as if it were none.
    pub pc: u64,
    /// What it is, packed: old verifiers refuse to see parts of a [`Code`] moved that not all kinds have.
    pub word: u64,
    /// Why the cursor was not moved to the caller: a reason of [`stop`], or [`stop::NONE`].
    pub stop: u8,
}

impl Frame {
    /// What it is.
    pub fn code(&self) -> Code {
        Code::unpack(self.word).unwrap_or(Code::Stub)
    }
}

/// A blob, as far as it was read.
#[derive(Clone, Copy)]
struct Blob {
    /// The address.
    at: u64,
    /// Where its code begins.
    begin: u64,
    /// The first bytes of its name, and where that is.
    name: u32,
    name_at: u64,
}

/// Identifies the frame in a heap the cursor is at, and moves to its caller.
#[inline(always)]
pub fn step(hotspot: &HotSpot, cursor: &mut Cursor, memory: &mut impl Memory, room: &mut Room) -> Frame {
    if cursor.exact != 0 {
        step_from::<true>(hotspot, cursor, memory, room)
    } else {
        step_from::<false>(hotspot, cursor, memory, room)
    }
}

/// The same of a frame that was interrupted (`EXACT`) or that called another: two steps, so that the verifier follows what only
/// the first may need once in a program, and not for every frame.
#[inline(always)]
pub fn step_from<const EXACT: bool>(
    hotspot: &HotSpot,
    cursor: &mut Cursor,
    memory: &mut impl Memory,
    room: &mut Room,
) -> Frame {
    let mut frame = Frame { pc: cursor.pc, word: Code::Stub.pack(), stop: stop::NO_RULE };
    let Some(blob) = find_blob(hotspot, cursor.pc, memory, room) else { return frame };
    let sp = cursor.sp;
    let moved = match blob.name {
        COMPILED | NATIVE => {
            let compile_id = room.field(hotspot.compile_id) as u32;
            let (compiled, native) = (Code::Compiled { compile_id }.pack(), Code::Native { compile_id }.pack());
            frame.word = if blob.name == COMPILED { compiled } else { native };
            if !EXACT {
                frame.pc = original_pc(hotspot, &blob, cursor, memory, room);
            }
            leave_compiled::<EXACT>(hotspot, &blob, cursor, memory, room)
        }
        INTERPRETER => match leave_interpreted::<EXACT>(hotspot, cursor, memory, room) {
            Some(word) => {
                frame.word = word;
                Some(())
            }
            None => None,
        },
        TABLE_STUB => pop(cursor, 0, memory),
        _ => {
            if !EXACT {
                frame.word = stub_word(hotspot, &blob, frame.pc, memory);
            }
            leave_stub::<EXACT>(hotspot, &blob, cursor, memory, room)
        }
    };
    frame.stop = match moved {
        None => stop::UNREADABLE,
        // No thread begins in a code heap, so that this is no end.
        Some(()) if cursor.pc == 0 => stop::NO_RULE,
        Some(()) if cursor.sp <= sp => stop::NO_PROGRESS,
        Some(()) => stop::NONE,
    };
    frame
}

/// What a stub is that called something.
#[inline(always)]
fn stub_word(hotspot: &HotSpot, blob: &Blob, pc: u64, memory: &mut impl Memory) -> u64 {
    if pc == hotspot.entry_return {
        return Code::Entry.pack();
    }
    let is_continuation = memory.read_word(blob.name_at.wrapping_add(CONTINUATION_AT)) == Some(CONTINUATION);
    if is_continuation { Code::Continuation.pack() } else { Code::Stub.pack() }
}

/// The blob an address lies in, whose fields are in the room then.
#[inline(always)]
fn find_blob(hotspot: &HotSpot, pc: u64, memory: &mut impl Memory, room: &mut Room) -> Option<Blob> {
    let heap = hotspot.heap_of(pc)?;
    let shift = hotspot.segment_shift & 31;
    let mut segment = pc.wrapping_sub(heap.start) >> shift;
    let mut back = FREE_SEGMENT;
    for _ in 0..SEGMENT_STEPS {
        back = read_byte(heap.segments.wrapping_add(segment), memory)?;
        if back == 0 || back == FREE_SEGMENT {
            break;
        }
        segment = segment.wrapping_sub(back);
    }
    if back != 0 {
        return None;
    }
    let at = heap.start.wrapping_add(segment << shift).wrapping_add(hotspot.block_header.into());
    if !memory.read_words(at, BLOB_BYTES, &mut room.blob) {
        return None;
    }
    let name_at = room.field(hotspot.name);
    let name = memory.read_word(name_at)? as u32;
    Some(Blob { at, begin: room.place(hotspot, at, hotspot.code_begin), name, name_at })
}

/// By the aligned word it lies in, which never reaches into a page that may not be there.
#[inline(always)]
fn read_byte(address: u64, memory: &mut impl Memory) -> Option<u64> {
    Some(memory.read_word(address & !7)? >> ((address & 7) * 8) & 0xff)
}

impl Room {
    /// What lies at an offset of the blob, up to the end of its word.
    #[inline(always)]
    fn field(&self, offset: u32) -> u64 {
        // So that the compiler keeps the mask where old verifiers need it.
        let offset = core::hint::black_box(offset);
        self.blob[(offset / 8) as usize & (BLOB_ROOM - 1)] >> ((offset & 7) * 8)
    }

    /// An address that a field of the blob at `at` tells.
    #[inline(always)]
    fn place(&self, hotspot: &HotSpot, at: u64, offset: u32) -> u64 {
        let value = self.field(offset);
        if hotspot.flags & CODE_BY_OFFSET != 0 { at.wrapping_add(value & 0xffff_ffff) } else { value }
    }
}

/// The instruction of a compiled frame. One that was deoptimized returns to a handler, and keeps where it was.
#[inline(always)]
fn original_pc(hotspot: &HotSpot, blob: &Blob, cursor: &Cursor, memory: &mut impl Memory, room: &Room) -> u64 {
    if cursor.pc != room.place(hotspot, blob.at, hotspot.deopt_handler) {
        return cursor.pc;
    }
    let kept_at = cursor.sp.wrapping_add(room.field(hotspot.original_pc) & 0xffff_ffff);
    let end = room.place(hotspot, blob.at, hotspot.code_end);
    match memory.read_word(kept_at) {
        Some(pc) if blob.begin <= pc && pc < end => pc,
        _ => cursor.pc,
    }
}

/// How much of a compiled frame there is.
enum Extent {
    /// All of it.
    Whole,
    /// All of it, but the frame pointer is still the caller's.
    WholeButPointer,
    /// The return address, and so many words above it, of which the first is the caller's frame pointer.
    Words(u64),
}

#[inline(always)]
fn leave_compiled<const EXACT: bool>(
    hotspot: &HotSpot,
    blob: &Blob,
    cursor: &mut Cursor,
    memory: &mut impl Memory,
    room: &mut Room,
) -> Option<()> {
    let extent = if EXACT { extent_at(hotspot, blob, cursor.pc, memory, room)? } else { Extent::Whole };
    match extent {
        Extent::Words(pushed) => pop(cursor, pushed, memory),
        Extent::Whole => leave_sized(room.field(hotspot.frame_size) as u32, true, cursor, memory),
        Extent::WholeButPointer => leave_sized(room.field(hotspot.frame_size) as u32, false, cursor, memory),
    }
}

/// Leaves a frame of so many words, the return address and perhaps a saved frame pointer included.
#[inline(always)]
fn leave_sized(words: u32, has_pointer: bool, cursor: &mut Cursor, memory: &mut impl Memory) -> Option<()> {
    let caller_sp = cursor.sp.wrapping_add(u64::from(words) * 8);
    let pc = memory.read_word(caller_sp.wrapping_sub(8))?;
    cursor.lose_kept();
    if has_pointer {
        cursor.kept_at[usize::from(RBP)] = caller_sp.wrapping_sub(16);
    }
    cursor.enter_caller(pc, caller_sp);
    Some(())
}

/// Leaves a frame that consists of the return address and so many words above it, none or the caller's frame pointer.
#[inline(always)]
fn pop(cursor: &mut Cursor, pushed: u64, memory: &mut impl Memory) -> Option<()> {
    let pc = memory.read_word(cursor.sp.wrapping_add(pushed * 8))?;
    leave_pushed(pushed, pushed != 0, cursor, pc);
    Some(())
}

/// Before the stack pointer is moved in a method's first instructions, and after it was moved back in its last ones, there is less
/// of a frame.
#[inline(always)]
fn extent_at(hotspot: &HotSpot, blob: &Blob, pc: u64, memory: &mut impl Memory, room: &mut Room) -> Option<Extent> {
    let bytes = (CODE_WORDS * 8) as u32;
    if !memory.read_words(pc.wrapping_sub(bytes.into()), bytes, &mut room.before)
        || !memory.read_words(pc, bytes, &mut room.after)
    {
        return None;
    }
    let offset = pc.wrapping_sub(blob.begin);
    let complete = room.field(hotspot.frame_complete) & 0xffff;
    // The instruction that saves the frame pointer may stand right behind the prologue's end.
    if offset < complete + 8 && moves_stack_pointer(&room.before, offset) {
        let is_saving = room.after[0] as u32 & SAVE_POINTER_MASK == SAVE_POINTER;
        return Some(if is_saving { Extent::WholeButPointer } else { Extent::Whole });
    }
    let last = room.before[CODE_WORDS - 1];
    if offset < complete {
        let is_pushed =
            equal(last >> 56, PUSH_POINTER) | equal(last >> 32, PUSH_AND_SET) | equal(last >> 32, PUSH_AND_SET_TOO);
        return Some(Extent::Words(is_pushed & (is_zero(offset) ^ 1)));
    }
    Some(epilogue_extent(last >> 56, room.after[0], room.after[1]))
}

/// `push %rbp`.
const PUSH_POINTER: u64 = 0x55;
/// `push %rbp; mov %rsp,%rbp`, in its two encodings.
const PUSH_AND_SET: u64 = 0xec8b_4855;
const PUSH_AND_SET_TOO: u64 = 0xe589_4855;
/// `mov %rbp,disp(%rsp)` with a displacement of one byte or four.
const SAVE_POINTER: u32 = 0x242c_8948;
const SAVE_POINTER_MASK: u32 = 0xff3f_ffff;
/// `sub $…,%rsp`: its three bytes, and the bit in which the lengths of the number differ.
const MOVE_STACK_POINTER: u64 = 0x00ec_8148;
const MOVE_MASK: u64 = 0x00ff_fdff;
const MOVE_BYTES: u64 = 4;

/// Whether the stack pointer is moved between the beginning of the code, `offset` bytes before, and the end of `before`. Without
/// branches, of which each would double what the verifier has to follow.
#[inline(always)]
fn moves_stack_pointer(before: &[u64; CODE_WORDS], offset: u64) -> bool {
    let mut found = 0u64;
    for at in 0..=(CODE_WORDS as u64 * 8 - MOVE_BYTES) {
        let (word, shift) = ((at / 8) as usize, at % 8 * 8);
        let low = before[word & (CODE_WORDS - 1)] >> shift;
        // A shift by 64 is none, so it is made of two.
        let high = before[(word + 1) & (CODE_WORDS - 1)] << (63 - shift) << 1;
        let differs = ((low | high) & MOVE_MASK) ^ MOVE_STACK_POINTER;
        found |= is_zero(differs) << at;
    }
    let seen = if offset < 32 { offset } else { 32 };
    found >> (32 - seen) != 0
}

/// What is left of a frame at instructions that may be a method's last: `pop %rbp`, a look at whether a safepoint is wanted, `ret`.
#[inline(always)]
fn epilogue_extent(previous: u64, word: u64, next: u64) -> Extent {
    let is_popped = equal(previous, POP_POINTER) | equal(previous, LEAVE);
    let is_last = begins_last_part(word) | equal(word & 0xff, RETURN) | begins_poll(word) & is_popped;
    let behind = word >> 8 | next << 56;
    let goes_on = begins_last_part(behind) | equal(behind & 0xff, RETURN) | begins_poll(behind);
    let is_popping = equal(word & 0xff, POP_POINTER) & goes_on;
    if is_last | is_popping != 0 { Extent::Words(is_popping & (is_last ^ 1)) } else { Extent::Whole }
}

const POP_POINTER: u64 = 0x5d;
const LEAVE: u64 = 0xc9;
const RETURN: u64 = 0xc3;

/// One if `cmp disp(%r15),%rsp` (17 on) or `mov disp(%r15),%r10` (11) begins here.
#[inline(always)]
fn begins_poll(word: u64) -> u64 {
    equal(word & 0x003f_ffff, 0x0027_3b49) | equal(word & 0x00ff_ffff, 0x0097_8b4d)
}

/// One if the instruction before `ret` begins here: `test %eax,disp(%rip)` (8), `ja …` (17 on), `test %eax,(%r10)` (11).
#[inline(always)]
fn begins_last_part(word: u64) -> u64 {
    let is_long = equal(word & 0xffff, 0x0585) | equal(word & 0xffff, 0x870f);
    is_long & equal(word >> 48 & 0xff, RETURN) | equal(word & 0xffff_ffff, 0xc302_8541)
}

/// An interpreted frame says which method it runs. The innermost has its bytecode pointer in a register.
#[inline(always)]
fn leave_interpreted<const EXACT: bool>(
    hotspot: &HotSpot,
    cursor: &mut Cursor,
    memory: &mut impl Memory,
    room: &mut Room,
) -> Option<u64> {
    let pointer = cursor.register(RBP, &mut Words(memory))?;
    if pointer.wrapping_sub(cursor.sp) >= FRAME_BYTES {
        return None;
    }
    let begin = pointer.wrapping_sub(FRAME_POINTER as u64 * 8);
    if !memory.read_words(begin, (FRAME_WORDS * 8) as u32, &mut room.frame) {
        return None;
    }
    let kept = if hotspot.bytecode_slot == 7 { room.frame[FRAME_POINTER - 7] } else { room.frame[FRAME_POINTER - 8] };
    let method = room.frame[FRAME_POINTER - 3];
    let bytecodes = memory
        .read_word(method.wrapping_add(hotspot.const_method.into()))
        .unwrap_or_default()
        .wrapping_add(hotspot.const_method_bytes.into());
    let index = |pointer: u64| pointer.wrapping_sub(bytecodes);
    let in_register = index(cursor.kept[usize::from(R13)]);
    let is_in_register = EXACT & (in_register < u64::from(NO_BYTECODE));
    let bytecode = if is_in_register { in_register } else { index(kept) };
    let bytecode = if bytecode < u64::from(NO_BYTECODE) { bytecode as u16 } else { NO_BYTECODE };
    let (sp, pc) = (room.frame[FRAME_POINTER - 1], room.frame[FRAME_POINTER + 1]);
    cursor.lose_kept();
    cursor.kept[usize::from(RBP)] = room.frame[FRAME_POINTER];
    cursor.kept_at[usize::from(RBP)] = 0;
    cursor.enter_caller(pc, sp);
    Some(Code::Interpreted { method, bytecode }.pack())
}

/// Stubs have frames of a known size, frames by a frame pointer, or none but what they pushed. While one is being made or taken
/// down, and where none of this is told, the return address is known by the call before it, which leads into the stub.
#[inline(always)]
fn leave_stub<const EXACT: bool>(
    hotspot: &HotSpot,
    blob: &Blob,
    cursor: &mut Cursor,
    memory: &mut impl Memory,
    room: &mut Room,
) -> Option<()> {
    let words = room.field(hotspot.frame_size) as u32;
    let is_sized = words != 0 && words as i32 > 0;
    if is_sized && (!EXACT || returns_to_java(hotspot, cursor.sp.wrapping_add(u64::from(words) * 8), memory)) {
        return leave_sized(words, true, cursor, memory);
    }
    let pointer = cursor.register(RBP, &mut Words(memory)).unwrap_or_default();
    let distance = pointer.wrapping_sub(cursor.sp);
    if !EXACT {
        return if distance < FRAME_BYTES { leave_by_pointer(pointer, cursor, memory) } else { None };
    }
    if !memory.read_words(cursor.sp, (STUB_WORDS * 8) as u32, &mut room.frame) {
        return None;
    }
    // The word above the frame pointer is looked at with those above the stack pointer.
    room.frame[STUB_WORDS] = 0;
    memory.read_words(pointer.wrapping_add(8), 8, core::array::from_mut(&mut room.frame[STUB_WORDS]));
    // All are looked at, whichever is taken, and whether they can be read or not: each way out would be one more for the verifier.
    for at in 0..=STUB_WORDS {
        room.calls[at] = [0; 2];
        memory.read_words(room.frame[at].wrapping_sub(16), 16, &mut room.calls[at]);
    }
    let (mut java, mut called) = (0, 0);
    for at in 0..=STUB_WORDS {
        let word = room.frame[at];
        let is_java = hotspot.holds(word);
        java |= is_java << at;
        called |= (is_java & is_called(&room.calls[at], word, blob, cursor.pc)) << at;
    }
    let is_plausible = less(distance, FRAME_BYTES);
    let is_framed = called >> STUB_WORDS & is_plausible;
    let may_be_framed = java >> STUB_WORDS & is_plausible;
    (java, called) = (java & PUSHED_WORDS, called & PUSHED_WORDS);
    let is_pushed = is_zero(called) ^ 1;
    // The first of those that were called by, else the first of all, else none.
    let candidates = called | (java | NOWHERE) & is_pushed.wrapping_sub(1);
    let at = u64::from(core::hint::black_box(candidates).trailing_zeros());
    // Where no call is known, a word that a stub without a frame has not above it is more likely left over than what lies above the
    // frame pointer.
    let is_likelier = (is_pushed ^ 1) & (less(distance / 8, at) & is_plausible | may_be_framed & (is_zero(at) ^ 1));
    if is_framed | is_likelier != 0 {
        return leave_by_pointer(pointer, cursor, memory);
    }
    if at >= STUB_WORDS as u64 {
        return None;
    }
    let returned_to = room.frame[at as usize & (FRAME_ROOM - 1)];
    let before = &room.calls[at as usize & (CALL_ROOM - 1)];
    let has_pointer = is_pushed != 0 && at > 0 && begins_with_push(before, returned_to, memory);
    leave_pushed(at, has_pointer, cursor, returned_to);
    Some(())
}

/// The bits of words that may have been pushed, and one beyond all.
const PUSHED_WORDS: u64 = (1 << STUB_WORDS) - 1;
const NOWHERE: u64 = 1 << 32;

/// `call` to an address.
const CALL: u64 = 0xe8;

/// Whether the word below an address is one of Java code.
#[inline(always)]
fn returns_to_java(hotspot: &HotSpot, caller_sp: u64, memory: &mut impl Memory) -> bool {
    memory.read_word(caller_sp.wrapping_sub(8)).is_some_and(|word| hotspot.heap_of(word).is_some())
}

/// The last three bytes of `mov $…,%r10; call *%r10`, before which the address stands.
const CALL_FAR: u64 = 0x00d2_ff41;

/// Where a call leads whose last sixteen bytes these are, and one if it is one to an address.
#[inline(always)]
fn call_target(before: &[u64; 2], returned_to: u64) -> (u64, u64) {
    let near = returned_to.wrapping_add_signed(i64::from((before[1] >> 32) as i32));
    let far = before[0] >> 40 | before[1] << 24;
    let (is_near, is_far) = (equal(before[1] >> 24 & 0xff, CALL), equal(before[1] >> 40, CALL_FAR));
    let target = far & is_far.wrapping_neg() | near & is_far.wrapping_sub(1);
    (target, is_near | is_far)
}

/// One if a call before a return address leads into a blob, before an instruction of it or to that; else zero.
#[inline(always)]
fn is_called(before: &[u64; 2], returned_to: u64, blob: &Blob, pc: u64) -> u64 {
    let (target, is_call) = call_target(before, returned_to);
    is_call & less(target.wrapping_sub(blob.begin), pc.wrapping_sub(blob.begin) + 1)
}

/// Whether what was called begins by saving the frame pointer.
#[inline(always)]
fn begins_with_push(before: &[u64; 2], returned_to: u64, memory: &mut impl Memory) -> bool {
    let (target, _) = call_target(before, returned_to);
    memory.read_word(target).is_some_and(|first| first & 0xff == PUSH_POINTER)
}

/// Leaves a frame by the return address so many words above the stack pointer, below which the caller's frame pointer may lie.
#[inline(always)]
fn leave_pushed(words: u64, has_pointer: bool, cursor: &mut Cursor, pc: u64) {
    let at = cursor.sp.wrapping_add(words * 8);
    cursor.lose_kept();
    if has_pointer {
        cursor.kept_at[usize::from(RBP)] = at.wrapping_sub(8);
    }
    cursor.enter_caller(pc, at.wrapping_add(8));
}

/// Leaves a frame by its frame pointer. That of a method's entry barrier keeps a word of ones between that and the return address.
#[inline(always)]
fn leave_by_pointer(pointer: u64, cursor: &mut Cursor, memory: &mut impl Memory) -> Option<()> {
    let mut at = pointer.wrapping_add(8);
    let mut pc = memory.read_word(at)?;
    if pc == u64::MAX {
        at = at.wrapping_add(8);
        pc = memory.read_word(at)?;
    }
    cursor.lose_kept();
    cursor.kept_at[usize::from(RBP)] = pointer;
    cursor.enter_caller(pc, at.wrapping_add(8));
    Some(())
}

/// Memory as a cursor reads it.
struct Words<'a, M>(&'a mut M);

impl<M: Memory> Process for Words<'_, M> {
    #[inline(always)]
    fn find_code(&mut self, _: u64) -> NativeCode {
        NativeCode::Nowhere
    }

    #[inline(always)]
    fn find_rule(&mut self, _: u32, _: u64) -> Rule {
        Rule::NONE
    }

    #[inline(always)]
    fn read(&mut self, address: u64) -> Option<u64> {
        self.0.read_word(address)
    }
}

#[cfg(test)]
mod tests;
