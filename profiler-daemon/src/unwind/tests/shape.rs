//! Which rule stands at which address.

use std::io::Write;

use profiler_common::unwind::rule::{Rule, cfa};
use profiler_common::unwind::table::Row;

use super::super::omission::Omission;
use super::super::source::Source;
use super::super::table::Table;
use super::super::{UnwindError, limits};
use super::fixture::{AARCH64, CALLED, CODE, Described, FileSection, X86_64, elf_file, memory_file};

fn on_stack(offset: i32) -> Rule {
    Rule { offset, ..Rule::new(cfa::STACK) }
}

fn find_all<const N: usize>(table: &Table, addresses: [u64; N]) -> [Rule; N] {
    addresses.map(|address| table.find(address))
}

fn rows(table: &Table) -> Vec<(u16, u16)> {
    table.rows.iter().map(|word| Row::from_word(*word)).map(|row| (row.low, row.rule)).collect()
}

#[test]
fn functions_are_separated_by_gaps_and_equal_neighbours_merged() {
    let section = Described::x86_64().function(0x1300, 0x10, &[]).function(0x1000, 0x100, &[]);
    let table = section.function(0x1100, 0x10, &[]).source(X86_64).build();
    assert_eq!(find_all(&table, [0xfff, 0x1000, 0x110f, 0x1110]), [Rule::NONE, on_stack(8), on_stack(8), Rule::NONE]);
    assert_eq!(find_all(&table, [0x12ff, 0x1300, 0x130f, 0x1310]), [Rule::NONE, on_stack(8), on_stack(8), Rule::NONE]);
    assert_eq!(rows(&table), [(0, 0), (0x1000, 2), (0x1110, 0), (0x1300, 2), (0x1310, 0)]);
    assert_eq!((table.first_page, table.pages.len(), table.rules.len()), (0, 1, 3));
}

#[test]
fn a_page_begins_with_the_rule_in_force() {
    // A push at 0x2fff8, pages 3 and 4 without a change, the end at 0x50000; then a page of nothing.
    let section = Described::x86_64().function(0x2_fff0, 0x2_0010, &[0x48, 0x0e, 16]);
    let table = section.function(0x7_0000, 1, &[]).source(X86_64).build();
    let counts: Vec<_> = table.pages.iter().map(|page| page.count).collect();
    assert_eq!((table.first_page, counts), (2, vec![3, 1, 1, 1, 0, 2]));
    assert_eq!(find_all(&table, [0x2_fff7, 0x2_fff8, 0x3_0000]), [on_stack(8), on_stack(16), on_stack(16)]);
    assert_eq!(find_all(&table, [0x4_ffff, 0x5_0000, 0x6_0000]), [on_stack(16), Rule::NONE, Rule::NONE]);
    assert_eq!(find_all(&table, [0x7_0000, 0x7_0001, u64::MAX]), [on_stack(8), Rule::NONE, Rule::NONE]);
}

#[test]
fn a_function_ends_where_the_next_begins() {
    let section = Described::x86_64().function(0x1000, 0x1000, &[]).function(0x1100, 0x10, &[0x0e, 16]);
    let table = section.function(0x1100, 0x400, &[0x0e, 24]).source(X86_64).build();
    let found = find_all(&table, [0x10ff, 0x1100, 0x110f, 0x1110]);
    assert_eq!(found, [on_stack(8), on_stack(16), on_stack(16), Rule::NONE]);
    assert_eq!(table.omissions.count(Omission::FrameTwice), 1);
}

#[test]
fn functions_outside_the_code_are_left_out() {
    let section = Described::x86_64().function(0xff0, 0x100, &[]).function(u64::MAX - 4, 0x100, &[]);
    let mut source = section.function(0x1ff0, 0x100, &[]).function(0x1000, 0, &[]).source(X86_64);
    source.code = std::iter::once(0x1000..0x2000).collect();
    let table = source.build();
    assert_eq!(find_all(&table, [0x1000, 0x1ff0, 0x1fff]), [Rule::NONE, on_stack(8), on_stack(8)]);
    assert_eq!((table.find(0x2000), table.omissions.count(Omission::FrameOutside)), (Rule::NONE, 3));
}

#[test]
fn a_table_without_functions_is_empty() {
    let table = Described::x86_64().source(X86_64).build();
    assert_eq!((table.pages.len(), table.rows.len(), table.find(CODE)), (0, 0, Rule::NONE));
}

#[test]
fn code_too_far_from_the_first_is_left_out() {
    let far = CODE + ((limits::PAGES as u64) << 16);
    let section = Described::x86_64().function(CODE, 16, &[]).function(far, 16, &[]);
    let table = section.source(X86_64).build();
    assert_eq!((table.find(CODE), table.find(far), table.pages.len()), (on_stack(8), Rule::NONE, limits::PAGES));
    assert!(table.omissions.count(Omission::TooManyPages) > 0);
}

#[test]
fn a_page_with_too_many_rows_has_no_rules() {
    // In force at 0x10000, then another rule at every second byte.
    let instructions: Vec<u8> = (0..0x7000u32).flat_map(|at| [0x0e, 8 + (at % 2) as u8 * 8, 0x42]).collect();
    let table = Described::x86_64().function(0x1_0000, 0x1_0000, &instructions).source(X86_64).build();
    assert_eq!(table.find(0x1_0000), Rule::UNSUPPORTED);
    assert!(table.omissions.count(Omission::PageFull) > limits::PAGE_ROWS as u32);
}

#[test]
fn a_description_that_cannot_be_understood_does_not_hide_the_next() {
    let section = Described::new().common("?", 16, &CALLED).function(0x1000, 0x10, &[]).common("", 16, &CALLED);
    let table = section.function(0x1100, 0x10, &[]).source(X86_64).build();
    assert_eq!(find_all(&table, [0x1000, 0x1100]), [Rule::NONE, on_stack(8)]);
    assert_eq!(table.omissions.count(Omission::MalformedFrame), 1);
}

#[test]
fn the_trampoline_of_a_signal_handler_is_told() {
    let table = Described::new().common("zS", 16, &CALLED).function(CODE, 9, &[]).source(X86_64).build();
    assert_eq!(find_all(&table, [CODE, CODE + 8, CODE + 9]), [Rule::SIGNAL, Rule::SIGNAL, Rule::NONE]);
}

#[test]
fn what_is_described_for_debuggers_only_fills_gaps() {
    let mut source = Described::x86_64().function(0x1100, 0x100, &[0x0e, 16]).source(X86_64);
    let debug = Described::for_debuggers().common("", 16, &CALLED).function(0x1000, 0x200, &[]);
    let debug = debug.function(0x1180, 0x10, &[]).function(0x1300, 0x10, &[]);
    source.debug_frame = debug.source(X86_64).debug_frame;
    let table = source.build();
    assert_eq!(find_all(&table, [0x10ff, 0x1100, 0x1188]), [on_stack(8), on_stack(16), on_stack(16)]);
    assert_eq!(find_all(&table, [0x1200, 0x1300, 0x1310]), [Rule::NONE, on_stack(8), Rule::NONE]);
}

#[test]
fn compressed_sections_are_read() {
    let debug = Described::for_debuggers().common("", 16, &CALLED).function(CODE, 0x10, &[]);
    let mut packed = [1, debug.bytes.len() as u64, 1].map(u64::to_le_bytes).concat();
    let mut encoder = flate2::write::ZlibEncoder::new(&mut packed, flate2::Compression::best());
    encoder.write_all(&debug.bytes).unwrap();
    encoder.finish().unwrap();
    let section = FileSection { compressed: true, ..FileSection::new(".debug_frame", 0, &packed) };
    let file = memory_file(&elf_file(X86_64, 0, &[section]));
    assert_eq!(Source::open(&file).unwrap().build().find(CODE), on_stack(8));
}

#[test]
fn stubs_that_nobody_describes_are_known_by_their_place() {
    let described = Described::x86_64().function(0x5000, 0x10, &[]).bytes;
    let mut sections = vec![FileSection::new(".eh_frame", 0x200, &described)];
    sections.push(FileSection::new(".plt", 0x2000, &[0; 64]));
    sections.push(FileSection::new(".plt.got", 0x3000, &[0; 16]));
    let table = Source::open(&memory_file(&elf_file(X86_64, 0, &sections))).unwrap().build();
    let stub = |from| Rule { offset: from, ..Rule::new(cfa::LINKAGE_STUB) };
    let found = find_all(&table, [0x2000, 0x2005, 0x2006, 0x200f, 0x2010, 0x203f]);
    assert_eq!(found, [on_stack(16), on_stack(16), on_stack(24), on_stack(24), stub(11), stub(11)]);
    assert_eq!(find_all(&table, [0x2040, 0x3000, 0x5000]), [Rule::NONE, on_stack(8), on_stack(8)]);
    sections.push(FileSection::new(".plt.sec", 0x4000, &[0; 16]));
    let table = Source::open(&memory_file(&elf_file(X86_64, 0, &sections))).unwrap().build();
    assert_eq!(find_all(&table, [0x2010, 0x4000]), [stub(9), on_stack(8)]);
}

#[test]
fn stubs_of_aarch64_leave_the_stack_alone() {
    let described = Described::aarch64().function(0x5000, 0x10, &[]).bytes;
    let sections = [FileSection::new(".eh_frame", 0x200, &described), FileSection::new(".plt", 0x2000, &[0; 64])];
    let table = Source::open(&memory_file(&elf_file(AARCH64, 0, &sections))).unwrap().build();
    let pushed = Rule { saved: [0, -1, 0, 0, 0, 0], ..on_stack(16) };
    assert_eq!(find_all(&table, [0x2000, 0x2004, 0x201f, 0x2020]), [on_stack(0), pushed, pushed, on_stack(0)]);
}

#[test]
fn the_entry_point_has_no_caller() {
    let described = Described::x86_64().function(0x1020, 0x10, &[]).function(0x2000, 0x10, &[]);
    let mut source = described.source(X86_64);
    source.entry = 0x1000;
    let found = find_all(&source.build(), [0xfff, 0x1000, 0x101f, 0x1020]);
    assert_eq!(found, [Rule::NONE, Rule::OUTERMOST, Rule::OUTERMOST, on_stack(8)]);
    source.entry = 0x3000;
    let found = find_all(&source.build(), [0x3000, 0x303f, 0x3040]);
    assert_eq!(found, [Rule::OUTERMOST, Rule::OUTERMOST, Rule::NONE]);
    // A library's is a linker's guess, if it is described.
    source.entry = 0x2000;
    assert_eq!(source.build().find(0x2000), on_stack(8));
    source.is_program = true;
    assert_eq!(find_all(&source.build(), [0x2000, 0x200f]), [Rule::OUTERMOST, Rule::OUTERMOST]);
}

#[test]
fn files_that_have_no_table_say_why() {
    let open = |content: &[u8]| Source::open(&memory_file(content)).map(|_| ());
    let elf = |machine| elf_file(machine, 0, &[FileSection::new(".text", CODE, &[0; 16])]);
    assert!(matches!(open(b""), Err(UnwindError::NotElf)));
    assert!(matches!(open(&[b'#'; 100]), Err(UnwindError::NotElf)));
    assert!(matches!(open(&elf(40)), Err(UnwindError::Machine(40))));
    assert!(matches!(open(&elf(X86_64)), Err(UnwindError::NoUnwindInformation)));
    let mut small = elf(X86_64);
    small[4] = 1;
    assert!(matches!(open(&small), Err(UnwindError::Machine(0))));
    let mut broken = elf(X86_64);
    broken[54] = 1;
    assert!(matches!(open(&broken), Err(UnwindError::Malformed(_))));
}

#[test]
fn the_key_changes_with_whatever_the_table_is_made_from() {
    let described = |instructions: &[u8]| Described::x86_64().function(CODE, 16, instructions);
    let source = || described(&[0]).source(X86_64);
    let key = source().key();
    assert_eq!(source().key(), key);
    assert_ne!(described(&[0x0a]).source(X86_64).key(), key);
    assert_ne!(described(&[0]).source(AARCH64).key(), key);
    let changes: [fn(&mut Source); 7] = [
        |source| source.entry = 1,
        |source| source.is_program = true,
        |source| source.code[0].end += 1,
        |source| source.linkage.lazy = Some(0..16),
        |source| source.linkage.plain = Some(0..16),
        |source| source.eh_frame.as_mut().unwrap().address += 1,
        |source| source.debug_frame = source.eh_frame.take(),
    ];
    let mut keys: Vec<_> = changes
        .map(|change| {
            let mut source = source();
            change(&mut source);
            source.key()
        })
        .into();
    keys.push(key);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), changes.len() + 1);
}
