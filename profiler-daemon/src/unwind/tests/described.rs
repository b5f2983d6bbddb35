//! From the instructions of DWARF to rules.

use profiler_common::unwind::rule::{FIRST_SCRATCH, LOST, Rule, base, cfa};

use super::super::omission::Omission;
use super::fixture::{AARCH64, CODE, Described, X86_64};

/// The rule after instructions at the begin of a function, and what is left out of it.
fn translate(instructions: &[u8]) -> (Rule, Vec<Omission>) {
    let table = Described::x86_64().function(CODE, 0x10, instructions).source(X86_64).build();
    (table.find(CODE + 8), table.omissions.iter().map(|(reason, _)| reason).collect())
}

fn rule(kind: u8, offset: i32) -> Rule {
    Rule { offset, ..Rule::new(kind) }
}

const RBP: u8 = 6;
const RBX: u8 = 3;
const LINKAGE: &[u8] = &[0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];

#[test]
fn what_compilers_write_becomes_a_rule() {
    let on_stack = rule(cfa::STACK, 16);
    let cases: [(&str, &[u8], Rule); 12] = [
        ("nothing", &[], rule(cfa::STACK, 8)),
        ("a push", &[0x0e, 16], on_stack),
        ("rbp pushed", &[0x0e, 16, 0x86, 2], Rule { saved: [-2, 0, 0, 0, 0, 0], ..on_stack }),
        ("r15 pushed", &[0x0e, 16, 0x8f, 2], Rule { saved: [0, 0, 0, 0, 0, -2], ..on_stack }),
        ("r15 pushed and back", &[0x0e, 16, 0x8f, 2, 0xcf], on_stack),
        ("a register that is not kept", &[0x0e, 16, 0x80, 2], on_stack),
        ("rbp as frame", &[0x0c, RBP, 16], Rule { register: 0, ..rule(cfa::REGISTER, 16) }),
        ("r10 as frame", &[0x0c, 10, 0], Rule { register: FIRST_SCRATCH + 7, ..rule(cfa::REGISTER, 0) }),
        ("remembered", &[0x0a, 0x0e, 64, 0x0b], rule(cfa::STACK, 8)),
        ("no caller", &[0x07, 16], Rule::OUTERMOST),
        ("stack pointer as it should be", &[0x14, 7, 0], rule(cfa::STACK, 8)),
        ("a linkage stub", LINKAGE, rule(cfa::LINKAGE_STUB, 11)),
    ];
    for (name, instructions, expected) in cases {
        assert_eq!(translate(instructions), (expected, vec![]), "{name}");
    }
}

#[test]
fn a_cfa_kept_in_memory_is_followed() {
    // breg7 152, deref, plus_uconst 8; breg7 152, deref, lit8, plus; breg6 -8, deref; breg6 -8.
    let on_stack = Rule { addend: 8, ..rule(cfa::AT_STACK, 152) };
    let cases: [(&[u8], Rule); 4] = [
        (&[0x0f, 6, 0x77, 0x98, 1, 0x06, 0x23, 8], on_stack),
        (&[0x0f, 6, 0x77, 0x98, 1, 0x06, 0x38, 0x22], on_stack),
        (&[0x0f, 3, 0x76, 0x78, 0x06], rule(cfa::AT_REGISTER, -8)),
        (&[0x0f, 2, 0x76, 0x78], rule(cfa::REGISTER, -8)),
    ];
    for (instructions, expected) in cases {
        assert_eq!(translate(instructions), (expected, vec![]), "{instructions:x?}");
    }
}

#[test]
fn registers_of_a_realigned_frame_are_found_from_where_the_cfa_lies() {
    // The CFA is the word at rbp - 8; rbp was saved at rbp + 0, rbx at rbp - 16, r12 relative to the CFA.
    let instructions = [0x0f, 3, 0x76, 0x78, 0x06, 0x10, RBP, 2, 0x76, 0, 0x10, RBX, 2, 0x76, 0x70, 0x8c, 4];
    let expected = Rule { base: base::REGISTER, saved: [1, -1, LOST, 0, 0, 0], ..rule(cfa::AT_REGISTER, -8) };
    assert_eq!(translate(&instructions), (expected, vec![Omission::RegisterPlace]));
}

#[test]
fn a_place_relative_to_the_register_of_the_cfa_is_one_relative_to_the_cfa() {
    let expected = Rule { saved: [0, -2, 0, 0, 0, 0], ..rule(cfa::STACK, 16) };
    assert_eq!(translate(&[0x0e, 16, 0x10, RBX, 2, 0x77, 0]), (expected, vec![]));
}

#[test]
fn a_register_whose_place_cannot_be_stated_is_lost_and_the_rule_is_not() {
    let lost = Rule { saved: [0, LOST, 0, 0, 0, 0], ..rule(cfa::STACK, 8) };
    let cases: [(&str, &[u8]); 6] = [
        ("at the CFA itself", &[0x05, RBX, 0]),
        ("between words", &[0x10, RBX, 2, 0x77, 4]),
        ("too far", &[0x05, RBX, 0x80, 0x80, 0x80, 1]),
        ("from another register", &[0x10, RBX, 2, 0x76, 8]),
        ("in another register", &[0x09, RBX, 0]),
        ("computed", &[0x14, RBX, 2]),
    ];
    for (name, instructions) in cases {
        assert_eq!(translate(instructions), (lost, vec![Omission::RegisterPlace]), "{name}");
    }
}

#[test]
fn what_rules_cannot_state_is_unsupported_and_counted() {
    let cases: [(&[u8], Omission); 8] = [
        (&[0x0c, 17, 8], Omission::CfaRegister),
        (&[0x0c, RBP, 0x80, 0x80, 0x80, 0x80, 0x10], Omission::CfaOffset),
        (&[0x0f, 7, 0x77, 0, 0x06, 0x23, 0x80, 0x80, 4], Omission::CfaOffset),
        (&[0x0f, 1, 0x38], Omission::CfaExpression),
        (&[0x0f, 3, 0x77, 0, 0x12], Omission::CfaExpression),
        (&[0x90, 2], Omission::ReturnAddress),
        (&[0x09, 16, 1], Omission::ReturnAddress),
        (&[0x87, 3], Omission::StackPointer),
    ];
    for (instructions, reason) in cases {
        assert_eq!(translate(instructions), (Rule::UNSUPPORTED, vec![reason]), "{instructions:x?}");
    }
}

#[test]
fn instructions_that_make_no_sense_end_what_is_known_of_a_function() {
    // One byte on, rbp pushed; one byte on, a state that was never remembered.
    let instructions = [0x41, 0x0e, 16, 0x41, 0x0b];
    let table = Described::x86_64().function(CODE, 0x10, &instructions).source(X86_64).build();
    let found = [CODE, CODE + 1, CODE + 2, CODE + 15, CODE + 16].map(|address| table.find(address));
    let known = [rule(cfa::STACK, 8), rule(cfa::STACK, 16)];
    assert_eq!(found, [known[0], known[1], Rule::UNSUPPORTED, Rule::UNSUPPORTED, Rule::NONE]);
    assert_eq!(table.omissions.count(Omission::MalformedFrame), 1);
}

#[test]
fn on_aarch64_the_link_register_is_one_of_the_kept() {
    let translate = |instructions: &[u8]| {
        let section = Described::aarch64().function(CODE, 0x10, instructions);
        section.source(AARCH64).build().find(CODE)
    };
    assert_eq!(translate(&[]), rule(cfa::STACK, 0));
    // stp x29, x30, [sp, #-32]!
    let pushed = Rule { saved: [-4, -3, 0, 0, 0, 0], ..rule(cfa::STACK, 32) };
    assert_eq!(translate(&[0x0e, 32, 0x9d, 4, 0x9e, 3]), pushed);
    // Signed return addresses change nothing here.
    assert_eq!(translate(&[0x2d, 0x0e, 32, 0x9d, 4, 0x9e, 3]), pushed);
    assert_eq!(translate(&[0x0c, 29, 32]), rule(cfa::REGISTER, 32));
    assert_eq!(translate(&[0x07, 30]), Rule::OUTERMOST);
    assert_eq!(translate(&[0x0c, 9, 0]), Rule::UNSUPPORTED);
    assert_eq!(translate(LINKAGE), Rule::UNSUPPORTED);
}
