//! Tables of real files against the rows they were made from.
//!
//! For addresses all over a file, the row is looked up as an unwinder does that throws exceptions, through the file's own
//! index, and carried out by the library with made-up registers and memory. The table's rule must lead to the same caller.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, Encoding, EvaluationResult, Expression, Format, LittleEndian,
    Location, Piece, RegisterRule, UnwindContext, UnwindSection, UnwindTableRow,
};
use profiler_common::unwind::aarch64::{self, Aarch64};
use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::rule::{FIRST_SCRATCH, LOST, Rule, cfa};
use profiler_common::unwind::stop;
use profiler_common::unwind::walk::{Code, Machine as _, Process};
use profiler_common::unwind::x86_64::{self, X86_64};

use super::super::expression::Bytes;
use super::super::source::Source;
use super::super::table::Table;
use super::super::translation::Storage;
use crate::process::elf::Elf;

const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
/// Functions looked at in one file.
const SAMPLES: usize = 4000;
/// Installed together with a compiler for that machine.
const FOREIGN_LIBRARIES: [&str; 2] =
    ["/usr/aarch64-linux-gnu/lib/libc.so.6", "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"];

/// Memory that holds another word everywhere, all of them addresses above the made-up stack pointer.
struct MadeUp;

impl Process for MadeUp {
    fn find_code(&mut self, _: u64) -> Code {
        Code::Nowhere
    }

    fn find_rule(&mut self, _: u32, _: u64) -> Rule {
        Rule::NONE
    }

    fn read(&mut self, address: u64) -> Option<u64> {
        Some(word_at(address))
    }
}

fn word_at(address: u64) -> u64 {
    0x6000_0000_0000 | address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & !7
}

/// The value of a register of the innermost frame, by its DWARF number.
fn register(number: u16) -> u64 {
    0x5000_0000_0000 + u64::from(number) * 0x10_0000
}

/// What one machine calls its registers.
struct Registers {
    stack_pointer: u16,
    return_address: u16,
    kept: &'static [u16],
    scratch: &'static [u16],
    apply: fn(&mut Cursor, &Rule) -> u8,
}

const ON_X86_64: Registers = Registers {
    stack_pointer: x86_64::STACK_POINTER,
    return_address: x86_64::RETURN_ADDRESS,
    kept: &x86_64::KEPT,
    scratch: &x86_64::SCRATCH,
    apply: |cursor, rule| X86_64::apply(cursor, rule, &mut MadeUp),
};

const ON_AARCH64: Registers = Registers {
    stack_pointer: aarch64::STACK_POINTER,
    return_address: aarch64::RETURN_ADDRESS,
    kept: &aarch64::KEPT,
    scratch: &aarch64::SCRATCH,
    apply: |cursor, rule| Aarch64::apply(cursor, rule, &mut MadeUp),
};

impl Registers {
    /// The innermost frame. Its stack pointer is the lowest of all registers, as frames lie above it.
    fn cursor(&self, pc: u64) -> Cursor {
        let mut cursor = Cursor { pc, sp: self.value(self.stack_pointer, pc), ..Cursor::EMPTY };
        for (slot, number) in self.kept.iter().enumerate() {
            cursor.kept[slot] = register(*number);
        }
        for (slot, number) in self.scratch.iter().enumerate() {
            cursor.scratch[slot] = register(*number);
        }
        cursor
    }

    fn value(&self, number: u16, pc: u64) -> u64 {
        match number {
            _ if number == self.stack_pointer => 0x4000_0000_0000,
            x86_64::RETURN_ADDRESS => pc,
            _ => register(number),
        }
    }
}

/// What the library makes of a row.
struct Caller<'a> {
    registers: &'a Registers,
    section: &'a EhFrame<Bytes<'a>>,
    row: &'a UnwindTableRow<usize, Storage>,
    pc: u64,
}

impl Caller<'_> {
    fn cfa(&self) -> u64 {
        match self.row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.registers.value(register.0, self.pc).wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(expression.get(self.section).unwrap(), None),
        }
    }

    /// The value of a register; `None` if the library would not find it either.
    fn register(&self, number: u16) -> Option<u64> {
        match self.row.register(gimli::Register(number)) {
            None | Some(RegisterRule::SameValue) => Some(self.registers.value(number, self.pc)),
            Some(RegisterRule::Offset(offset)) => Some(word_at(self.cfa().wrapping_add_signed(offset))),
            Some(RegisterRule::Expression(expression)) => {
                Some(word_at(self.evaluate(expression.get(self.section).unwrap(), Some(self.cfa()))))
            }
            _ => None,
        }
    }

    fn evaluate(&self, expression: Expression<Bytes<'_>>, initial: Option<u64>) -> u64 {
        let mut evaluation = expression.evaluation(ENCODING);
        initial.into_iter().for_each(|initial| evaluation.set_initial_value(initial));
        let mut state = evaluation.evaluate().unwrap();
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = self.registers.value(register.0, self.pc);
                    evaluation.resume_with_register(gimli::Value::Generic(value)).unwrap()
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(gimli::Value::Generic(word_at(address))).unwrap()
                }
                other => panic!("{other:?}"),
            };
        }
        let [Piece { location: Location::Address { address }, .. }] = evaluation.result()[..] else { panic!() };
        address
    }
}

/// How many rules were compared, and how many could not be.
#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    unsupported: usize,
    lost: usize,
}

impl Tally {
    fn compare(&mut self, rule: &Rule, caller: &Caller<'_>) {
        let registers = caller.registers;
        let mut cursor = registers.cursor(caller.pc);
        match (registers.apply)(&mut cursor, rule) {
            stop::NONE => {}
            // glibc's resolver for aarch64 ends with its caller's stack pointer above its own frame.
            stop::UNSUPPORTED | stop::NO_PROGRESS => return self.unsupported += 1,
            stop => panic!("stopped at {:#x} for {stop}: {rule:?}", caller.pc),
        }
        assert_eq!(cursor.sp, caller.cfa(), "CFA at {:#x}: {rule:?}", caller.pc);
        assert_eq!(Some(cursor.pc), caller.register(registers.return_address), "at {:#x}: {rule:?}", caller.pc);
        for (slot, number) in registers.kept.iter().enumerate() {
            let found = cursor.register(slot as u8, &mut MadeUp);
            match found {
                Some(_) => assert_eq!(found, caller.register(*number), "{number} at {:#x}: {rule:?}", caller.pc),
                // What calls overwrite need not be found.
                None => self.lost += usize::from(rule.saved[slot] == LOST),
            }
        }
        self.equal += 1;
    }
}

/// A real file and its table.
struct Real {
    path: PathBuf,
    source: Source,
    table: Table,
    index: Vec<u8>,
    index_at: u64,
}

impl Real {
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let elf = Elf::read(&file).unwrap();
        let index_at = elf.segments.address_of(elf.frame_header.unwrap()).unwrap();
        let part = elf.segments.part_at(index_at).unwrap();
        let mut index = vec![0; (part.end - part.start) as usize];
        file.read_exact_at(&mut index, part.start).unwrap();
        let source = Source::open(&file).unwrap();
        Self { path: path.to_owned(), table: source.build(), source, index, index_at }
    }

    fn compare(&self) -> Tally {
        let section = self.source.eh_frame.as_ref().unwrap();
        let bases = BaseAddresses::default().set_eh_frame(section.address).set_eh_frame_hdr(self.index_at);
        let (mut frames, mut tally) = (EhFrame::new(&section.bytes, LittleEndian), Tally::default());
        frames.set_vendor(self.source.machine.vendor);
        let index = EhFrameHdr::new(&self.index, LittleEndian).parse(&bases, 8).unwrap();
        let (index, starts) = (index.table().unwrap(), self.starts(&frames, &bases));
        for start in starts {
            let frame = index.fde_for_address(&frames, &bases, start, EhFrame::cie_from_offset).unwrap();
            for pc in sampled_addresses(start, frame.len()) {
                let mut context = UnwindContext::new_in();
                let row = frame.unwind_info_for_address(&frames, &bases, &mut context, pc).unwrap();
                self.compare_row(row, &frames, pc, frame.is_signal_trampoline(), &mut tally);
            }
        }
        tally
    }

    fn compare_row(
        &self,
        row: &UnwindTableRow<usize, Storage>,
        section: &EhFrame<Bytes<'_>>,
        pc: u64,
        signal: bool,
        tally: &mut Tally,
    ) {
        let registers = if self.source.machine.is_x86_64() { &ON_X86_64 } else { &ON_AARCH64 };
        let rule = self.table.find(pc);
        let return_address = row.register(gimli::Register(registers.return_address));
        if signal {
            assert_eq!(rule, Rule::SIGNAL, "{pc:#x}");
        } else if return_address == Some(RegisterRule::Undefined) {
            assert_eq!(rule, Rule::OUTERMOST, "{pc:#x}");
        } else if rule.cfa != cfa::OUTERMOST || !self.is_entry(pc) {
            tally.compare(&rule, &Caller { registers, section, row, pc });
        }
    }

    fn is_entry(&self, pc: u64) -> bool {
        self.source.is_program && pc.wrapping_sub(self.source.entry) < 4096
    }

    /// Where functions begin, all over the file.
    fn starts(&self, section: &EhFrame<Bytes<'_>>, bases: &BaseAddresses) -> Vec<u64> {
        let (mut starts, mut entries) = (Vec::new(), section.entries(bases));
        while let Some(entry) = entries.next().unwrap() {
            if let gimli::CieOrFde::Fde(partial) = entry {
                let frame = partial.parse(EhFrame::cie_from_offset).unwrap();
                starts.extend((frame.len() > 0).then_some(frame.initial_address()));
            }
        }
        let step = starts.len().div_ceil(SAMPLES).max(1);
        starts.into_iter().step_by(step).collect()
    }
}

/// The first instructions of a function, its end, and a few between.
fn sampled_addresses(start: u64, length: u64) -> impl Iterator<Item = u64> {
    let offsets = [0, 1, 2, 4, 7, 11, length / 3, length / 2, length - 1];
    offsets.into_iter().filter(move |offset| *offset < length).map(move |offset| start + offset)
}

/// The files this test is made of, and those of another machine if there are any.
fn real_files() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| line.contains(" r-xp ")).filter_map(|line| line.split_whitespace().nth(5));
    let foreign = FOREIGN_LIBRARIES.into_iter().filter(|path| Path::new(path).exists());
    mapped.chain(foreign).filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
}

#[test]
fn rules_of_real_files_lead_to_the_same_callers_as_their_rows() {
    let files = real_files();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let real = Real::open(&path);
        let tally = real.compare();
        println!("{}: {tally:?}, {:?}", real.path.display(), real.table.omissions);
        assert!(tally.equal > 100 && tally.unsupported * 100 < tally.equal, "{path:?}: {tally:?}");
        assert!(tally.lost * 100 < tally.equal, "{path:?}: {tally:?}");
    }
}

#[test]
fn a_file_stripped_of_its_sections_has_the_same_rules() {
    let path = real_files().into_iter().find(|path| path.to_string_lossy().contains("/libc.so")).unwrap();
    let mut content = fs::read(&path).unwrap();
    // The offset, number and names of the section headers.
    content[40..48].fill(0);
    content[60..64].fill(0);
    let stripped = Source::open(&super::fixture::memory_file(&content)).unwrap().build();
    let whole = Source::open(&File::open(&path).unwrap()).unwrap().build();
    let differ = |word: &usize| stripped.rows.get(*word) != whole.rows.get(*word);
    assert_eq!((0..whole.rows.len()).find(differ), None);
    assert_eq!((stripped.rules, stripped.pages), (whole.rules, whole.pages));
}

#[test]
fn the_kernels_code_in_every_process_has_a_table() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else { return };
    let bounds = line.split(' ').next().unwrap().split('-');
    let [start, end] = bounds.map(|bound| u64::from_str_radix(bound, 16).unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let mut content = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut content, start).unwrap();
    let table = Source::open(&super::fixture::memory_file(&content)).unwrap().build();
    assert!(table.rows.len() > 10, "{table:?}");
}

#[test]
fn numbers_of_scratch_registers_do_not_meet_those_of_kept_ones() {
    assert!(x86_64::KEPT.len() <= usize::from(FIRST_SCRATCH));
}
