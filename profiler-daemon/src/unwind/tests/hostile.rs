//! Damaged files: whatever comes out, it is a table that can be searched, and it comes soon.

use std::env;
use std::time::{Duration, Instant};

use super::super::source::Source;
use super::super::stored::is_valid;
use super::fixture::{AARCH64, CODE, Described, FileSection, X86_64, elf_file, memory_file};

/// xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Some functions of all shapes, with every kind of instruction.
fn small_file(machine: u16) -> Vec<u8> {
    let described = if machine == X86_64 { Described::x86_64() } else { Described::aarch64() };
    let described = described
        .function(CODE, 0x100, &[0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x0a, 0x41, 0x0c, 7, 8, 0x0b])
        .function(CODE + 0x100, 0x80, &[0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0, 0x02, 9, 0x07, 16])
        .function(CODE + 0x200, 0x8000, &[0x03, 0, 1, 0x0e, 24, 0x04, 0, 0, 1, 0, 0x14, 3, 1, 0x05, 3, 4])
        .common("zS", 16, &[0x0c, 7, 8])
        .function(CODE + 0x9000, 9, &[]);
    let plt = FileSection::new(".plt", CODE + 0x9100, &[0; 64]);
    elf_file(machine, CODE + 0x9200, &[FileSection::new(".eh_frame", 0x200, &described.bytes), plt])
}

fn check(content: &[u8]) -> bool {
    let Ok(source) = Source::open(&memory_file(content)) else { return false };
    let _ = source.key();
    let table = source.build();
    assert!(is_valid(&table), "{table:?}");
    true
}

#[test]
fn a_file_cut_short_anywhere_gives_a_table_or_an_error() {
    let whole = small_file(X86_64);
    assert!(check(&whole) && check(&small_file(AARCH64)));
    for length in 0..whole.len() {
        check(&whole[..length]);
    }
}

#[test]
fn a_file_with_any_byte_changed_gives_a_table_or_an_error() {
    for machine in [X86_64, AARCH64] {
        let whole = small_file(machine);
        let mut tables = 0;
        for (at, value) in (0..whole.len()).flat_map(|at| [0, 0x0f, 0x7f, 0x80, 0xff].map(|value| (at, value))) {
            let mut damaged = whole.clone();
            damaged[at] = value;
            tables += usize::from(check(&damaged));
        }
        assert!(tables > whole.len());
    }
}

#[test]
fn a_file_with_many_bytes_changed_gives_a_table_or_an_error() {
    let (whole, mut random) = (small_file(X86_64), Random(0x5eed));
    for _ in 0..3000 {
        let mut damaged = whole.clone();
        for _ in 0..1 + random.below(8) {
            let at = random.below(damaged.len());
            damaged[at] = random.below(256) as u8;
        }
        check(&damaged);
    }
}

#[test]
fn the_dynamic_linker_damaged_gives_a_table_or_an_error() {
    let path = std::fs::read_to_string("/proc/self/maps").unwrap();
    let linker = path.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/ld-"));
    let path = linker.map_or_else(|| env::current_exe().unwrap(), Into::into);
    let (whole, mut random) = (std::fs::read(path).unwrap(), Random(7));
    for _ in 0..40 {
        let mut damaged = whole.clone();
        for _ in 0..200 {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
        check(&damaged);
        damaged.truncate(random.below(whole.len()));
        check(&damaged);
    }
}

#[test]
fn functions_that_share_one_long_description_are_left_out() {
    // Read again for each function, it would take hours.
    let mut described = Described::new().common("", 16, &vec![0; 1 << 20]);
    for at in 0..10_000 {
        described = described.function(CODE + at * 16, 16, &[]);
    }
    let begin = Instant::now();
    let table = described.source(X86_64).build();
    assert_eq!(table.omissions.iter().map(|(_, count)| count).sum::<u32>(), 10_000);
    assert!(begin.elapsed() < Duration::from_secs(20));
}
