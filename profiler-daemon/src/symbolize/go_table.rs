//! The table by which the Go runtime names its own code (`.gopclntab`). It stays when symbols are stripped.
//!
//! In comes the section, of Go 1.16 or newer; out come functions, files and lines by address. The section was written by
//! whoever built the program, so every number in it is checked where it is used, and a lookup takes a bounded time.
//! The layouts are those of `runtime/symtab.go`:
//! <https://github.com/golang/go/blob/go1.20/src/runtime/symtab.go#L393>.

use std::fs::File;
use std::io;

use super::engine::{Function, cut};
use super::limits;
use crate::process::elf::{Elf, broken, u64_at};

/// The names of the section, without and with position-independent code.
const SECTIONS: [&[u8]; 2] = [b".gopclntab", b".data.rel.ro.gopclntab"];
/// The section of the code.
const TEXT_SECTION: &[u8] = b".text";
/// The section the table became a part of, where a linker other than Go's made the program.
const MERGED_SECTION: &[u8] = b".data.rel.ro";
/// The sections of what the dynamic linker has to add up.
const RELOCATION_SECTIONS: [&[u8]; 2] = [b".rela.dyn", b".rela"];
const RELOCATION_BYTES: usize = 24;
/// Where the header has its numbers of eight bytes.
const HEADER_WORDS: usize = 8;
/// Which of a function's code is inlined: the number of that table.
const INLINED_TABLE: usize = 2;

/// The table of one program.
#[derive(Debug)]
pub(super) struct GoTable {
    data: Vec<u8>,
    layout: Layout,
    /// The address offsets of code count from.
    text: u64,
    /// By how many bytes code is counted.
    quantum: u64,
    /// How many functions there are.
    count: usize,
    names: usize,
    units: usize,
    files: usize,
    /// Where the tables of values by address are.
    values: usize,
    functions: usize,
}

/// What changed between versions of Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Go 1.16 and 1.17: addresses of eight bytes.
    Go16,
    /// Go 1.18 and 1.19: offsets of four bytes from the beginning of the code.
    Go18,
    /// Go 1.20 and newer: functions also know their first line.
    Go20,
}

/// Where the code of a program is.
#[derive(Debug, Clone, Copy)]
struct Text {
    address: u64,
    size: u64,
}

impl GoTable {
    /// Reads the table of a program; an error if there is none that can be understood.
    pub(super) fn read(file: &File, elf: &Elf) -> io::Result<Self> {
        let text = elf.find(TEXT_SECTION).ok_or(io::ErrorKind::NotFound)?;
        let text = Text { address: text.address(), size: text.size() };
        let (data, address) = read_table(file, elf)?;
        let relocated = || read_relocation(file, elf, address.saturating_add(Self::word_at(2) as u64));
        Self::parse(data, text, relocated).ok_or_else(|| broken("a table of Go functions of unexpected shape"))
    }

    /// The memory it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// The function at an address of the module. File and line are left out where the code was inlined from a function that
    /// the table does not tell.
    pub(super) fn resolve(&self, address: u64) -> Option<Function> {
        let after = self.partition_point(address)?;
        let (entry, offset) = self.entry(after.checked_sub(1)?)?;
        if address >= self.entry_address(after)? {
            return None;
        }
        let function = self.functions.checked_add(offset)?;
        if self.first_word(function)? != entry {
            return None;
        }
        let name = self.text_at(self.names.checked_add(self.field(function, 1)? as usize)?)?;
        let place = self.place(function, entry, address);
        let (file, line) = place.map_or((None, None), |(file, line)| (Some(file), Some(line)));
        Some(Function { name, file, line, inlined: false })
    }

    fn parse(data: Vec<u8>, text: Text, relocated: impl FnOnce() -> Option<u64>) -> Option<Self> {
        let layout = Layout::parse(data.get(..8)?)?;
        let quantum = u64::from(data[6]);
        let region = |number| Some(u64_at(data.get(Self::word_at(number)..)?.get(..8)?, 0) as usize);
        let first = if layout == Layout::Go16 { 2 } else { 3 };
        let (count, written) = (region(0)?, region(2)? as u64);
        let [names, units, files, values, functions] = [0, 1, 2, 3, 4].map(|number| region(first + number));
        let (names, units, files) = (names?, units?, files?);
        let (values, functions) = (values?, functions?);
        let mut table = Self { data, layout, text: 0, quantum, count, names, units, files, values, functions };
        table.text = match layout {
            Layout::Go16 => 0,
            Layout::Go18 | Layout::Go20 => table.text_start(written, text, relocated)?,
        };
        (count > 0 && table.entry_address(count)? > text.address).then_some(table)
    }

    /// Where the code begins: as the header says, or as the dynamic linker would write it there, or at the section's beginning
    /// if nothing but Go code is in it.
    fn text_start(&self, written: u64, text: Text, relocated: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let is_code = |address: &u64| (text.address..text.address.saturating_add(text.size)).contains(address);
        if let Some(start) = Some(written).filter(|start| *start != 0).or_else(relocated) {
            return Some(start).filter(is_code);
        }
        let span = self.entry_address(self.count)?;
        let is_all = span <= text.size && text.size - span < limits::GO_TEXT_REST;
        is_all.then_some(text.address)
    }

    const fn word_at(number: usize) -> usize {
        HEADER_WORDS + 8 * number
    }

    /// The number of the first function that begins behind the address.
    fn partition_point(&self, address: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry_address(middle)? <= address {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Some(low)
    }

    /// Address and description of the function with a number.
    fn entry(&self, number: usize) -> Option<(u64, usize)> {
        let width = self.layout.width();
        let offset = self.number_at(self.entry_at(number)?.checked_add(width)?, width)?;
        Some((self.entry_address(number)?, usize::try_from(offset).ok()?))
    }

    /// The address of the function with a number; of the end of the code for the number after the last.
    fn entry_address(&self, number: usize) -> Option<u64> {
        self.text.checked_add(self.number_at(self.entry_at(number)?, self.layout.width())?)
    }

    fn entry_at(&self, number: usize) -> Option<usize> {
        number.checked_mul(2 * self.layout.width())?.checked_add(self.functions)
    }

    /// The first number of a function's description: its address.
    fn first_word(&self, function: usize) -> Option<u64> {
        self.text.checked_add(self.number_at(function, self.layout.width())?)
    }

    /// A further number of a function's description.
    fn field(&self, function: usize, number: usize) -> Option<u32> {
        let at = function.checked_add(self.layout.width() + 4 * (number - 1))?;
        u32::try_from(self.number_at(at, 4)?).ok()
    }

    /// File and line of an address of a function, unless the code was inlined.
    fn place(&self, function: usize, entry: u64, address: u64) -> Option<(String, u32)> {
        let tables = self.field(function, 7)? as usize;
        let inlined = match tables > INLINED_TABLE {
            true => self.field(function, self.layout.fields() + INLINED_TABLE)?,
            false => 0,
        };
        if self.value(inlined, entry, address).is_some_and(|call| call >= 0) {
            return None;
        }
        let number = self.value(self.field(function, 5)?, entry, address)?;
        let line = self.value(self.field(function, 6)?, entry, address)?;
        let at = u64::from(self.field(function, 8)?).checked_add(u64::try_from(number).ok()?)?;
        let file = self.number_at(self.units.checked_add(usize::try_from(at).ok()?.checked_mul(4)?)?, 4)?;
        let file = self.text_at(self.files.checked_add(usize::try_from(file).ok()?)?)?;
        Some((file, u32::try_from(line).ok()?))
    }

    /// The value at an address in the table at an offset: a list of steps in value and address.
    fn value(&self, offset: u32, entry: u64, address: u64) -> Option<i32> {
        if offset == 0 {
            return None;
        }
        let mut at = self.values.checked_add(offset as usize)?;
        let (mut value, mut end) = (-1i32, entry);
        for step in 0..limits::GO_STEPS {
            let change = self.variable_number(&mut at)?;
            if change == 0 && step > 0 {
                return None;
            }
            value = value.wrapping_add((change >> 1) as i32 ^ -((change & 1) as i32));
            end = end.checked_add(u64::from(self.variable_number(&mut at)?).checked_mul(self.quantum)?)?;
            if address < end {
                return Some(value);
            }
        }
        None
    }

    /// A number of seven bits a byte, the lowest first.
    fn variable_number(&self, at: &mut usize) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let byte = *self.data.get(*at)?;
            *at += 1;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number_at(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.data.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The text up to the next zero.
    fn text_at(&self, at: usize) -> Option<String> {
        let rest = self.data.get(at..)?;
        let text = &rest[..rest.len().min(limits::TEXT_BYTES + 1)];
        let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        (length > 0).then(|| cut(&String::from_utf8_lossy(&text[..length])).to_owned())
    }
}

impl Layout {
    fn parse(header: &[u8]) -> Option<Self> {
        let layout = match header.get(..4)? {
            b"\xfa\xff\xff\xff" => Self::Go16,
            b"\xf0\xff\xff\xff" => Self::Go18,
            b"\xf1\xff\xff\xff" => Self::Go20,
            _ => return None,
        };
        let (padding, quantum, pointer) = (&header[4..6], header[6], header[7]);
        (padding == [0, 0] && matches!(quantum, 1 | 2 | 4) && pointer == 8).then_some(layout)
    }

    /// The bytes of an address, or of an offset of code.
    fn width(self) -> usize {
        if self == Self::Go16 { 8 } else { 4 }
    }

    /// How many numbers a function's description has before the list of its tables, the address included.
    fn fields(self) -> usize {
        if self == Self::Go20 { 11 } else { 10 }
    }
}

/// The table and its address.
fn read_table(file: &File, elf: &Elf) -> io::Result<(Vec<u8>, u64)> {
    if let Some(section) = SECTIONS.into_iter().find_map(|name| elf.find(name)) {
        return Ok((section.read(file, limits::SYMBOL_BYTES_PER_FILE)?, section.address()));
    }
    let section = elf.find(MERGED_SECTION).ok_or(io::ErrorKind::NotFound)?;
    let mut data = section.read(file, limits::SYMBOL_BYTES_PER_FILE)?;
    let is_begin = |(_, header): &(usize, &[u8])| Layout::parse(header).is_some();
    let begin = data.chunks_exact(8).enumerate().find(is_begin).ok_or(io::ErrorKind::NotFound)?.0 * 8;
    Ok((data.split_off(begin), section.address().saturating_add(begin as u64)))
}

/// What the dynamic linker writes at an address, relative to where it loads the program.
fn read_relocation(file: &File, elf: &Elf, address: u64) -> Option<u64> {
    let section = RELOCATION_SECTIONS.into_iter().find_map(|name| elf.find(name))?;
    let table = section.read(file, limits::GO_RELOCATION_BYTES).ok()?;
    let mut entries = table.chunks_exact(RELOCATION_BYTES);
    // The upper half of the second number is a symbol: none, where only the load address is added.
    let entry = entries.find(|entry| u64_at(entry, 0) == address && u64_at(entry, 8) >> 32 == 0)?;
    Some(u64_at(entry, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Text = Text { address: 0x1000, size: 0x100 };

    /// A table of two functions: `first` at 0, with lines 7, and 9 inlined, and `second` at 0x40 without lines.
    fn table(layout: Layout, text: u64) -> Vec<u8> {
        let base = if layout == Layout::Go16 { TEXT.address } else { 0 };
        let number = |number: u64| number.to_le_bytes()[..layout.width()].to_vec();
        let names = b"\0first\0second\0".to_vec();
        let units = 4u32.to_le_bytes().to_vec();
        let files = b"\0\0\0\0/a.go\0".to_vec();
        // At 1: file 0 to 0x40. At 4: lines 7 to 0x20, 9 to 0x40. At 9: not inlined to 0x20, then by call 0.
        let values = b"\0\x02\x40\0\x10\x20\x04\x20\0\0\x20\x02\x20\0".to_vec();
        let mut functions = Vec::new();
        let listed = 5 * layout.width();
        let described = 4 * layout.fields() + layout.width() - 4 + 12;
        for (at, offset) in [(base, listed), (base + 0x40, listed + described), (base + 0x80, 0)] {
            functions.extend(number(at));
            functions.extend(number(offset as u64));
        }
        functions.truncate(listed);
        for (at, name, fields) in [(base, 1u32, [1u32, 4, 3, 0]), (base + 0x40, 7, [0, 0, 0, 0])] {
            functions.extend(number(at));
            let [file, line, tables, unit] = fields;
            let rest = vec![0; layout.fields() - 9];
            let inlined = [0, 0, if tables > 0 { 9 } else { 0 }];
            for word in [&[name, 0, 0, 0, file, line, tables, unit][..], &rest, &inlined].concat() {
                functions.extend(word.to_le_bytes());
            }
        }
        let magic = match layout {
            Layout::Go16 => 0xfau8,
            Layout::Go18 => 0xf0,
            Layout::Go20 => 0xf1,
        };
        let mut words = vec![2, 1];
        words.extend((layout != Layout::Go16).then_some(text));
        let mut at = (8 + 8 * (words.len() + 5)) as u64;
        let regions = [names, units, files, values, functions];
        for region in &regions {
            words.push(at);
            at += region.len() as u64;
        }
        let header = [magic, 0xff, 0xff, 0xff, 0, 0, 1, 8].to_vec();
        [header, words.into_iter().flat_map(u64::to_le_bytes).collect(), regions.concat()].concat()
    }

    fn parse(data: Vec<u8>) -> Option<GoTable> {
        GoTable::parse(data, TEXT, || None)
    }

    #[test]
    fn every_layout_has_functions_files_and_lines() {
        for layout in [Layout::Go16, Layout::Go18, Layout::Go20] {
            let table = parse(table(layout, 0x1000)).unwrap();
            let said = |address| {
                let found = table.resolve(address)?;
                Some((found.name, found.file, found.line))
            };
            let (first, second) = ("first".to_owned(), "second".to_owned());
            assert_eq!(said(0x0fff), None);
            assert_eq!(said(0x1000), Some((first.clone(), Some("/a.go".to_owned()), Some(7))), "{layout:?}");
            assert_eq!(said(0x101f), said(0x1000));
            assert_eq!(said(0x1020), Some((first, None, None)), "the inlined code has a line of another function");
            assert_eq!(said(0x107f), Some((second, None, None)));
            assert_eq!(said(0x1080), None, "behind the code");
        }
    }

    #[test]
    fn the_beginning_of_the_code_is_told_by_the_header_or_a_relocation_or_not_guessed() {
        let start = |written, text, relocated| {
            GoTable::parse(table(Layout::Go18, written), text, || relocated).map(|table| table.text)
        };
        let exact = Text { address: 0x1000, size: 0x81 };
        assert_eq!(start(0x1010, TEXT, None), Some(0x1010));
        assert_eq!(start(0, TEXT, Some(0x1020)), Some(0x1020));
        assert_eq!(start(0, exact, None), Some(0x1000));
        assert_eq!(start(0, TEXT, None), None, "there is other code, too");
        assert_eq!(start(0x9000, TEXT, None), None, "not in the code");
    }

    #[test]
    fn damaged_tables_give_no_answer_or_a_wrong_one_but_never_a_crash() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for layout in [Layout::Go16, Layout::Go18, Layout::Go20] {
            let intact = table(layout, 0x1000);
            (0..intact.len()).for_each(|length| {
                let _cut = parse(intact[..length].to_vec()).map(resolve_all);
            });
            for _ in 0..2000 {
                let mut damaged = intact.clone();
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                damaged[(random >> 16) as usize % intact.len()] = (random >> 48) as u8;
                let _damaged = parse(damaged).map(resolve_all);
            }
        }
    }

    fn resolve_all(table: GoTable) {
        (0x0ff0..0x1100).for_each(|address| drop(table.resolve(address)));
        [0, u64::MAX].into_iter().for_each(|address| drop(table.resolve(address)));
    }

    #[test]
    fn an_endless_list_of_steps_ends() {
        let mut data = table(Layout::Go18, 0x1000);
        let values = u64_at(&data, GoTable::word_at(6)) as usize;
        data.truncate(values);
        let functions = data.len() as u64 + 4 * limits::GO_STEPS as u64;
        data.extend([2, 0].repeat(2 * limits::GO_STEPS));
        let intact = table(Layout::Go18, 0x1000);
        data.extend(&intact[u64_at(&intact, GoTable::word_at(7)) as usize..]);
        data[GoTable::word_at(7)..][..8].copy_from_slice(&functions.to_le_bytes());
        let found = parse(data).unwrap().resolve(0x1000).unwrap();
        assert_eq!((found.name.as_str(), found.file), ("first", None));
    }
}
