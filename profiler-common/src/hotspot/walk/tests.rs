//! Frames of made-up code heaps, with instructions as HotSpot's compilers emit them.

use std::collections::HashMap;

use super::super::{HEAPS, Heap};
use super::*;

/// Where the heap, its segment map, the names of blobs and the stack lie.
const HEAP: u64 = 0x7f00_0000_0000;
const SEGMENTS: u64 = 0x6f00_0000_0000;
const NAMES: u64 = 0x5f00_0000_0000;
const STACK: u64 = 0x7ff0_0000_0000;
const SEGMENT_SHIFT: u32 = 7;
/// Bytes of a blob before its code.
const HEADER: u64 = 0x100;
/// The blob looked at, and one whose code calls it.
const BLOB: u64 = HEAP + 16;
const CODE: u64 = BLOB + HEADER;
const CALLER_BLOB: u64 = HEAP + 0x1000 + 16;
const CALLER: u64 = CALLER_BLOB + HEADER + 0x40;
/// The frame pointer of the caller.
const POINTER: u64 = 0x1234_5678;

/// Memory by bytes.
#[derive(Default, Clone)]
struct Bytes(HashMap<u64, u8>);

impl Bytes {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        bytes.iter().enumerate().for_each(|(offset, byte)| {
            self.0.insert(at + offset as u64, *byte);
        });
    }

    fn put_word(&mut self, at: u64, word: u64) {
        self.put(at, &word.to_le_bytes());
    }

    /// A blob, its code, and the segments from its first one on.
    fn put_blob(&mut self, blob: u64, name: &str, frame_words: u32, complete: u16, code: &[u8]) {
        let name_at = NAMES + (blob & 0xffff) * 64;
        self.put(blob, &[0x90; 0x400]);
        self.put(name_at, &[0; 64]);
        self.put(name_at, name.as_bytes());
        let fields = hotspot();
        self.put_word(blob + u64::from(fields.name), name_at);
        self.put_word(blob + u64::from(fields.code_begin), blob + HEADER);
        self.put_word(blob + u64::from(fields.code_end), blob + HEADER + 0x200);
        self.put_word(blob + u64::from(fields.deopt_handler), blob + HEADER + 0x1f0);
        self.put(blob + u64::from(fields.frame_size), &frame_words.to_le_bytes());
        self.put(blob + u64::from(fields.frame_complete), &complete.to_le_bytes());
        self.put(blob + u64::from(fields.compile_id), &77u32.to_le_bytes());
        self.put(blob + HEADER, code);
        let first = (blob - HEAP) >> SEGMENT_SHIFT;
        (0..8).for_each(|segment| self.put(SEGMENTS + first + segment, &[segment as u8]));
    }
}

impl Memory for Bytes {
    fn read_word(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = *self.0.get(&address.wrapping_add(offset as u64))?;
        }
        Some(u64::from_le_bytes(bytes))
    }

    fn read_words<const N: usize>(&mut self, address: u64, bytes: u32, to: &mut [u64; N]) -> bool {
        let words = (bytes as usize / 8).min(N);
        (0..words).all(|at| self.read_word(address.wrapping_add(at as u64 * 8)).map(|word| to[at] = word).is_some())
    }
}

/// The fields as release 17 has them, but for the heap's.
fn hotspot() -> HotSpot {
    let mut heaps = [Heap::default(); HEAPS];
    heaps[1] = Heap { start: HEAP, end: HEAP + 0x10_0000, segments: SEGMENTS };
    HotSpot {
        heaps,
        segment_shift: SEGMENT_SHIFT,
        block_header: 16,
        name: 96,
        code_begin: 32,
        code_end: 40,
        frame_size: 28,
        frame_complete: 20,
        deopt_handler: 128,
        original_pc: 300,
        compile_id: 304,
        bytecode_slot: 8,
        const_method: 8,
        const_method_bytes: 56,
        ..HotSpot::default()
    }
}

/// A thread that was interrupted at an instruction, with this stack from [`STACK`] on.
fn interrupted(pc: u64, stack: &[u64], memory: &mut Bytes) -> Cursor {
    memory.put(STACK, &[0; 0x200]);
    stack.iter().enumerate().for_each(|(at, word)| memory.put_word(STACK + at as u64 * 8, *word));
    memory.put_blob(CALLER_BLOB, "nmethod", 8, 8, &[]);
    let mut cursor = Cursor { pc, sp: STACK, ..Cursor::EMPTY };
    cursor.kept[usize::from(RBP)] = POINTER;
    cursor
}

/// Where the caller is found: its instruction, stack pointer and frame pointer.
fn caller(cursor: &mut Cursor, memory: &mut Bytes) -> (Frame, u64, u64, Option<u64>) {
    let frame = step(&hotspot(), cursor, memory, &mut Room::default());
    let pointer = cursor.register(RBP, &mut Words(memory));
    (frame, cursor.pc, cursor.sp, pointer)
}

/// An instruction, and what is on the stack before it: words above the return address, and which of them, counted from the
/// stack pointer, is the caller's frame pointer, if it was saved.
type Instruction<'a> = (&'a [u8], usize, Option<usize>);

/// What each release's compilers put at the beginning and end of a method with a frame of four words: `(complete, code)`.
fn methods() -> Vec<(&'static str, u16, Vec<Instruction<'static>>)> {
    let body: Instruction = (&[0x48, 0x89, 0xc8], 3, Some(2));
    let sub: &[u8] = &[0x48, 0x83, 0xec, 0x10];
    let add: &[u8] = &[0x48, 0x83, 0xc4, 0x10];
    let bang: &[u8] = &[0x89, 0x84, 0x24, 0x00, 0xc0, 0xfe, 0xff];
    let (push, pop, ret): (&[u8], &[u8], &[u8]) = (&[0x55], &[0x5d], &[0xc3]);
    let begin = vec![(bang, 0, None), (push, 0, None), (sub, 1, Some(0)), body];
    let with_end = |end: Vec<Instruction<'static>>| {
        let middle = vec![body, body, body, (add, 3, Some(2)), (pop, 1, Some(0))];
        [begin.clone(), middle, end].concat()
    };
    vec![
        ("8", 12, with_end(vec![(&[0x85, 0x05, 1, 2, 3, 4], 0, None), (ret, 0, None)])),
        (
            "11",
            12,
            with_end(vec![(&[0x4d, 0x8b, 0x97, 8, 1, 0, 0], 0, None), (&[0x41, 0x85, 0x02], 0, None), (ret, 0, None)]),
        ),
        (
            "17",
            12,
            with_end(vec![
                (&[0x49, 0x3b, 0xa7, 0x48, 3, 0, 0], 0, None),
                (&[0x0f, 0x87, 1, 2, 3, 4], 0, None),
                (ret, 0, None),
            ]),
        ),
        (
            "17, without a bang",
            9,
            vec![
                (&[0x48, 0x81, 0xec, 0x18, 0, 0, 0], 0, None),
                (&[0x48, 0x89, 0x6c, 0x24, 0x10], 3, None),
                body,
                body,
                body,
                (add, 3, Some(2)),
                (pop, 1, Some(0)),
                (&[0x49, 0x3b, 0x67, 0x28], 0, None),
                (&[0x0f, 0x87, 1, 2, 3, 4], 0, None),
                (ret, 0, None),
            ],
        ),
    ]
}

#[test]
fn the_caller_is_found_from_every_instruction_of_a_method() {
    for (release, complete, instructions) in methods() {
        let code: Vec<u8> = instructions.iter().flat_map(|(bytes, ..)| bytes.iter().copied()).collect();
        let mut offset = 0;
        for (bytes, words, saved) in instructions {
            let mut memory = Bytes::default();
            memory.put_blob(BLOB, "nmethod", 4, complete, &code);
            let mut stack = vec![0xdead_0000; words];
            if let Some(at) = saved {
                stack[at] = POINTER;
            }
            stack.push(CALLER);
            let mut cursor = interrupted(CODE + offset, &stack, &mut memory);
            if saved.is_some() {
                cursor.kept[usize::from(RBP)] = 0xbad;
            }
            let (frame, pc, sp, pointer) = caller(&mut cursor, &mut memory);
            let found = (frame.code(), frame.stop, pc, sp, pointer);
            let code = Code::Compiled { compile_id: 77 };
            let expected = (code, stop::NONE, CALLER, STACK + 8 * (words as u64 + 1), Some(POINTER));
            assert_eq!(found, expected, "release {release}, {offset} bytes in");
            offset += bytes.len() as u64;
        }
    }
}

#[test]
fn a_method_that_called_another_has_all_of_its_frame_wherever_it_stands() {
    let mut memory = Bytes::default();
    memory.put_blob(BLOB, "native nmethod", 4, 0x40, &[0x55, 0xc3]);
    let mut cursor = interrupted(CODE + 1, &[0, 0, POINTER, CALLER], &mut memory);
    cursor.exact = 0;
    let (frame, pc, sp, pointer) = caller(&mut cursor, &mut memory);
    assert_eq!((frame.code(), pc, sp, pointer), (Code::Native { compile_id: 77 }, CALLER, STACK + 32, Some(POINTER)));
}

#[test]
fn a_deoptimized_frame_is_told_by_the_instruction_it_had() {
    let mut memory = Bytes::default();
    memory.put_blob(BLOB, "nmethod", 4, 4, &[]);
    memory.put(BLOB + u64::from(hotspot().original_pc), &8u32.to_le_bytes());
    let mut cursor = interrupted(CODE + 0x1f0, &[0, CODE + 0x33, POINTER, CALLER], &mut memory);
    cursor.exact = 0;
    let (frame, pc, ..) = caller(&mut cursor, &mut memory);
    assert_eq!((frame.pc, pc), (CODE + 0x33, CALLER));
}

#[test]
fn an_interpreted_frame_says_which_method_and_bytecode_it_runs() {
    let (method, constant) = (STACK + 0x4000, STACK + 0x5000);
    for (exact, register, bytecode) in [(0, constant + 56 + 9, 21), (1, constant + 56 + 9, 9), (1, 7, 21)] {
        let mut memory = Bytes::default();
        memory.put_blob(BLOB, "Interpreter", 0, 0, &[]);
        memory.put_word(method + 8, constant);
        // Two words of expressions; then down from the frame pointer: the caller's stack pointer, and further the method.
        let frame = [1, 2, 0, constant + 56 + 21, 0, 0, 0, 0, method, 0, STACK + 0x80, POINTER, CALLER];
        let mut cursor = interrupted(CODE, &frame, &mut memory);
        (cursor.exact, cursor.kept[usize::from(RBP)], cursor.kept[usize::from(R13)]) = (exact, STACK + 88, register);
        let (frame, pc, sp, pointer) = caller(&mut cursor, &mut memory);
        assert_eq!(frame.code(), Code::Interpreted { method, bytecode });
        assert_eq!((frame.stop, pc, sp, pointer), (stop::NONE, CALLER, STACK + 0x80, Some(POINTER)));
    }
}

/// The call before [`CALLER`], by how far it is, and by a register.
fn near_call(target: u64) -> Vec<u8> {
    [&[0xe8], &(target.wrapping_sub(CALLER) as u32).to_le_bytes()[..]].concat()
}

fn far_call(target: u64) -> Vec<u8> {
    [&[0x49, 0xba], &target.to_le_bytes()[..], &[0x41, 0xff, 0xd2]].concat()
}

#[test]
fn a_stub_has_its_return_address_where_the_stack_shows_it() {
    let other = CALLER + 0x20;
    let framed = (0, STACK, vec![POINTER, CALLER], 16, Some(POINTER));
    let frameless = (0, STACK + 0x100, vec![CALLER], 8, Some(STACK + 0x100));
    let pushed = (u32::MAX, 5, vec![1, 2, CALLER], 24, Some(5));
    let sized = (4, 5, vec![1, 2, POINTER, CALLER], 32, Some(POINTER));
    let sized_later = (4, 5, vec![CALLER, 2, 3, 4], 8, Some(5));
    // What is left of other calls lies nearer than the return address, which the call before it tells.
    let framed_beyond_others = (0, STACK + 32, vec![other, 1, other, 3, POINTER, CALLER], 48, Some(POINTER));
    let pushed_beyond_others = (0, 5, vec![other, 1, other, CALLER], 32, Some(5));
    let cases = [framed, frameless, pushed, sized, sized_later, framed_beyond_others, pushed_beyond_others];
    for (words, own_pointer, stack, size, pointer) in cases {
        let mut memory = Bytes::default();
        memory.put_blob(BLOB, "StubRoutines (1)", words, 0, &[0x90; 16]);
        let start = interrupted(CODE + 4, &stack, &mut memory);
        for call in [near_call(CODE), far_call(CODE)] {
            memory.put(CALLER - call.len() as u64, &call);
            let mut cursor = start;
            cursor.kept[usize::from(RBP)] = own_pointer;
            let (frame, pc, sp, found) = caller(&mut cursor, &mut memory);
            let expected = (Code::Stub, stop::NONE, CALLER, STACK + size, pointer);
            assert_eq!((frame.code(), frame.stop, pc, sp, found), expected, "{stack:x?}");
        }
    }
}

#[test]
fn a_stub_that_saves_the_frame_pointer_first_has_it_below_its_return_address() {
    let mut memory = Bytes::default();
    memory.put_blob(BLOB, "StubRoutines (1)", 0, 0, &[0x55, 0x48, 0x8b, 0xec]);
    let mut cursor = interrupted(CODE + 1, &[POINTER, CALLER], &mut memory);
    cursor.kept[usize::from(RBP)] = 5;
    memory.put(CALLER - 5, &near_call(CODE));
    let (_, pc, sp, pointer) = caller(&mut cursor, &mut memory);
    assert_eq!((pc, sp, pointer), (CALLER, STACK + 16, Some(POINTER)));
}

#[test]
fn the_entry_barrier_of_a_method_keeps_a_word_more() {
    let mut memory = Bytes::default();
    memory.put_blob(BLOB, "StubRoutines (2)", 0, 0, &[]);
    let mut cursor = interrupted(CODE + 4, &[0, POINTER, u64::MAX, CALLER], &mut memory);
    (cursor.exact, cursor.kept[usize::from(RBP)]) = (0, STACK + 8);
    let (_, pc, sp, pointer) = caller(&mut cursor, &mut memory);
    assert_eq!((pc, sp, pointer), (CALLER, STACK + 32, Some(POINTER)));
}

#[test]
fn where_java_was_called_and_where_virtual_threads_are_mounted_is_told_apart() {
    for (name, entry_return, code) in
        [("StubRoutines (1)", CODE + 4, Code::Entry), ("StubRoutines (continuation stubs)", 0, Code::Continuation)]
    {
        let mut memory = Bytes::default();
        memory.put_blob(BLOB, name, 0, 0, &[]);
        let mut cursor = interrupted(CODE + 4, &[POINTER, CALLER], &mut memory);
        (cursor.exact, cursor.kept[usize::from(RBP)]) = (0, STACK);
        let hotspot = HotSpot { entry_return, ..hotspot() };
        let frame = step(&hotspot, &mut cursor, &mut memory, &mut Room::default());
        assert_eq!((frame.code(), frame.stop, cursor.pc), (code, stop::NONE, CALLER));
    }
}

#[test]
fn what_makes_no_sense_ends_the_walk_with_a_reason() {
    let stop_of = |change: &dyn Fn(&mut Bytes, &mut Cursor)| {
        let mut memory = Bytes::default();
        memory.put_blob(BLOB, "nmethod", 4, 4, &[0x90; 16]);
        let mut cursor = interrupted(CODE + 8, &[0, 0, POINTER, CALLER], &mut memory);
        cursor.exact = 0;
        change(&mut memory, &mut cursor);
        step(&hotspot(), &mut cursor, &mut memory, &mut Room::default()).stop
    };
    assert_eq!(stop_of(&|_, _| {}), stop::NONE);
    let first = SEGMENTS + ((BLOB - HEAP) >> SEGMENT_SHIFT);
    // The blob is gone; its segments lead round in a circle; they cannot be read.
    assert_eq!(stop_of(&|memory, _| memory.put(first, &[0xff; 8])), stop::NO_RULE);
    assert_eq!(stop_of(&|memory, _| memory.put(first, &[1; 8])), stop::NO_RULE);
    assert_eq!(stop_of(&|memory, _| memory.0.retain(|at, _| at & !0xffff != SEGMENTS)), stop::NO_RULE);
    // Its frame reaches beyond the stack, or is none.
    assert_eq!(stop_of(&|memory, _| memory.put(BLOB + 28, &u32::MAX.to_le_bytes())), stop::UNREADABLE);
    assert_eq!(stop_of(&|memory, _| memory.put(BLOB + 28, &[0; 4])), stop::UNREADABLE);
    // It returns to nowhere, which only the outermost frame of a thread does, and that is not Java's.
    assert_eq!(stop_of(&|memory, _| memory.put_word(STACK + 24, 0)), stop::NO_RULE);
}
