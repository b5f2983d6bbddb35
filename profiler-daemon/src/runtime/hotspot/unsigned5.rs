//! Numbers as HotSpot writes them in one to five bytes, the low ones first: a byte below 192 is the last.
//!
//! Up to release 19 a byte counts as it is; from 20 on each counts one less, so that none is zero.

/// How a release writes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes may be zero (up to 19).
    WithZeroes,
    /// They may not (20 on).
    WithoutZeroes,
}

/// The first byte that says that another follows.
const FIRST_WITH_MORE: u8 = 192;
/// How many bits more each byte counts than the one before.
const SHIFT: u32 = 6;
/// The longest number, in bytes.
pub const LONGEST: usize = 5;

/// Takes numbers from the beginning of some bytes.
#[derive(Debug, Clone)]
pub struct Numbers<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Numbers<'a> {
    /// Those that are written in `bytes`.
    pub fn new(bytes: &'a [u8], form: Form) -> Self {
        Self { rest: bytes, form }
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next byte.
    pub fn take_byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next number; `None` where the bytes end, or are none.
    pub fn take(&mut self) -> Option<u32> {
        let least = u8::from(self.form == Form::WithoutZeroes);
        let mut number = 0u32;
        for place in 0..LONGEST as u32 {
            let byte = self.take_byte()?;
            number = number.wrapping_add(u32::from(byte.checked_sub(least)?) << (SHIFT * place));
            if byte < FIRST_WITH_MORE {
                break;
            }
        }
        Some(number)
    }

    /// The next number, whose lowest bit is its sign.
    pub fn take_signed(&mut self) -> Option<i32> {
        let number = self.take()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], form: Form) -> Vec<u32> {
        let mut numbers = Numbers::new(bytes, form);
        std::iter::from_fn(|| numbers.take()).collect()
    }

    #[test]
    fn numbers_are_read_in_either_form() {
        use Form::{WithZeroes, WithoutZeroes};
        for (form, bytes, expected) in [
            (WithZeroes, &[0, 1, 191][..], &[0, 1, 191][..]),
            (WithoutZeroes, &[1, 2, 191], &[0, 1, 190]),
            (WithZeroes, &[192, 0, 193, 0, 192, 1, 255, 3], &[192, 193, 256, 447]),
            (WithoutZeroes, &[192, 1, 193, 1, 192, 2], &[191, 192, 255]),
        ] {
            assert_eq!(all(bytes, form), expected, "{form:?} {bytes:?}");
        }
        assert_eq!(all(&[255, 255, 255, 255, 255, 7], WithZeroes)[1..], [7], "five bytes are the most");
    }

    #[test]
    fn signs_are_in_the_lowest_bit() {
        let mut numbers = Numbers::new(&[0, 1, 2, 3, 191], Form::WithZeroes);
        let all: Vec<_> = std::iter::from_fn(|| numbers.take_signed()).collect();
        assert_eq!(all, [0, -1, 1, -2, -96]);
    }

    #[test]
    fn what_is_no_number_ends_it() {
        assert!(all(&[192], Form::WithZeroes).is_empty());
        assert_eq!(all(&[5, 0, 5], Form::WithoutZeroes), [4]);
        assert!(all(&[192, 0], Form::WithoutZeroes).is_empty());
    }

    /// What the encoder of each form makes of a number, by its description.
    fn write(mut number: u32, form: Form) -> Vec<u8> {
        let least = u32::from(form == Form::WithoutZeroes);
        let last = 192 - least;
        let mut bytes = Vec::new();
        while number >= last && bytes.len() < LONGEST - 1 {
            number -= last;
            bytes.push((last + (number & 63) + least) as u8);
            number >>= SHIFT;
        }
        bytes.push((number + least) as u8);
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        for form in [Form::WithZeroes, Form::WithoutZeroes] {
            for number in (0..70_000).chain((0..32).map(|bit| 1 << bit)).chain([u32::MAX, u32::MAX - 1]) {
                assert_eq!(all(&write(number, form), form), [number], "{form:?}");
            }
        }
    }
}
