//! The line of a bytecode, out of the compressed table behind a method's bytecodes.
//!
//! Each entry says how far the index of a bytecode and the line move on: in one byte, five bits and three, or behind a byte
//! of ones as two signed numbers. A zero byte ends it. Entries need not be in order. Tables are untrusted: any bytes have an
//! answer.

use super::unsigned5::{Form, Numbers};

const END: u8 = 0;
const LONG: u8 = 0xff;
const LINE_BITS: u32 = 3;

/// The line of the bytecode at an index; `None` if the table has none at or before it.
///
/// As the virtual machine does it: the first entry of just this bytecode, else the last of those nearest before it.
pub fn line_at(table: &[u8], form: Form, bytecode: u32) -> Option<u32> {
    let bytecode = i64::from(bytecode);
    let mut best: Option<(i64, i64)> = None;
    for (at, line) in Entries::new(table, form) {
        if at == bytecode {
            best = Some((at, line));
            break;
        }
        if at < bytecode && best.is_none_or(|(best, _)| at >= best) {
            best = Some((at, line));
        }
    }
    best.and_then(|(_, line)| u32::try_from(line).ok()).filter(|line| *line > 0)
}

/// How many bytes of a table belong to it, with the byte that ends it; `None` if none does.
pub fn length_of(table: &[u8], form: Form) -> Option<usize> {
    let mut entries = Entries::new(table, form);
    while entries.next().is_some() {}
    entries.is_complete.then(|| table.len() - entries.numbers.len())
}

/// Bytecodes and their lines.
struct Entries<'a> {
    numbers: Numbers<'a>,
    bytecode: i64,
    line: i64,
    is_complete: bool,
}

impl<'a> Entries<'a> {
    fn new(table: &'a [u8], form: Form) -> Self {
        Self { numbers: Numbers::new(table, form), bytecode: 0, line: 0, is_complete: false }
    }
}

impl Iterator for Entries<'_> {
    type Item = (i64, i64);

    fn next(&mut self) -> Option<(i64, i64)> {
        let (bytecode, line) = match self.numbers.take_byte()? {
            END => {
                self.is_complete = true;
                return None;
            }
            LONG => (self.numbers.take_signed()?, self.numbers.take_signed()?),
            short => (i32::from(short >> LINE_BITS), i32::from(short & ((1 << LINE_BITS) - 1))),
        };
        self.bytecode += i64::from(bytecode);
        self.line += i64::from(line);
        Some((self.bytecode, self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_nearest_entry_before() {
        // 0:1, 4:3, 4:5, 10:2
        let table = [1, 4 << 3 | 2, 2, LONG, 12, 5, END, 9];
        for (bytecode, line) in [(0, 1), (3, 1), (4, 3), (5, 5), (9, 5), (10, 2), (u32::MAX, 2)] {
            assert_eq!(line_at(&table, Form::WithZeroes, bytecode), Some(line), "{bytecode}");
        }
        assert_eq!(length_of(&table, Form::WithZeroes), Some(7));
    }

    #[test]
    fn the_newer_form_counts_each_byte_one_less() {
        // 0:100 as two numbers: 0 and 100.
        let table = [LONG, 1, 201 - 8 + 8, 1 + 1, 8 | 1, END];
        assert_eq!(line_at(&[LONG, 1, 121, 8 | 1, END], Form::WithoutZeroes, 0), Some(60));
        assert_eq!(line_at(&[LONG, 1, 121, 8 | 1, END], Form::WithoutZeroes, 1), Some(61));
        assert_eq!(length_of(&table[..1], Form::WithoutZeroes), None);
    }

    #[test]
    fn tables_without_an_entry_or_an_end_have_what_they_have() {
        for form in [Form::WithZeroes, Form::WithoutZeroes] {
            assert_eq!(line_at(&[], form, 0), None);
            assert_eq!(line_at(&[END], form, 7), None);
            assert_eq!(line_at(&[8 | 1], form, 0), None, "the first line begins behind it");
            assert_eq!(line_at(&[8 | 1], form, 1), Some(1));
            assert_eq!(length_of(&[8 | 1], form), None);
            assert_eq!(line_at(&[LONG, 2], form, 1), None);
            assert_eq!(line_at(&[LONG, 1, 2, END], Form::WithZeroes, 9), Some(1));
        }
        assert_eq!(line_at(&[LONG, 0, 1, END], Form::WithZeroes, 9), None, "a line below one");
    }
}
