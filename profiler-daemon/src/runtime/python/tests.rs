//! Made-up interpreters: what is found, what is refused, and with which words.

use std::time::{Duration, Instant};

use profiler_common::python::interpreter::{CODE_WORDS, FRAME_IN_CFRAME};
use profiler_common::python::stop;

use super::fixture::{CODE_TYPE, Hashes, MadeUp, PID, RUNTIME};
use super::fuzzing::MEMORY_AT;
use super::layout::Instructions;
use super::{CodeObject, Python, Pythons, Refusal, threads};
use crate::process::{Executables, Image};
use crate::profile::{AsyncEntry, ImageId, ProcessId, PythonFrame, Reason};
use crate::runtime::memory::ProcessMemory;

const RELEASE_3_11: u32 = 0x030b_02f0;

/// What is told about the one executable; empty if it has nothing to do with Python.
fn told(made: &MadeUp) -> String {
    let found = made.detect();
    assert!(found.len() <= 1);
    found.first().map_or(String::new(), |detected| match detected.found {
        Ok(python) => python.layout.version.to_string(),
        Err(refusal) => refusal.to_string(),
    })
}

#[test]
fn executables_are_told_by_their_symbols_with_either_hash_table() {
    for hashes in [Hashes::Gnu, Hashes::SystemV] {
        for (symbols, expected) in [
            (&[("_PyRuntime", RUNTIME, 656), ("PyCode_Type", CODE_TYPE, 408)][..], "3.9"),
            (&[("other", 1, 1), ("PyCode_Type", CODE_TYPE, 408), ("_PyRuntime", RUNTIME, 672)], "3.10"),
            (&[("PyCode_Type", CODE_TYPE, 416), ("_PyRuntime", RUNTIME, 1464)], "3.8"),
            (&[("PyCode_Type", CODE_TYPE, 400)], "Python older than 3.8 is not supported"),
            (&[("_PyRuntime", RUNTIME, 9), ("PyCode_Type", CODE_TYPE, 400)], "Python older than 3.8 is not supported"),
            (&[("pypy_setup_home", 1, 1)], "PyPy is not supported"),
        ] {
            assert_eq!(told(&MadeUp { file: "/usr/bin/app", ..MadeUp::exporting(symbols, hashes) }), expected);
        }
        assert_eq!(told(&MadeUp { file: "/usr/bin/app", ..MadeUp::exporting(&[("main", 1, 1)], hashes) }), "");
        assert_eq!(told(&MadeUp::exporting(&[], hashes)), Refusal::NoSymbols.to_string());
    }
}

#[test]
fn a_symbol_that_is_only_used_is_not_the_interpreter() {
    let mut made = MadeUp::interpreter(RELEASE_3_11, 166_688);
    assert_eq!(told(&made), "3.11.2");
    for symbol in 1..=3 {
        made.put(0x400 + 24 * symbol + 6, &[0, 0]);
    }
    assert_eq!(told(&made), Refusal::NoSymbols.to_string());
}

#[test]
fn versions_that_are_not_known_are_refused_by_number() {
    for (number, expected) in [
        (0x0310_00f0, "Python 3.16.0 is newer than this profilerd knows"),
        (0x030f_00b4, "Python 3.15.0b4 is a pre-release, which is not supported"),
        (0x030d_05f0, "the memory of this Python 3.13.5 is not laid out as that version's"),
        (0x030c_01f0, "3.12.1"),
    ] {
        assert_eq!(told(&MadeUp::interpreter(number, 1)), expected);
    }
}

#[test]
fn machine_code_of_other_processors_is_refused_where_the_name_is_python() {
    let made = MadeUp::interpreter(RELEASE_3_11, 166_688);
    for (at, byte, expected) in [
        (4, 1, "Python in a 32-bit process is not supported"),
        (18, 183, "Python frames are supported on x86-64 only"),
        (0, 0, "the interpreter's symbols were stripped from it: `_PyRuntime` is missing"),
    ] {
        let mut other = made.clone();
        other.put(at, &[byte]);
        assert_eq!(told(&other), expected);
        other.file = "/usr/bin/app";
        assert_eq!(told(&other), "");
    }
}

/// Offsets in the made-up process.
const INTERPRETER: u64 = 0x1100;
const THREAD: u64 = 0x1200;
const CFRAME: u64 = 0x1f00;
const FRAMES: u64 = 0x2000;
const CODE: u64 = 0x2200;
const NAME: u64 = 0x2400;
const FILE: u64 = 0x2480;
const LINES: u64 = 0x2500;

/// A 3.11 with one thread that runs two frames of one function, in one activation of the loop.
pub(super) fn with_a_thread() -> MadeUp {
    let mut made = MadeUp::interpreter(RELEASE_3_11, 166_688);
    made.put_pointer(RUNTIME + 40, INTERPRETER);
    made.put_pointer(INTERPRETER + 16, THREAD);
    made.put_pointer(THREAD + 16, INTERPRETER);
    made.put_pointer(THREAD + 56, CFRAME);
    made.put_words(THREAD + 152, &[0x1234, 99]);
    made.put_pointer(CFRAME + 8, FRAMES);
    made.put_pointer(CFRAME + 16, THREAD + 300);
    for (frame, previous, instruction, is_entry) in [(FRAMES, FRAMES + 0x80, 4, 0), (FRAMES + 0x80, 0, 8, 1)] {
        made.put_pointer(frame + 32, CODE);
        if previous != 0 {
            made.put_pointer(frame + 48, previous);
        }
        made.put_pointer(frame + 56, CODE + 184 + instruction);
        made.put(frame + 68, &[is_entry]);
    }
    put_code(&mut made);
    made
}

fn put_code(made: &mut MadeUp) {
    made.put_pointer(CODE + 8, CODE_TYPE);
    made.put_words(CODE + 16, &[6]);
    made.put(CODE + 72, &40u32.to_le_bytes());
    made.put_pointer(CODE + 112, FILE);
    for field in [120, 128] {
        made.put_pointer(CODE + field, NAME);
    }
    made.put_pointer(CODE + 136, LINES);
    // Two bytes a character.
    made.put_words(NAME + 16, &[2, 0, 2 << 2 | 1 << 5]);
    made.put(NAME + 72, &[0xfd, 0x51, 0x70, 0x65]);
    made.put_words(FILE + 16, &[4, 0, 1 << 2 | 1 << 5 | 1 << 6]);
    made.put(FILE + 48, b"a.py");
    // Two units on the first line, the others on the next.
    made.put_words(LINES + 16, &[5]);
    made.put(LINES + 32, &[0x81, 0, 0x80 | 11 << 3 | 3, 0, 0]);
}

fn python_of(made: &MadeUp) -> Python {
    made.detect()[0].found.unwrap()
}

#[test]
fn a_thread_is_walked_and_its_frames_are_named() {
    let made = with_a_thread();
    let (python, world) = (python_of(&made), made.world());
    assert!(python.interpreter.has(FRAME_IN_CFRAME) && python.runtime == MEMORY_AT + RUNTIME);
    let memory = ProcessMemory::new(PID, &world);
    let [thread] = &threads::read_threads(&python, &memory)[..] else { panic!() };
    assert_eq!((thread.thread_pointer, thread.native_id, thread.stop), (0x1234, Some(99), stop::COMPLETE));
    let named = thread.entries.iter().map(|[code, instruction, fingerprint]| {
        let object = CodeObject::read(*code, *fingerprint, &python, &memory).ok()?;
        Some((object.line_of(*instruction), object.qualified_name, object.file))
    });
    let frame = |line| Some((Some(line), "函数".to_owned(), "a.py".to_owned()));
    assert_eq!(named.collect::<Vec<_>>(), [frame(41), frame(41), None], "the last one is a marker");
    assert_eq!(thread.entries[2], [0, MEMORY_AT + CFRAME, 0]);
}

#[test]
fn only_threads_that_are_wanted_are_read_and_only_while_there_is_time() {
    let made = with_a_thread();
    let (python, world) = (python_of(&made), made.world());
    let memory = ProcessMemory::new(PID, &world);
    let read = |wanted: u64, until| threads::read_wanted(Some(&[wanted].into()), &python, &memory, until);
    let later = Instant::now() + Duration::from_secs(60);
    let [thread] = &read(0x1234, later)[..] else { panic!() };
    assert_eq!((thread.thread_pointer, thread.entries.len()), (0x1234, 3));
    assert!(read(0x5678, later).is_empty());
    assert!(read(0x1234, Instant::now()).is_empty());
}

#[test]
fn an_instruction_outside_of_its_code_has_no_line_and_the_one_before_it_has_the_first() {
    let made = with_a_thread();
    let (python, world) = (python_of(&made), made.world());
    let object = read_code(&made, &python).unwrap();
    let start = MEMORY_AT + CODE + 184;
    for (instruction, line) in [(start - 2, Some(40)), (start, Some(40)), (start + 10, Some(41)), (start + 12, None)] {
        assert_eq!(object.line_of(instruction), line);
    }
    assert_eq!(object.line_of(start - 4), None);
    assert_eq!(object.is_at_call(start, &ProcessMemory::new(PID, &world)), Some(false));
}

fn read_code(made: &MadeUp, python: &Python) -> Result<CodeObject, super::Unnamed> {
    let mut words = [0; CODE_WORDS];
    bytemuck::cast_slice_mut(&mut words).copy_from_slice(&made.bytes[CODE as usize..][..CODE_WORDS * 8]);
    let fingerprint = python.interpreter.fingerprint(&words);
    CodeObject::read(MEMORY_AT + CODE, fingerprint, python, &ProcessMemory::new(PID, &made.world()))
}

#[test]
fn an_instruction_in_a_copy_of_the_code_has_the_line_of_its_original() {
    let mut made = with_a_thread();
    let mut python = python_of(&made);
    python.layout.instructions = Instructions::Copied { at: 184, copies: 176 };
    made.put_pointer(CODE + 176, 0x2600);
    made.put_words(0x2600, &[3, MEMORY_AT + CODE + 184, 0, 0x77_0000]);
    let object = read_code(&made, &python).unwrap();
    assert_eq!((object.line_of(0x77_0000), object.line_of(0x77_0004)), (Some(40), Some(41)));
    assert_eq!((object.holds(0x77_000a), object.holds(0x77_000c)), (true, false));
}

#[test]
fn lists_that_lead_elsewhere_are_refused_and_circular_ones_end() {
    let mut made = with_a_thread();
    made.put_pointer(THREAD + 8, THREAD);
    let python = python_of(&made);
    let world = made.world();
    assert_eq!(threads::read_threads(&python, &ProcessMemory::new(PID, &world)).len(), 1);
    made.put_words(THREAD + 16, &[0]);
    assert_eq!(told(&made), "the memory of this Python 3.11.2 is not laid out as that version's");
}

#[test]
fn names_and_tables_are_bounded_and_what_is_no_character_is_replaced() {
    let mut made = with_a_thread();
    let python = python_of(&made);
    made.put(NAME + 72, &[0x00, 0xd8]);
    made.put_words(LINES + 16, &[1 << 40]);
    let object = read_code(&made, &python).unwrap();
    assert_eq!((object.qualified_name.as_str(), object.line_of(MEMORY_AT + CODE + 184)), ("\u{fffd}数", None));
    made.put_words(FILE + 16, &[u64::MAX]);
    assert_eq!(read_code(&made, &python), Err(super::Unnamed::Unreadable));
}

#[test]
fn what_is_not_present_is_left_to_who_waits_for_it() {
    const LATER: Duration = Duration::from_secs(60);
    let made = with_a_thread();
    let (world, pythons) = (made.world_without(std::slice::from_ref(&(NAME..NAME + 80))), Pythons::default());
    let id = ImageId { process: ProcessId { pid: PID, start_ns: 0 }, exec_ns: 0 };
    let image = Image::read(id, &Executables::default(), &world).unwrap();
    let mut words = [0; CODE_WORDS];
    bytemuck::cast_slice_mut(&mut words).copy_from_slice(&made.bytes[CODE as usize..][..CODE_WORDS * 8]);
    let fingerprint = python_of(&made).interpreter.fingerprint(&words);
    let (code, instruction) = (MEMORY_AT + CODE, MEMORY_AT + CODE + 184);
    let frame = PythonFrame { code, instruction, fingerprint, place: None };
    for _ in 0..2 {
        let absent = pythons.observe_present(&image, (&[frame], &[]), &world);
        assert_eq!(absent, [AsyncEntry::Frame(frame)]);
        assert_eq!(pythons.resolve(id, &frame), Err(Reason::CodeUnreadable));
    }
    pythons.observe_place(&image, &[AsyncEntry::Frame(frame)], Instant::now(), &world);
    assert_eq!(pythons.resolve(id, &frame), Err(Reason::CodeUnreadable), "there was no time");
    pythons.observe_place(&image, &[AsyncEntry::Frame(frame)], Instant::now() + LATER, &world);
    assert_eq!(&*pythons.resolve(id, &frame).unwrap().name, "函数");
    assert_eq!(pythons.observe_present(&image, (&[frame], &[]), &world), []);
}
