//! The line of an instruction, out of the table its code object carries.
//!
//! There are three formats: of [3.8 and 3.9](https://github.com/python/cpython/blob/v3.9.18/Objects/lnotab_notes.txt), of
//! [3.10](https://github.com/python/cpython/blob/v3.10.13/Objects/lnotab_notes.txt), and
//! [from 3.11 on](https://github.com/python/cpython/blob/v3.11.7/Objects/locations.md). An instruction that belongs to no line
//! (it cleans up, or prepares a generator) shows the last line before it. Tables are untrusted: any bytes have an answer.

use super::version::Version;

/// The change of line that says that a range has none (3.10).
const NO_LINE: i8 = -128;

/// The line of the instruction at `byte_offset`; `None` beyond the table's end.
pub fn line_at(version: Version, table: &[u8], first_line: u32, byte_offset: u32) -> Option<u32> {
    let (first, offset) = (i64::from(first_line), u64::from(byte_offset));
    let line = match version.minor {
        ..=9 => Some(line_in_pairs(table, first, offset)),
        10 => line_in_ranges(table, first, offset),
        _ => Locations { rest: table }.line_at(first, offset),
    };
    line.and_then(|line| u32::try_from(line).ok())
}

/// 3.8 and 3.9: pairs of a distance to the next instruction, and the change of line there.
fn line_in_pairs(table: &[u8], first: i64, offset: u64) -> i64 {
    let (mut line, mut at) = (first, 0u64);
    for pair in table.chunks_exact(2) {
        at += u64::from(pair[0]);
        if at > offset {
            break;
        }
        line += i64::from(pair[1].cast_signed());
    }
    line
}

/// 3.10: pairs of a range's length, and the change of line it begins with.
fn line_in_ranges(table: &[u8], first: i64, offset: u64) -> Option<i64> {
    let (mut line, mut end) = (first, 0u64);
    for pair in table.chunks_exact(2) {
        end += u64::from(pair[0]);
        if pair[1].cast_signed() != NO_LINE {
            line += i64::from(pair[1].cast_signed());
        }
        if offset < end {
            return Some(line);
        }
    }
    None
}

/// From 3.11 on: entries of different lengths, each for some code units.
struct Locations<'a> {
    rest: &'a [u8],
}

impl Locations<'_> {
    /// Changes of the line add up over all entries. Columns are skipped.
    fn line_at(mut self, first: i64, offset: u64) -> Option<i64> {
        let (mut line, mut end) = (first, 0u64);
        while let Some(head) = self.take() {
            end += 2 * (u64::from(head & 7) + 1);
            line = line.wrapping_add(self.take_change(head >> 3 & 15)?);
            if offset < end {
                return Some(line);
            }
        }
        None
    }

    /// What an entry of this kind adds to the line; leaves what follows it.
    fn take_change(&mut self, kind: u8) -> Option<i64> {
        match kind {
            0..=9 => self.take().map(|_| 0),
            10..=12 => self.take().and(self.take()).map(|_| i64::from(kind) - 10),
            13 => self.take_signed(),
            14 => {
                let change = self.take_signed()?;
                (0..3).try_for_each(|_| self.take_number().map(drop))?;
                Some(change)
            }
            _ => Some(0),
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Six bits a byte, the lowest first; one bit says that more follow.
    fn take_number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.take()?;
            number |= u64::from(byte & 63).checked_shl(shift)?;
            shift += 6;
            if byte & 64 == 0 {
                return Some(number);
            }
        }
    }

    /// The lowest bit is the sign.
    fn take_signed(&mut self) -> Option<i64> {
        let number = self.take_number()?;
        let size = (number >> 1).cast_signed();
        Some(if number & 1 == 1 { -size } else { size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables made by the interpreters themselves: version, first line, length of the code, table, and the line of each range.
    /// The sources are those of the facts below.
    const VECTORS: &str = "\
        3.8 2 48 000202010a0206fe0a040a01040102ff 0-2:4,2-12:5,12-18:7,18-28:5,28-38:9,38-42:10,42-44:11,44-48:10\n\
        3.8 1 34 047f007f002f027f000e028000f3047f000f04010800 0-4:1,4-6:302,6-8:443,8-12:302,12-16:444,16-34:445\n\
        3.9 2 56 000202010a0206fe08041401040102ff 0-2:4,2-12:5,12-18:7,18-26:5,26-46:9,46-50:10,50-52:11,52-56:10\n\
        3.9 1 34 047f007f002f027f000e028000f3047f000f0401 0-4:1,4-6:302,6-8:443,8-12:302,12-16:444,16-34:445\n\
        3.10 2 56 02020a01060208fe14040401020104ff 0-2:4,2-12:5,12-18:7,18-26:5,26-46:9,46-50:10,50-52:11,52-56:10\n\
        3.10 1 40 0400007f007f022f007f020e008104f2007f040f0c010cff 0-4:1,4-6:302,6-8:443,8-12:302,12-16:444,16-28:445,28-40:444\n\
        3.11 2 164 f88000f004050915f00202111af00002111af00002111af00002111ae51015906191089408f00502111af10002111af40002111a8841f508000d12902189488c4888488848f88d45902189488c4888488848f8f8f8dd0f109011d81112f103011014f400011014f000010914 0-2:none,2-4:2,4-6:4,6-14:5,14-42:7,42-60:5,60-92:9,92-94:none,94-126:9,126-132:none,132-146:10,146-148:11,148-164:10\n\
        3.11 1 44 f003010101d804058001f05a09000607f05a04000203f05b044d0205048001f05c04000708f000010110d8020380718126802188618821f003000708f000010110f000010110f000010110f000010110f000010110 0-2:0,2-6:1,6-8:302,8-10:443,10-14:302,14-18:444,18-32:445,32-44:444\n\
        3.12 2 148 f88000f004050915f40600111690619308f60502111ad81617886190018b63f00302111a8841f00002111af408000d1290218c48dc0f109011d81112f303011014f000010914f9f20b02111af8f408000d1290218d48fa 0-2:none,2-4:2,4-6:4,6-26:7,26-40:5,40-54:6,54-60:5,60-82:9,82-94:10,94-96:11,96-106:10,106-110:none,110-116:5,116-118:none,118-142:9,142-148:none\n\
        3.12 1 42 f003010101d804058001f05a09000607f05a04000203f05b044d0205048001f15c04000708d8020380718126802188618821f403000708 0-2:0,2-6:1,6-8:302,8-10:443,10-14:302,14-18:444,18-32:445,32-42:444\n\
        3.13 2 150 f88000f004050915f40600111690619408f30502111ae11018f00300171890018c63d91018f005000d0ef00002111af408000d1290218c48dc0f109011d81112f303011014f000010914f9f20b02111af8f408000d1290218d48fa 0-2:none,2-4:2,4-6:4,6-28:7,28-36:5,36-40:7,40-54:6,54-58:7,58-62:5,62-84:9,84-96:10,96-98:11,98-108:10,108-112:none,112-118:5,118-120:none,120-144:9,144-150:none\n\
        3.13 1 64 f003010101d804058001f05a09000607f05a04000203f05b044d0205048001f65c04000708d8020380718126802188618821f7030007088261 0-2:0,2-6:1,6-8:302,8-10:443,10-14:302,14-28:444,28-42:445,42-64:444\n\
        3.14 2 158 f88000f004050915f40600111690619408f30502111ae11018f00300171890018f638863d91018f005000d0ef00002111af408000d1290218c48dc0f109011d81112f303011014f000010914f9f20b02111af8f408000d1290218d48fa 0-2:none,2-4:2,4-6:4,6-28:7,28-36:5,36-40:7,40-62:6,62-66:7,66-70:5,70-92:9,92-104:10,104-106:11,106-116:10,116-120:none,120-126:5,126-128:none,128-152:9,152-158:none\n\
        3.14 1 60 f003010101d804058001f05a09000607f05a04000203f05b044d0205048001f75c04000708d8020380718526802188618a21f103000708 0-2:0,2-6:1,6-8:302,8-10:443,10-14:302,14-30:444,30-56:445,56-60:444\n\
        3.15 2 162 f88100f004050915f40600111690619308f30502111ae31018f00300171890018f638863d91018f005000d0ef00002111af408000d1290218c48dc0f109011d81112f303011014f000010914f9f20b02111af8f408000d1290218d48fa 0-2:none,2-6:2,6-8:4,8-28:7,28-36:5,36-44:7,44-66:6,66-70:7,70-74:5,74-96:9,96-108:10,108-110:11,110-120:10,120-124:none,124-130:5,130-132:none,132-156:9,156-162:none\n\
        3.15 1 62 f103010101d804058001f05a09000607f05a04000203f05b044d0205048001f75c04000708d8020380718526802188618a21f103000708 0-4:0,4-8:1,8-10:302,10-12:443,12-16:302,16-32:444,32-58:445,58-62:444\n\
        ";

    /// The lines a range has, as the table above writes them; for one without, the last line before it.
    fn expand(runs: &str, first: u32) -> Vec<(u32, u32)> {
        let mut last = first;
        let mut lines = Vec::new();
        for run in runs.split(',') {
            let (range, line) = run.split_once(':').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            last = line.parse().unwrap_or(last);
            lines.extend((start.parse().unwrap()..end.parse().unwrap()).step_by(2).map(|offset| (offset, last)));
        }
        lines
    }

    fn decode_hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn each_instruction_has_the_line_the_interpreter_gives_it() {
        for vector in VECTORS.lines() {
            let [version, first, length, table, runs] = vector.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!()
            };
            let version = Version::of_minor(version.strip_prefix("3.").unwrap().parse().unwrap());
            let (first, table) = (first.parse().unwrap(), decode_hex(table));
            let lines = expand(runs, first);
            assert_eq!(lines.len() * 2, length.parse::<usize>().unwrap(), "{version}");
            for (offset, line) in lines {
                assert_eq!(line_at(version, &table, first, offset), Some(line), "{version} at {offset}");
            }
        }
    }

    #[test]
    fn numbers_that_do_not_end_and_lines_that_are_none_have_no_line() {
        let version = Version::of_minor(13);
        for table in [&[0xff][..], &[0xf8 & !0x78 | 13 << 3, 0x7f], &[0x80 | 13 << 3, 0x3f], &[0x80 | 14 << 3, 2, 0x7f]]
        {
            assert_eq!(line_at(version, table, 1, 40), None, "{table:?}");
        }
        assert_eq!(line_at(version, &[0x80 | 13 << 3, 0x3f], 1, 0), None, "the line would be negative");
        assert_eq!(line_at(version, &[[0x80 | 13 << 3].as_slice(), &[0x7f; 40]].concat(), 1, 0), None);
        assert_eq!(line_at(Version::of_minor(9), &[], 7, 100), Some(7));
    }
}
