//! Made-up machines: what is found, what is refused and with which words, and what frames stand for.

use profiler_common::hotspot::{CODE_BY_OFFSET, Heap};

use super::fixture::{
    APART, CLASS_SYMBOL, CODE_AFTER, COMPILE_ID, COMPILED, ENTRY_RETURN, HEAP, HEAP_END, INNER, INSIDE, INTERPRETER,
    MadeMachine, NATIVE, OUTER, RELEASES, Release, SEGMENTS, VARIABLES, image_in, pc_in,
};
use super::{HotSpots, JavaMethod, Refusal};
use crate::process::fixture::FixtureWorld;
use crate::profile::{JavaCode, JavaFrame, Reason};
use crate::runtime::python::fixture::{Hashes, MadeUp};
use crate::runtime::python::fuzzing::MEMORY_AT;

const IN_COMPILED: JavaCode = JavaCode::Compiled { compile_id: COMPILE_ID };

fn frame(place: u16, pc: u64, code: JavaCode) -> JavaFrame {
    JavaFrame { place, pc, code }
}

/// Reads a frame and names it.
fn resolve_in(world: &FixtureWorld, frame: JavaFrame) -> Result<Vec<JavaMethod>, Reason> {
    let (hotspots, image) = (HotSpots::default(), image_in(world));
    hotspots.observe_present(&image, &[frame], world);
    hotspots.resolve(image.id, &frame).map(|methods| methods.to_vec())
}

fn resolve(made: &MadeMachine, frame: JavaFrame) -> Result<Vec<JavaMethod>, Reason> {
    resolve_in(&made.world(), frame)
}

/// A frame in few words: names, lines, and what is said of them.
fn told(methods: Result<Vec<JavaMethod>, Reason>) -> String {
    let word = |method: &JavaMethod| {
        let file = method.file.as_deref().unwrap_or("-");
        let line = method.line.map_or("-".to_owned(), |line| line.to_string());
        let marks = [(method.inlined, " inlined"), (method.interpreted, " interpreted"), (method.approximate, " near")];
        let marks: String = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
        format!("{} {file}:{line}{marks}", method.name)
    };
    match methods {
        Ok(methods) => methods.iter().map(word).collect::<Vec<_>>().join("; "),
        Err(reason) => reason.name().to_owned(),
    }
}

/// What is said of a process's machine; empty if it has none.
fn version(world: &FixtureWorld) -> String {
    match HotSpots::default().version(&image_in(world), world) {
        None => String::new(),
        Some(Ok(release)) => release.to_string(),
        Some(Err(refusal)) => refusal.to_string(),
    }
}

#[test]
fn each_release_tells_walks_where_its_code_is() {
    for release in RELEASES {
        let world = MadeMachine::of(release).world();
        let hotspot = HotSpots::default().hotspot(&image_in(&world), &world).unwrap();
        let heap = Heap { start: MEMORY_AT + HEAP, end: MEMORY_AT + HEAP_END, segments: MEMORY_AT + SEGMENTS };
        assert_eq!(hotspot.heaps, [heap, Heap::default(), Heap::default(), Heap::default()]);
        let fields = [hotspot.name, hotspot.code_begin, hotspot.code_end, hotspot.frame_size, hotspot.frame_complete];
        let compiled = [hotspot.deopt_handler, hotspot.original_pc, hotspot.compile_id, hotspot.bytecode_slot];
        let (flags, header) = (hotspot.flags, (hotspot.block_header, hotspot.const_method_bytes));
        assert_eq!((hotspot.segment_shift, hotspot.const_method), (7, 8));
        assert_eq!(hotspot.entry_return, MEMORY_AT + ENTRY_RETURN);
        let expected = match release {
            Release::Eight => ([8, 32, 40, 44, 36], [148, 200, 204, 7], CODE_BY_OFFSET, (16, 48)),
            Release::Seventeen => ([96, 32, 40, 28, 20], [128, 300, 304, 8], 0, (16, 48)),
            Release::TwentyFive => ([8, 36, 40, 44, 54], [176, 208, 212, 8], CODE_BY_OFFSET, (8, 56)),
        };
        assert_eq!((fields, compiled, flags, header), expected, "{release:?}");
        assert_eq!(version(&world), "made-up");
    }
}

#[test]
fn compiled_frames_stand_for_what_was_inlined_and_what_it_was_inlined_into() {
    const INLINED: &str = "a.C$$Lambda.inner a/C.java:23 inlined; a.B.outer a/B.java:12";
    const INLINED_NEAR: &str = "a.C$$Lambda.inner a/C.java:23 inlined near; a.B.outer a/B.java:12 near";
    for release in RELEASES {
        let made = MadeMachine::of(release);
        for (place, offset, expected) in [
            (1, 16, INLINED),
            (0, 16, INLINED),
            (1, 32, "a.B.outer a/B.java:10"),
            (0, 15, INLINED_NEAR),
            (3, 15, INLINED_NEAR),
            (0, 17, "a.B.outer a/B.java:10 near"),
            (0, 7, "a.B.outer a/B.java:10 near"),
            (1, 7, INLINED_NEAR),
            (0, 8, INLINED_NEAR),
            (0, 33, "a.B.outer a/B.java:- near"),
            (0, 0x300, "a.B.outer a/B.java:- near"),
        ] {
            let methods = resolve(&made, frame(place, pc_in(COMPILED, offset), IN_COMPILED));
            assert!(methods.iter().flatten().all(|method| method.start == pc_in(COMPILED, 0)));
            assert_eq!(told(methods), expected, "{release:?} {offset}");
        }
    }
}

#[test]
fn interpreted_native_and_other_code_is_named() {
    for release in RELEASES {
        let made = MadeMachine::of(release);
        let interpreted = |method: u64, bytecode| JavaCode::Interpreted { method: MEMORY_AT + method, bytecode };
        for (pc, code, expected) in [
            (1, interpreted(OUTER, 0), "a.B.outer a/B.java:10 interpreted"),
            (2, interpreted(OUTER, 15), "a.B.outer a/B.java:12 interpreted"),
            (3, interpreted(INNER, u16::MAX), "a.C$$Lambda.inner a/C.java:- interpreted"),
            (4, interpreted(OUTER, 16), "code changed"),
            (5, interpreted(0x10_0000, 1), "code unreadable"),
            (pc_in(NATIVE, 9), JavaCode::Native { compile_id: COMPILE_ID }, "a.B.outer a/B.java:-"),
            (pc_in(NATIVE, 9), JavaCode::Native { compile_id: 1 }, "code changed"),
            (pc_in(INTERPRETER, 3), JavaCode::Stub, "[Interpreter] -:-"),
            (pc_in(INTERPRETER, 4), JavaCode::Entry, "[Interpreter] -:-"),
            (pc_in(COMPILED, 4), JavaCode::Stub, "code changed"),
            (pc_in(INTERPRETER, 4), IN_COMPILED, "code changed"),
            (pc_in(COMPILED, 16), JavaCode::Compiled { compile_id: 1 }, "code changed"),
            (MEMORY_AT + HEAP_END - 1, JavaCode::Stub, "code changed"),
            (MEMORY_AT, JavaCode::Stub, "code changed"),
        ] {
            assert_eq!(told(resolve(&made, frame(1, pc, code))), expected, "{release:?} {code:?}");
        }
    }
}

#[test]
fn a_field_that_is_missing_is_told_by_its_name() {
    /// What there is in only one of several forms is told by the name of the first, and 8 needs no number of its release.
    const OTHERS: &[(&str, &str)] = &[
        ("CodeCache::_heap", "CodeCache::_heaps"),
        ("CodeBlob::_code_begin", "CodeBlob::_code_offset"),
        ("CompiledMethod::_method", "nmethod::_method"),
        ("CompiledMethod::_scopes_data_begin", "nmethod::_scopes_data_offset"),
        ("nmethod::_deoptimize_offset", "nmethod::_deopt_handler_offset"),
        ("nmethod::_immutable_data", "nmethod::_metadata_offset"),
        ("CodeBlob::_mutable_data", "nmethod::_metadata_offset"),
        ("ConstMethod::_flags._flags", "ConstMethod::_flags"),
    ];
    /// Of these nothing is lost but the name of a file, and what is told of an entry.
    const OPTIONAL: [&str; 3] = [
        "ConstantPool::_source_file_name_index",
        "InstanceKlass::_source_file_name_index",
        "StubRoutines::_call_stub_return_address",
    ];
    const NUMBERS: [&str; 6] = ["int", "u2", "u4", "bool", "unsigned short", "address"];
    for release in RELEASES {
        for name in MadeMachine::of(release).names() {
            let is_needless = OPTIONAL.contains(&name)
                || NUMBERS.contains(&name)
                || (name, release) == ("Abstract_VM_Version::_vm_major_version", Release::Eight);
            let told = OTHERS.iter().find(|(missing, _)| *missing == name).map_or(name, |(_, told)| told);
            let expected = if is_needless {
                "made-up".into()
            } else {
                format!("the virtual machine does not tell of its `{told}`")
            };
            assert_eq!(version(&MadeMachine::without(release, name).world()), expected, "{release:?} without `{name}`");
        }
    }
}

#[test]
fn machines_that_are_not_followed_are_refused_in_words() {
    let made = MadeMachine::of(Release::Seventeen);
    for (at, byte, expected) in [
        (4, 1, "Java in a 32-bit process is not supported"),
        (18, 183, "Java frames are supported on x86-64 only"),
        (0, 0, "the virtual machine does not describe itself: `gHotSpotVMStructs` is missing"),
        (VARIABLES + 8, 7, "what the virtual machine tells of its `gHotSpotVMStructEntryArrayStride` cannot be"),
        (VARIABLES + 2, 7, "the virtual machine's memory could not be read"),
    ] {
        let mut other = made.clone();
        other.memory.put(at, &[byte]);
        assert_eq!(version(&other.world()), expected);
        other.memory.file = "/usr/bin/app";
        assert_eq!(version(&other.world()), "");
    }
    let openj9 = MadeUp { file: "/opt/lib/libj9vm29.so", ..MadeUp::exporting(&[], Hashes::Gnu) };
    assert_eq!(version(&openj9.world()), Refusal::OpenJ9.to_string());
}

#[test]
fn a_machine_that_has_not_started_is_asked_again() {
    let (started, hotspots) = (MadeMachine::of(Release::TwentyFive), HotSpots::default());
    let mut starting = started.clone();
    starting.unstart();
    let mut loading = starting.clone();
    loading.unload();
    let image = image_in(&loading.world());
    assert_eq!((hotspots.hotspot(&image, &loading.world()), hotspots.version(&image, &loading.world())), (None, None));
    assert_eq!(hotspots.hotspot(&image, &starting.world()), None);
    assert_eq!(hotspots.version(&image, &starting.world()).unwrap().as_deref(), Ok("made-up"));
    assert!(hotspots.hotspot(&image, &started.world()).is_some());
    assert!(hotspots.hotspot(&image, &FixtureWorld::default()).is_some(), "it is not asked any more");
}

#[test]
fn a_process_is_asked_again_when_its_mappings_were_read_anew() {
    let (hotspots, made) = (HotSpots::default(), MadeMachine::of(Release::Eight));
    let before = MadeUp { file: "/usr/bin/java", ..made.memory.clone() }.world();
    assert_eq!(hotspots.hotspot(&image_in(&before), &before), None);
    let world = made.world();
    assert!(hotspots.hotspot(&image_in(&world), &world).is_some());
}

#[test]
fn what_is_not_present_is_left_to_who_waits_for_it() {
    let made = MadeMachine::of(Release::Seventeen);
    let world = made.world_without(CLASS_SYMBOL..CLASS_SYMBOL + 0x100);
    let (hotspots, image) = (HotSpots::default(), image_in(&world));
    let new = frame(1, pc_in(COMPILED, 32), IN_COMPILED);
    for _ in 0..2 {
        assert_eq!(hotspots.observe_present(&image, &[new], &world), [new]);
        assert_eq!(hotspots.resolve(image.id, &new), Err(Reason::CodeUnreadable));
    }
    assert_eq!(hotspots.observe(&image, &[new], &world), []);
    assert_eq!(&*hotspots.resolve(image.id, &new).unwrap()[0].name, "a.B.outer");
    assert_eq!(hotspots.observe_present(&image, &[new], &world), []);
    let unseen = frame(2, pc_in(COMPILED, 16), IN_COMPILED);
    assert_eq!(hotspots.resolve(image.id, &unseen), Err(Reason::ProcessGone));
}

#[test]
fn debug_information_that_makes_no_sense_leaves_the_method_that_was_compiled() {
    const OUTERMOST: &str = "a.B.outer a/B.java:- near";
    for release in RELEASES {
        let made = MadeMachine::of(release);
        let scopes = if release == Release::TwentyFive { APART + 5 * 16 } else { COMPILED + INSIDE + 16 };
        // The inlined scope begins at its fourth byte: what it was inlined into, its method, its bytecode.
        for (at, byte, expected) in [
            (4, 4 + 1, OUTERMOST),
            (4, 0xfe, OUTERMOST),
            (
                5,
                1,
                if release == Release::TwentyFive {
                    OUTERMOST
                } else {
                    "a.B.outer a/B.java:10 inlined; a.B.outer a/B.java:12"
                },
            ),
            (5, 190, OUTERMOST),
        ] {
            let mut other = made.clone();
            other.memory.put(scopes + at, &[byte]);
            let told = told(resolve(&other, frame(1, pc_in(COMPILED, 16), IN_COMPILED)));
            assert_eq!(told, expected, "{release:?} {at} {byte}");
        }
    }
}

#[test]
fn a_map_of_segments_that_leads_nowhere_ends() {
    let mut made = MadeMachine::of(Release::Seventeen);
    for (byte, expected) in [(0xffu8, "code changed"), (0xfe, "code changed")] {
        let segment = (COMPILED - HEAP + CODE_AFTER) >> 7;
        made.memory.put(SEGMENTS + segment, &[byte]);
        assert_eq!(told(resolve(&made, frame(1, pc_in(COMPILED, 16), IN_COMPILED))), expected);
    }
}
