//! Walks of made-up tasks that await each other.

use super::{CODE_TYPE, Fixture, LAYOUT, STATE};
use crate::python::asyncio::{
    Asyncio, Awaiting, NAME_ASCII, NAME_AT, NAME_NUMBER, NAME_TEXT, SEVERAL, Step, TASK, TASK_WORDS,
};
use crate::python::stop;

const TEXT: u64 = 0x7e47;
const NUMBER: u64 = 0x4040;
const COROUTINE: u64 = 0xc0c0;
/// Awaits something, in the byte at 67.
const AWAITS: (u64, u64) = (67, 0xff);

/// As in 3.14.
const ASYNCIO: Asyncio = Asyncio {
    text_type: TEXT,
    number_type: NUMBER,
    coroutine_type: COROUTINE,
    generator_type: 0x9e9e,
    thread_task: 200,
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

/// A task, or a future, with a coroutine, a name and what awaits it.
fn put_task(memory: &mut Fixture, task: u64, coroutine: u64, name: u64, (awaited_by, flags): (u64, u64)) {
    memory.put(task, &[(96, awaited_by), (104, flags << 32), (128, coroutine), (136, name)]);
}

/// In the word of flags: a task; one that is awaited by a set.
const IS_TASK: u64 = 1;
const IS_SET: u64 = 1 << 8;

/// A coroutine that awaits what is on its stack.
fn put_coroutine(memory: &mut Fixture, coroutine: u64, code: u64, instruction: u64, awaited: u64) {
    let stack = coroutine + 0x1000;
    memory.put(stack, &[(0, awaited)]);
    memory.put(coroutine, &[(8, COROUTINE), AWAITS, (72, code), (128, instruction), (136, stack + 8)]);
}

fn put_number(memory: &mut Fixture, at: u64, number: u64) -> u64 {
    memory.put(at, &[(8, NUMBER), (16, 8), (24, 0xdead_0000_0000 << 16 | number)]);
    at
}

fn put_text(memory: &mut Fixture, at: u64, state: u64, text: &[u8]) -> u64 {
    memory.put(at, &[(8, TEXT), (16, text.len() as u64), (32, state)]);
    for (word, bytes) in (0..).zip(text.chunks(8)) {
        let mut whole = [0xee; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        memory.put(at, &[(40 + 8 * word, u64::from_le_bytes(whole))]);
    }
    at
}

/// The names, codes and the end of a walk from the task a thread runs, with what the walk begins with.
fn walk(memory: &mut Fixture, task: u64) -> (u64, Vec<Found>, u8) {
    memory.put(STATE + 200, &[(0, task)]);
    let mut awaiting = Awaiting::EMPTY;
    let frame = awaiting.start(STATE, &LAYOUT, &ASYNCIO, memory);
    let mut found = Vec::new();
    for _ in 0..100 {
        match awaiting.step(&LAYOUT, &ASYNCIO, memory) {
            Step::GoesOn => {}
            Step::Task => found.push(Found::Task(awaiting.name)),
            Step::Frame([code, instruction, _]) => found.push(Found::Frame(code, instruction)),
            Step::End(reason) => return (frame, found, reason),
        }
    }
    panic!("the walk does not end: {found:?}");
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Task([u64; TASK_WORDS]),
    Frame(u64, u64),
}

fn numbered(at: u64, number: u64, several: u64) -> Found {
    let mut words = [0; TASK_WORDS];
    words[..5].copy_from_slice(&[TASK, at, NAME_NUMBER | several, 8, number]);
    Found::Task(words)
}

#[test]
fn coroutines_of_awaiting_tasks_are_followed_to_the_future_they_await() {
    let mut memory = Fixture::default();
    let code = memory.code(0x50_000);
    let (one, two) = (put_number(&mut memory, 0x60_000, 1), put_number(&mut memory, 0x61_000, 2));
    put_task(&mut memory, 0x10_0000, 0x11_0000, one, (0x20_0000, IS_TASK));
    put_task(&mut memory, 0x20_0000, 0x21_0000, two, (0, IS_TASK));
    memory.put(0x11_0000, &[(8, COROUTINE), (72, code)]);
    put_coroutine(&mut memory, 0x21_0000, code, 5, 0x22_0000 | 1);
    put_coroutine(&mut memory, 0x22_0000, code | 1, 6, 0x33_0000);
    memory.put(0x33_0000, &[(8, 0x1234)]);
    let expected = vec![numbered(one, 1, 0), numbered(two, 2, 0), Found::Frame(code, 5), Found::Frame(code, 6)];
    assert_eq!(walk(&mut memory, 0x10_0000), (0x11_0000 + 72, expected, stop::COMPLETE));
}

#[test]
fn of_several_that_await_a_task_the_first_is_followed_also_through_a_future() {
    let mut memory = Fixture::default();
    let (one, two) = (put_number(&mut memory, 0x60_000, 1), put_number(&mut memory, 0x61_000, 2));
    put_task(&mut memory, 0x10_0000, 0x11_0000, one, (0x40_0000, IS_TASK | IS_SET));
    put_task(&mut memory, 0x15_0000, 0, 0, (0x20_0000, 0));
    put_task(&mut memory, 0x20_0000, 0, two, (0, IS_TASK));
    memory.put(0x40_0000, &[(24, 2), (32, 15), (40, 0x41_0000)]);
    memory.put(0x41_0000, &[(0, 0x99), (8, u64::MAX), (96, 0)]);
    memory.put(0x41_0000 + 128, &[(16, 0x15_0000), (24, 7), (32, 0x20_0000), (40, 8)]);
    let (_, found, reason) = walk(&mut memory, 0x10_0000);
    assert_eq!((found, reason), (vec![numbered(one, 1, SEVERAL), numbered(two, 2, 0)], stop::COMPLETE));
}

#[test]
fn of_a_name_only_its_own_characters_are_recorded() {
    let mut memory = Fixture::default();
    let long = b"0123456789012345678901234567890123456789012345678901234567890123";
    for (state, text, kind, recorded) in
        [(1 << 6, &b"worker-a"[..], NAME_ASCII, 8), (1 << 6, long, NAME_ASCII, 56), (0, &long[..3], NAME_TEXT, 0)]
    {
        let name = put_text(&mut memory, 0x60_000, state, text);
        put_task(&mut memory, 0x10_0000, 0, name, (0, IS_TASK));
        let (_, found, _) = walk(&mut memory, 0x10_0000);
        let [Found::Task(words)] = found[..] else { panic!("{found:?}") };
        let characters: Vec<u8> = words[NAME_AT..].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!((words[2], words[3]), (kind, text.len() as u64));
        assert_eq!(&characters[..recorded], &text[..recorded]);
        assert!(characters[recorded..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_is_no_task_with_a_coroutine_has_no_frame_to_begin_at() {
    let mut memory = Fixture::default();
    assert_eq!(walk(&mut memory, 0), (0, vec![], stop::COMPLETE));
    memory.put(0x11_0000, &[(8, CODE_TYPE)]);
    put_task(&mut memory, 0x10_0000, 0x11_0000, 0, (0, IS_TASK));
    assert_eq!(walk(&mut memory, 0x10_0000).0, 0);
    memory.put(0x11_0000, &[(8, COROUTINE)]);
    assert_eq!(walk(&mut memory, 0x10_0000).0, 0x11_0000 + 72);
    put_task(&mut memory, 0x10_0000, 0x11_0000, 0, (0, 0));
    assert_eq!(walk(&mut memory, 0x10_0000).0, 0);
}

#[test]
fn a_set_whose_keys_are_not_found_ends_the_walk() {
    let mut memory = Fixture::default();
    put_task(&mut memory, 0x10_0000, 0, 0, (0x40_0000, IS_TASK | IS_SET));
    memory.put(0x40_0000, &[(24, 1), (32, 7), (40, 0x41_0000)]);
    memory.put(0x41_0000, &[(0, 0)]);
    assert_eq!(walk(&mut memory, 0x10_0000).2, stop::UNREADABLE);
    memory.put(0x40_0000, &[(24, 0)]);
    assert_eq!(walk(&mut memory, 0x10_0000).2, stop::COMPLETE);
}
