//! A made-up stack of aarch64, walked by the table of made-up functions.

use std::collections::HashMap;

use profiler_common::unwind::aarch64::{Aarch64, X29, X30};
use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::stop;
use profiler_common::unwind::walk::{Code, Process, step};

use super::super::table::Table;
use super::fixture::{AARCH64, Described};

const LEAF: u64 = 0x1000;
const WITHOUT_FRAME_POINTER: u64 = 0x1100;
const WITH_FRAME_POINTER: u64 = 0x1200;
const OUTERMOST: u64 = 0x1300;
/// Where the code is loaded.
const BIAS: u64 = 0x5555_0000_0000;
const STACK: u64 = 0x7fff_0000;
/// What a signed return address has on top.
const SIGNATURE: u64 = 0x2a << 48;

struct Tape {
    table: Table,
    words: HashMap<u64, u64>,
}

impl Process for Tape {
    fn find_code(&mut self, address: u64) -> Code {
        if address < BIAS { Code::Nowhere } else { Code::Tabled { table: 0, bias: BIAS } }
    }

    fn find_rule(&mut self, _: u32, address: u64) -> Rule {
        self.table.find(address)
    }

    fn read(&mut self, address: u64) -> Option<u64> {
        self.words.get(&address).copied()
    }
}

/// Functions whose first instruction pushes `x29` and `x30`, and where the second sets `x29`.
fn functions() -> Table {
    let pushes = [0x44, 0x0e, 32, 0x9d, 4, 0x9e, 3];
    let described = Described::aarch64()
        .function(LEAF, 0x20, &[])
        .function(WITHOUT_FRAME_POINTER, 0x20, &pushes)
        .function(WITH_FRAME_POINTER, 0x20, &[&pushes[..], &[0x44, 0x0d, 29]].concat())
        .function(OUTERMOST, 0x20, &[0x07, 30]);
    described.source(AARCH64).build()
}

fn walk(pc: u64, link: u64, words: &[(u64, u64)]) -> (Vec<u64>, u8) {
    let mut tape = Tape { table: functions(), words: words.iter().copied().collect() };
    let mut cursor = Cursor { pc: BIAS + pc, sp: STACK, ..Cursor::EMPTY };
    cursor.kept[usize::from(X29)] = STACK + 0x100;
    cursor.kept[usize::from(X30)] = BIAS + link;
    let mut callers = Vec::new();
    loop {
        let code = tape.find_code(cursor.lookup_address());
        match step::<Aarch64>(&mut cursor, code, &mut tape) {
            stop::NONE if callers.len() < 10 => callers.push(cursor.pc - BIAS),
            stop => return (callers, stop),
        }
    }
}

#[test]
fn a_stack_of_aarch64_is_walked_from_a_leaf_to_its_begin() {
    let words = [
        (STACK, STACK + 0x80),
        (STACK + 8, SIGNATURE | (BIAS + WITH_FRAME_POINTER + 12)),
        (STACK + 0x80, 0),
        (STACK + 0x88, BIAS + OUTERMOST + 4),
    ];
    let callers = vec![WITHOUT_FRAME_POINTER + 8, WITH_FRAME_POINTER + 12, OUTERMOST + 4];
    assert_eq!(walk(LEAF + 4, callers[0], &words), (callers.clone(), stop::COMPLETE));
    // Interrupted before its first instruction, a function is still a leaf.
    assert_eq!(walk(WITHOUT_FRAME_POINTER, callers[0], &words), (callers, stop::COMPLETE));
}

#[test]
fn a_caller_that_claims_to_be_a_leaf_ends_the_walk() {
    let (callers, stop) = walk(LEAF, LEAF + 8, &[]);
    assert_eq!((callers, stop), (vec![LEAF + 8], stop::NO_PROGRESS));
}
