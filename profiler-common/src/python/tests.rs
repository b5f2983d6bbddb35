//! Walks of made-up interpreters, one for each way versions keep their frames.

mod asyncio;

use std::collections::BTreeMap;

use super::interpreter::{
    CFRAME_MARKERS, COLLECTING_IN_INTERPRETER, ENTRY_FRAMES, FRAME_IN_CFRAME, INSTRUCTION_INDEX, Interpreter, SHIMS,
};
use super::stop;
use super::thread::{Search, Sought};
use super::walk::Walk;
use crate::memory::Memory;

const CODE_TYPE: u64 = 0xc0de;
const STATE: u64 = 0x10_000;
const THREAD_POINTER: u64 = 0x7777_0000;

/// Words by their address; everything else cannot be read, but for what lies within 256 bytes behind a word.
#[derive(Default)]
struct Fixture(BTreeMap<u64, u64>);

impl Fixture {
    fn put(&mut self, address: u64, words: &[(u64, u64)]) {
        self.0.entry(address).or_default();
        self.0.extend(words.iter().map(|(offset, value)| (address + offset, *value)));
    }

    fn code(&mut self, address: u64) -> u64 {
        self.put(address, &[(8, CODE_TYPE), (40, 7), (104, address + 1), (112, address + 2), (120, address + 3)]);
        address
    }
}

impl Memory for Fixture {
    fn read_word(&mut self, address: u64) -> Option<u64> {
        let (known, _) = self.0.range(..=address).next_back()?;
        (address - known < 256).then(|| self.0.get(&address).copied().unwrap_or_default())
    }

    fn read_words<const N: usize>(&mut self, address: u64, bytes: u32, to: &mut [u64; N]) -> bool {
        let words = bytes as usize / 8;
        assert!(words <= N);
        for (at, word) in to[..words].iter_mut().enumerate() {
            let Some(value) = self.read_word(address + at as u64 * 8) else { return false };
            *word = value;
        }
        true
    }
}

/// Code at 0 of a frame, its caller at 8, the instruction at 56 and the owner at 70.
const LAYOUT: Interpreter = Interpreter {
    collecting: 0,
    interpreters: 0x1000,
    code_type: CODE_TYPE,
    lock: 0,
    flags: 0,
    frame_bytes: 80,
    interpreter_next: 0,
    interpreter_threads: 8,
    thread_next: 8,
    thread_id: 16,
    thread_frame: 24,
    thread_cframe: 32,
    thread_bytes: 256,
    cframe_frame: 0,
    cframe_previous: 8,
    frame_code: 0,
    frame_previous: 8,
    frame_instruction: 56,
    frame_owner: 70,
    object_type: 8,
    code_first_line: 40,
    code_name: 112,
    code_filename: 104,
    code_lines: 120,
};

#[test]
fn who_holds_the_lock_while_garbage_is_collected_is_collecting_it() {
    let (thread, other, lock) = (0x5000, 0x6000, 0x9000);
    let words =
        [(thread + 16, 0x2000), (other + 16, 0x2000), (0x2000 + 0x330, 0xffff_ffff_0000_0001), (lock + 8, thread)];
    let mut memory = Fixture(words.into_iter().collect());
    let python = Interpreter { collecting: 0x330, flags: COLLECTING_IN_INTERPRETER, ..LAYOUT };
    assert!(python.collects(thread, lock, &mut memory));
    assert!(!python.collects(other, lock, &mut memory), "runs without the lock meanwhile");
    assert!(!python.collects(thread, 0, &mut memory), "has no lock");
    let in_runtime = Interpreter { collecting: 0x2330, ..LAYOUT };
    assert!(in_runtime.collects(thread, lock, &mut memory));
    memory.0.insert(0x2330, 0xffff_ffff_0000_0000);
    assert!(!python.collects(thread, lock, &mut memory), "nothing is being collected");
}

/// The owner byte of a frame, as its word holds it.
const fn owner(value: u64) -> (u64, u64) {
    (64, value << 48)
}

/// The code or the marker of each entry, and why the walk ended.
fn walk(memory: &mut Fixture, layout: &Interpreter) -> (Vec<(char, u64)>, u8) {
    let (mut walk, mut entries) = (Walk::EMPTY, Vec::new());
    let begun = walk.start(STATE, layout, memory);
    assert_eq!(begun, stop::GOES_ON);
    loop {
        let step = walk.step(layout, memory);
        if step.entry[0] != 0 {
            entries.push(('f', step.entry[0]));
        }
        if step.marker != 0 {
            entries.push(('m', step.marker));
        }
        if step.stop != stop::GOES_ON {
            return (entries, step.stop);
        }
    }
}

#[test]
fn shims_mark_the_frames_of_their_activation() {
    let mut memory = Fixture::default();
    let (inner, outer) = (memory.code(0x50_000), memory.code(0x51_000));
    memory.put(STATE, &[(24, 0x20_000)]);
    memory.put(0x20_000, &[(0, inner), (8, 0x20_800), (56, 99), owner(0)]);
    memory.put(0x20_800, &[(0, outer | 1), (8, 0x90_000), owner(1)]);
    memory.put(0x90_000, &[(0, 3), (8, 0x21_000), owner(3)]);
    memory.put(0x21_000, &[(0, outer), (8, 0x91_000), owner(0)]);
    memory.put(0x91_000, &[(0, 3), (8, 0), owner(4)]);
    let expected = [('f', inner), ('f', outer), ('m', 0x90_000), ('f', outer), ('m', 0x91_000)];
    let layout = Interpreter { flags: SHIMS, ..LAYOUT };
    assert_eq!(walk(&mut memory, &layout), (expected.to_vec(), stop::COMPLETE));
}

#[test]
fn the_shim_in_the_state_itself_ends_the_stack() {
    let mut memory = Fixture::default();
    let code = memory.code(0x50_000);
    memory.put(STATE, &[(24, 0x20_000)]);
    memory.put(STATE + 200, &[owner(3)]);
    memory.put(0x20_000, &[(0, code), (8, STATE + 200), owner(0)]);
    let layout = Interpreter { flags: SHIMS, ..LAYOUT };
    assert_eq!(walk(&mut memory, &layout), (vec![('f', code)], stop::COMPLETE));
}

#[test]
fn frames_of_the_c_stack_mark_the_frames_before_them() {
    let mut memory = Fixture::default();
    let code = memory.code(0x50_000);
    // The state's own frame of the C stack is the last, and marks nothing.
    memory.put(STATE, &[(24, 0x90_000), (32, 0x90_000), (128, 0)]);
    memory.put(0x90_000, &[(0, 0x20_000), (8, 0x91_000)]);
    memory.put(0x91_000, &[(0, 0x22_000), (8, STATE + 128)]);
    memory.put(0x20_000, &[(0, code), (8, 0x21_000), owner(0)]);
    memory.put(0x21_000, &[(0, code), (8, 0x22_000), owner(1)]);
    memory.put(0x22_000, &[(0, code), (8, 0), owner(1)]);
    let layout = Interpreter { flags: FRAME_IN_CFRAME | CFRAME_MARKERS | ENTRY_FRAMES, ..LAYOUT };
    let expected = [('f', code), ('f', code), ('m', 0x90_000), ('f', code), ('m', 0x91_000)];
    assert_eq!(walk(&mut memory, &layout), (expected.to_vec(), stop::COMPLETE));
}

#[test]
fn an_innermost_frame_that_is_being_made_is_left_out_and_any_other_ends_the_walk() {
    let mut memory = Fixture::default();
    let code = memory.code(0x50_000);
    memory.put(0x60_000, &[(8, 0x1234)]);
    memory.put(STATE, &[(24, 0x20_000)]);
    memory.put(0x20_000, &[(0, 0x60_000), (8, 0x21_000)]);
    memory.put(0x21_000, &[(0, code), (8, 0x22_000)]);
    memory.put(0x22_000, &[(0, 0x60_000), (8, 0x23_000)]);
    assert_eq!(walk(&mut memory, &LAYOUT), (vec![('f', code)], stop::NOT_A_FRAME));
    memory.put(0x22_000, &[(0, 0xffff_0000)]);
    assert_eq!(walk(&mut memory, &LAYOUT), (vec![('f', code)], stop::UNREADABLE));
}

#[test]
fn an_instruction_that_is_counted_has_four_bytes() {
    let mut memory = Fixture::default();
    let code = memory.code(0x50_000);
    memory.put(STATE, &[(24, 0x20_000)]);
    memory.put(0x20_000, &[(0, code), (56, 0x55_0000_0012)]);
    let layout = Interpreter { flags: INSTRUCTION_INDEX, ..LAYOUT };
    let mut walk = Walk::EMPTY;
    walk.start(STATE, &layout, &mut memory);
    assert_eq!(walk.step(&layout, &mut memory).entry[1], 0x12);
}

#[test]
fn a_code_object_made_at_the_same_address_has_another_fingerprint() {
    let mut memory = Fixture::default();
    let mut words = [0; super::interpreter::CODE_WORDS];
    let code = memory.code(0x50_000);
    assert!(memory.read_words(code, 160, &mut words));
    let before = LAYOUT.fingerprint(&words);
    for offset in [40, 104, 112, 120] {
        let mut changed = words;
        changed[offset / 8] += 1;
        assert_ne!(LAYOUT.fingerprint(&changed), before, "{offset}");
    }
}

#[test]
fn a_thread_is_found_in_the_lists_of_all_interpreters() {
    let mut memory = Fixture::default();
    memory.put(0x1000, &[(0, 0x2000), (8, 0x3000)]);
    memory.put(0x2000, &[(0, 0x3000), (8, 0x4000)]);
    memory.put(0x3000, &[(0, 0), (8, 0x5000)]);
    memory.put(0x4000, &[(8, 0), (16, 1), (24, 0x9000)]);
    // A thread that is being started by the one searched for.
    memory.put(0x5000, &[(8, STATE), (16, THREAD_POINTER), (24, 0)]);
    memory.put(STATE, &[(8, 0), (16, THREAD_POINTER), (24, 0x9000)]);
    let mut find = |pointer| {
        let mut search = Search::start(&LAYOUT, &mut memory).unwrap();
        loop {
            match search.step(&Sought { thread_pointer: pointer, stack_pointer: 0 }, &LAYOUT, &mut memory) {
                stop::GOES_ON => {}
                reason => return (reason, search.thread),
            }
        }
    };
    assert_eq!(find(THREAD_POINTER), (stop::COMPLETE, STATE));
    assert_eq!(find(1), (stop::COMPLETE, 0x4000));
    assert_eq!(find(3).0, stop::NO_STATE);
}

/// A thread with a state in the main interpreter and one in a newer interpreter, which names another thread; and that other
/// thread's own. The states of the first have a `CFrame` each at these addresses.
fn two_interpreters(inner: u64, outer: u64) -> Fixture {
    let mut memory = Fixture::default();
    memory.put(0x1000, &[(0, 0x2000), (8, 0x3000)]);
    memory.put(0x2000, &[(0, 0x3000), (8, 0x4000)]);
    memory.put(0x3000, &[(0, 0), (8, 0x5000)]);
    memory.put(0x4000, &[(8, 0), (16, 1), (24, inner), (32, inner)]);
    memory.put(0x5000, &[(8, STATE), (16, 1), (24, 0x7000), (32, 0x7000)]);
    memory.put(STATE, &[(8, 0), (16, THREAD_POINTER), (24, outer), (32, outer)]);
    for frame in [inner, outer, 0x7000] {
        memory.put(frame, &[(0, 0x20_000)]);
    }
    memory
}

/// All states of a thread, in the order in which they are found.
fn states(memory: &mut Fixture, layout: &Interpreter, sought: Sought) -> Vec<u64> {
    let mut search = Search::start(layout, memory).unwrap();
    let mut found = Vec::new();
    loop {
        match search.step(&sought, layout, memory) {
            stop::GOES_ON => {}
            stop::COMPLETE => {
                found.push(search.thread);
                if !search.has_several() || search.pass(layout, memory) != stop::GOES_ON {
                    return found;
                }
            }
            _ => return found,
        }
    }
}

#[test]
fn a_thread_has_a_state_in_each_interpreter_it_runs_code_of() {
    let mut memory = two_interpreters(0x7776_1000, 0x7776_2000);
    let first = Sought { thread_pointer: THREAD_POINTER, stack_pointer: 0x7776_0800 };
    let other = Sought { thread_pointer: 1, stack_pointer: 0x6800 };
    // From 3.13 on, a state names the thread that runs it.
    let named = Interpreter { flags: SHIMS, ..LAYOUT };
    assert_eq!(states(&mut memory, &named, other), [0x4000, 0x5000]);
    assert_eq!(states(&mut memory, &named, first), [STATE]);
    // Before, it names the thread that made it; what it has on the C stack tells who runs it.
    let marked = Interpreter { flags: FRAME_IN_CFRAME | CFRAME_MARKERS | ENTRY_FRAMES, ..LAYOUT };
    assert_eq!(states(&mut memory, &marked, first), [0x4000, STATE]);
    assert_eq!(states(&mut memory, &marked, Sought { thread_pointer: 0x7100, ..other }), [0x5000]);
    // Without that the oldest one counts.
    assert_eq!(states(&mut memory, &LAYOUT, other), [0x5000]);
    assert_eq!(states(&mut memory, &LAYOUT, first), [STATE]);
}

#[test]
fn a_first_thread_has_nothing_above_its_stack() {
    let mut memory = two_interpreters(0x7fff_0000, 0x7fff_1000);
    let marked = Interpreter { flags: FRAME_IN_CFRAME | CFRAME_MARKERS | ENTRY_FRAMES, ..LAYOUT };
    let first = Sought { thread_pointer: THREAD_POINTER, stack_pointer: 0x7ffe_f000 };
    assert_eq!(states(&mut memory, &marked, first), [0x4000, STATE]);
    assert_eq!(states(&mut memory, &marked, Sought { stack_pointer: 0x7fff_0800, ..first }), [STATE]);
}
