//! A made-up virtual machine: the memory of a process that maps one, byte by byte, as three releases lay it out.
//!
//! It has one compiled method, `a.B.outer`, into which `a.C.inner` was inlined, one native method, and the interpreter.

use std::ops::Range;

use super::unsigned5::Form;
use crate::process::fixture::FixtureWorld;
use crate::process::{Executables, Image};
use crate::profile::{ImageId, ProcessId};
use crate::runtime::python::fixture::{Hashes, MadeUp, PID};
use crate::runtime::python::fuzzing::MEMORY_AT;

pub(super) const VARIABLES: u64 = 0x900;
const FIELD_ROWS: u64 = 0xa00;
const TYPE_ROWS: u64 = 0x1200;
const TEXTS: u64 = 0x1400;
/// Where the variables of the machine begin that its tables tell of; each takes sixteen bytes.
const STATICS: u64 = 0x2000;
/// Where called Java code returns to.
pub(super) const ENTRY_RETURN: u64 = INTERPRETER + 0x300;
const HEAP_LIST: u64 = 0x2080;
const HEAP_OBJECT: u64 = 0x2100;
pub(super) const SEGMENTS: u64 = 0x2300;
pub(super) const HEAP: u64 = 0x3000;
pub(super) const HEAP_END: u64 = 0x6000;
/// Where compiled code begins in its heap, of two methods and of the interpreter, each with its block.
pub(super) const COMPILED: u64 = HEAP;
pub(super) const NATIVE: u64 = HEAP + 0x1000;
pub(super) const INTERPRETER: u64 = HEAP + 0x2000;
pub(super) const CODE_AFTER: u64 = 0x200;
pub(super) const OUTER: u64 = 0x6000;
pub(super) const INNER: u64 = 0x6400;
pub(super) const CLASS_SYMBOL: u64 = 0x6800;
const METHOD_TEXTS: u64 = 0x6a00;
/// Debug information apart from the blob, and the table of methods.
pub(super) const APART: u64 = 0x6c00;
const METADATA_APART: u64 = 0x6d00;
const BYTES: usize = 0x7000;
const SHIFT: u32 = 7;
pub(super) const COMPILE_ID: u32 = 77;
/// Where the debug information of each release lies in the blob of a compiled method, behind its code.
pub(super) const INSIDE: u64 = 0x600;

/// A release, by what it calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    Eight,
    Seventeen,
    TwentyFive,
}

pub(super) const RELEASES: [Release; 3] = [Release::Eight, Release::Seventeen, Release::TwentyFive];

/// Fields that all three have: name, type, offset.
const COMMON: &str = "VirtualSpace::_low_boundary char* 0
VirtualSpace::_high_boundary char* 8
PcDesc::_pc_offset int 0
PcDesc::_scope_decode_offset int 4
Method::_constMethod ConstMethod* 8
ConstMethod::_constants ConstantPool* 8
ConstMethod::_constMethod_size int 24
ConstMethod::_code_size u2 34
ConstMethod::_name_index u2 36
ConstantPool::_pool_holder InstanceKlass* 24
ConstantPool::_length int 56
Klass::_name Symbol* 24
Symbol::_body - 8
";

const EIGHT: &str = "CodeHeap::_memory VirtualSpace 0
CodeHeap::_segmap VirtualSpace 112
CodeHeap::_log2_segment_size int 248
CodeBlob::_name char* 8
CodeBlob::_code_offset int 32
CodeBlob::_frame_complete_offset int 36
CodeBlob::_data_offset int 40
CodeBlob::_frame_size int 44
nmethod::_method Method* 64
nmethod::_deoptimize_offset int 148
nmethod::_metadata_offset int 164
nmethod::_scopes_data_offset int 168
nmethod::_scopes_pcs_offset int 172
nmethod::_dependencies_offset int 176
nmethod::_orig_pc_offset int 200
nmethod::_compile_id int 204
ConstMethod::_flags u2 32
InstanceKlass::_source_file_name_index u2 200
Symbol::_length unsigned_short 0
";

const SEVENTEEN: &str = "GrowableArrayBase::_len int 0
GrowableArray<int>::_data int* 16
CodeHeap::_memory VirtualSpace 8
CodeHeap::_segmap VirtualSpace 120
CodeHeap::_log2_segment_size int 256
CodeBlob::_name char* 96
CodeBlob::_code_begin address 32
CodeBlob::_code_end address 40
CodeBlob::_frame_complete_offset int 20
CodeBlob::_frame_size int 28
CompiledMethod::_method Method* 112
CompiledMethod::_scopes_data_begin address 120
CompiledMethod::_deopt_handler_begin address 128
nmethod::_metadata_offset int 272
nmethod::_scopes_pcs_offset int 276
nmethod::_dependencies_offset int 280
nmethod::_orig_pc_offset int 300
nmethod::_compile_id int 304
ConstMethod::_flags u2 32
ConstantPool::_source_file_name_index u2 60
Symbol::_length u2 4
";

const TWENTY_FIVE: &str = "GrowableArrayBase::_len int 0
GrowableArray<int>::_data int* 16
CodeHeap::_memory VirtualSpace 0
CodeHeap::_segmap VirtualSpace 112
CodeHeap::_log2_segment_size int 248
CodeBlob::_name char* 8
CodeBlob::_relocation_size int 28
CodeBlob::_code_offset int 36
CodeBlob::_data_offset int 40
CodeBlob::_frame_size int 44
CodeBlob::_frame_complete_offset int16_t 54
CodeBlob::_mutable_data address 56
CodeBlob::_mutable_data_size int 48
nmethod::_method Method* 80
nmethod::_immutable_data address 96
nmethod::_deopt_handler_offset int 176
nmethod::_scopes_pcs_offset int 196
nmethod::_scopes_data_offset int 200
nmethod::_orig_pc_offset int 208
nmethod::_compile_id int 212
nmethod::_immutable_data_size int 160
ConstMethod::_flags._flags u4 40
ConstantPool::_source_file_name_index u2 60
Symbol::_length u2 4
";

impl Release {
    fn fields(self) -> &'static str {
        match self {
            Self::Eight => EIGHT,
            Self::Seventeen => SEVENTEEN,
            Self::TwentyFive => TWENTY_FIVE,
        }
    }

    fn variables(self) -> [&'static str; 5] {
        let heaps = if self == Self::Eight { "CodeCache::_heap" } else { "CodeCache::_heaps" };
        let release = "Abstract_VM_Version::_s_vm_release";
        let entry = "StubRoutines::_call_stub_return_address";
        [heaps, "AbstractInterpreter::_code", "Abstract_VM_Version::_vm_major_version", release, entry]
    }

    fn types(self) -> [(&'static str, u64); 10] {
        let header = if self == Self::TwentyFive { 8 } else { 16 };
        let bytes = self.const_bytes();
        [
            ("HeapBlock", header),
            ("ConstMethod", bytes),
            ("ConstantPool", 72),
            ("PcDesc", 16),
            ("int", 4),
            ("u2", 2),
            ("u4", 4),
            ("bool", 1),
            ("unsigned short", 2),
            ("address", 8),
        ]
    }

    fn const_bytes(self) -> u64 {
        if self == Self::TwentyFive { 56 } else { 48 }
    }

    /// What 8 calls itself is not what it is.
    fn number(self) -> u32 {
        if self == Self::Seventeen { 17 } else { 25 }
    }

    pub(super) fn form(self) -> Form {
        if self == Self::TwentyFive { Form::WithoutZeroes } else { Form::WithZeroes }
    }
}

/// A machine in memory; offsets count from where it is mapped.
#[derive(Debug, Clone)]
pub(super) struct MadeMachine {
    pub(super) memory: MadeUp,
    release: Release,
    /// All fields: name, type, offset.
    fields: Vec<(&'static str, &'static str, u64)>,
    texts: u64,
}

impl MadeMachine {
    pub(super) fn of(release: Release) -> Self {
        Self::without(release, "")
    }

    /// A machine that does not tell of one field, variable or type.
    pub(super) fn without(release: Release, name: &str) -> Self {
        let names = super::vm_structs::SYMBOLS;
        let symbols: Vec<_> = (0..).zip(names).map(|(number, name)| (*name, VARIABLES + 8 * number, 8)).collect();
        let mut memory = MadeUp::exporting(&symbols, Hashes::Gnu);
        memory.bytes.resize(BYTES, 0);
        memory.file = "/usr/lib/jvm/lib/server/libjvm.so";
        let lines = COMMON.lines().chain(release.fields().lines());
        let fields = lines.map(|line| {
            let [name, kind, offset] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (name, kind, offset.parse().unwrap())
        });
        let fields = fields.filter(|field| field.0 != name).collect();
        let mut made = Self { memory, release, fields, texts: TEXTS };
        made.put_tables(name);
        made.put_heaps();
        made.put_code();
        made.put_methods();
        made
    }

    /// The names of all fields, variables and types it tells of.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let fields = self.fields.iter().map(|field| field.0);
        fields.chain(self.release.variables()).chain(self.release.types().map(|(name, _)| name)).collect()
    }

    fn put_text(&mut self, text: &str) -> u64 {
        let at = self.texts;
        self.memory.put(at, text.as_bytes());
        self.texts += text.len() as u64 + 1;
        assert!(self.texts <= STATICS);
        MEMORY_AT + at
    }

    fn put_tables(&mut self, without: &str) {
        let words = [MEMORY_AT + FIELD_ROWS, 48, 0, 8, 16, 24, 32, 40, MEMORY_AT + TYPE_ROWS, 40, 0, 32];
        self.memory.put_words(VARIABLES, &words);
        let mut row = FIELD_ROWS;
        for (name, kind, offset) in self.fields.clone() {
            let kind =
                if kind == "-" { 0 } else { self.put_text(&kind.replace('_', " ").replace("int16 t", "int16_t")) };
            self.put_row(row, name, [kind, 0, offset, 0]);
            row += 48;
        }
        for (number, name) in (0..).zip(self.release.variables()).filter(|(_, name)| *name != without) {
            let kind = self.put_text("void*");
            self.put_row(row, name, [kind, 1, 0, MEMORY_AT + STATICS + 16 * number]);
            row += 48;
        }
        let types = self.release.types().into_iter().filter(|(name, _)| *name != without);
        for (number, (name, size)) in (0..).zip(types) {
            let name = self.put_text(name);
            self.memory.put_words(TYPE_ROWS + 40 * number, &[name, 0, 0, 0, size]);
        }
    }

    fn put_row(&mut self, row: u64, name: &str, rest: [u64; 4]) {
        let (owner, field) = name.rsplit_once("::").unwrap();
        let (owner, field) = (self.put_text(owner), self.put_text(field));
        self.memory.put_words(row, &[owner, field, rest[0], rest[1], rest[2], rest[3]]);
    }

    /// The heap, one variable or a list of one.
    fn put_heaps(&mut self) {
        let text = self.put_text("made-up");
        let first = if self.release == Release::Eight { HEAP_OBJECT } else { HEAP_LIST };
        self.memory.put_pointer(STATICS, first);
        self.memory.put_pointer(STATICS + 16, INTERPRETER);
        self.memory.put(STATICS + 32, &self.release.number().to_le_bytes());
        self.memory.put_words(STATICS + 48, &[text]);
        self.memory.put_pointer(STATICS + 64, ENTRY_RETURN);
        self.memory.put_words(HEAP_LIST, &[1, 0, MEMORY_AT + HEAP_LIST + 32, 0, MEMORY_AT + HEAP_OBJECT]);
        self.memory
            .put_words(HEAP_OBJECT + self.offset("CodeHeap::_memory"), &[MEMORY_AT + HEAP, MEMORY_AT + HEAP_END]);
        self.memory.put_pointer(HEAP_OBJECT + self.offset("CodeHeap::_segmap"), SEGMENTS);
        self.memory.put(HEAP_OBJECT + self.offset("CodeHeap::_log2_segment_size"), &SHIFT.to_le_bytes());
        for segment in 0..(HEAP_END - HEAP) >> SHIFT {
            self.memory.put(SEGMENTS + segment, &[0xff]);
        }
    }

    /// The end of the machine's start is undone: the interpreter was not made yet.
    pub(super) fn unstart(&mut self) {
        self.memory.put_words(STATICS + 16, &[0]);
    }

    /// The library is only mapped: what its initialization computes is zero.
    pub(super) fn unload(&mut self) {
        self.memory.put_words(VARIABLES + 8, &[0]);
    }

    fn offset(&self, name: &str) -> u64 {
        self.fields.iter().find(|field| field.0 == name).map_or(0, |field| field.2)
    }

    pub(super) fn put_field(&mut self, at: u64, name: &str, value: u64) {
        let Some((_, kind, offset)) = self.fields.iter().find(|field| field.0 == name).copied() else { return };
        let bytes = match kind {
            "u2" | "unsigned_short" | "int16_t" => 2,
            "int" | "u4" => 4,
            _ => 8,
        };
        self.memory.put(at + offset, &value.to_le_bytes()[..bytes]);
    }

    fn put_code(&mut self) {
        for (blob, name) in [(COMPILED, "nmethod"), (NATIVE, "native nmethod"), (INTERPRETER, "Interpreter")] {
            self.put_blob(blob, name);
        }
        let metadata = if self.release == Release::TwentyFive { METADATA_APART + 16 } else { COMPILED + INSIDE };
        self.memory.put_words(metadata, &[MEMORY_AT + OUTER, MEMORY_AT + INNER]);
        self.put_debug_info();
    }

    /// Blocks of 0xf00 bytes, each with its header before the blob.
    fn put_blob(&mut self, blob: u64, name: &str) {
        let header = if self.release == Release::TwentyFive { 8 } else { 16 };
        let first = (blob - HEAP) >> SHIFT;
        assert_eq!((first << SHIFT) + HEAP, blob, "blobs are given by their blocks");
        for segment in 0..0xf00 >> SHIFT {
            self.memory.put(SEGMENTS + first + segment, &[if segment == 0 { 0 } else { segment.min(9) as u8 }]);
        }
        let (at, name) = (blob + header, self.put_text(name));
        self.put_field(at, "CodeBlob::_name", name);
        self.put_field(at, "CodeBlob::_code_begin", MEMORY_AT + blob + CODE_AFTER);
        self.put_field(at, "CodeBlob::_code_end", MEMORY_AT + blob + INSIDE);
        self.put_field(at, "CodeBlob::_code_offset", CODE_AFTER - header);
        self.put_field(at, "CodeBlob::_data_offset", INSIDE - header);
        self.put_field(at, "CodeBlob::_frame_complete_offset", 8);
        self.put_field(at, "nmethod::_method", MEMORY_AT + OUTER);
        self.put_field(at, "CompiledMethod::_method", MEMORY_AT + OUTER);
        self.put_field(at, "nmethod::_compile_id", COMPILE_ID.into());
    }

    /// Three places: at 16 `inner` inlined into `outer`, at 32 `outer` alone, at 48 nothing.
    fn put_debug_info(&mut self) {
        let form = self.release.form();
        let mut scopes = vec![u8::from(form == Form::WithoutZeroes) + 1];
        // Outer at bytecode 5, at byte 1; inner at 2 inlined into it, at byte 4; the entry of outer, at byte 7.
        for number in [0, 1, 6, 1, 2, 3, 0, 1, 0] {
            scopes.push(number + u8::from(form == Form::WithoutZeroes));
        }
        let mut places = Vec::new();
        for (offset, scope) in [(-1, 0), (16, 4), (32, 7), (48, 0), (i32::MAX, 0)] {
            places.extend([offset, scope, 0, 0].into_iter().flat_map(i32::to_le_bytes));
        }
        let header = if self.release == Release::TwentyFive { 8 } else { 16 };
        let (at, length) = (COMPILED + header, places.len() as u64);
        if self.release == Release::TwentyFive {
            self.memory.put(APART, &[places, scopes].concat());
            self.put_field(at, "nmethod::_immutable_data", MEMORY_AT + APART);
            self.put_field(at, "nmethod::_immutable_data_size", length + 10);
            self.put_field(at, "nmethod::_scopes_pcs_offset", 0);
            self.put_field(at, "nmethod::_scopes_data_offset", length);
            self.put_field(at, "CodeBlob::_mutable_data", MEMORY_AT + METADATA_APART);
            self.put_field(at, "CodeBlob::_mutable_data_size", 32);
            self.put_field(at, "CodeBlob::_relocation_size", 12);
            return;
        }
        let inside = INSIDE - header;
        self.memory.put(COMPILED + INSIDE + 16, &[scopes, vec![0; 6], places].concat());
        self.put_field(at, "nmethod::_metadata_offset", inside);
        self.put_field(at, "nmethod::_scopes_data_offset", inside + 16);
        self.put_field(at, "CompiledMethod::_scopes_data_begin", MEMORY_AT + COMPILED + INSIDE + 16);
        self.put_field(at, "nmethod::_scopes_pcs_offset", inside + 32);
        self.put_field(at, "nmethod::_dependencies_offset", inside + 32 + length);
    }

    /// `a.B.outer` with lines 10 and, from bytecode 5 on, 12; `a.C.inner` with lines 20 and, from bytecode 2 on, 23.
    fn put_methods(&mut self) {
        let less = u8::from(self.release.form() == Form::WithoutZeroes);
        let table = |first: u8, short: u8| vec![0xff, less, 2 * first + less, short, 0];
        self.put_method(OUTER, ["a/B", "outer", "B.java"], &table(10, 5 << 3 | 2));
        self.put_method(INNER, ["a/C$$Lambda$3/0x0000000100066840", "inner", "C.java"], &table(20, 2 << 3 | 3));
    }

    /// A method with its constants behind it.
    fn put_method(&mut self, at: u64, [class, name, file]: [&str; 3], lines: &[u8]) {
        let (const_method, pool, holder) = (at + 0x100, at + 0x200, at + 0x300);
        self.memory.put_pointer(at + self.offset("Method::_constMethod"), const_method);
        self.memory.put_pointer(const_method + self.offset("ConstMethod::_constants"), pool);
        let bytes = self.release.const_bytes() + 16 + lines.len() as u64;
        self.put_field(const_method, "ConstMethod::_constMethod_size", bytes.div_ceil(8));
        self.put_field(const_method, "ConstMethod::_flags", 1);
        self.put_field(const_method, "ConstMethod::_flags._flags", 1);
        self.put_field(const_method, "ConstMethod::_code_size", 16);
        self.put_field(const_method, "ConstMethod::_name_index", 1);
        self.memory.put(const_method + self.release.const_bytes() + 16, lines);
        self.memory.put_pointer(pool + self.offset("ConstantPool::_pool_holder"), holder);
        self.put_field(pool, "ConstantPool::_length", 3);
        self.put_field(pool, "ConstantPool::_source_file_name_index", 2);
        self.put_field(holder, "InstanceKlass::_source_file_name_index", 2);
        let symbols = if at == OUTER { CLASS_SYMBOL } else { METHOD_TEXTS };
        let [class, name, file] = [(class, 0), (name, 0x80), (file, 0x100)].map(|(text, after)| {
            self.put_field(symbols + after, "Symbol::_length", text.len() as u64);
            self.memory.put(symbols + after + 8, text.as_bytes());
            MEMORY_AT + symbols + after
        });
        self.memory.put_words(holder + self.offset("Klass::_name"), &[class]);
        self.memory.put_words(pool + 72, &[0, name | 1, file]);
    }

    /// A process that maps it.
    pub(super) fn world(&self) -> FixtureWorld {
        self.memory.world()
    }

    /// The same, where what begins in this range of offsets has to be waited for.
    pub(super) fn world_without(&self, absent: Range<u64>) -> FixtureWorld {
        self.memory.world_without(&[absent])
    }
}

/// The address of the instruction at an offset of a blob's code.
pub(super) fn pc_in(blob: u64, offset: u64) -> u64 {
    MEMORY_AT + blob + CODE_AFTER + offset
}

/// The image of the process in a world.
pub(super) fn image_in(world: &FixtureWorld) -> Image {
    let id = ImageId { process: ProcessId { pid: PID, start_ns: 0 }, exec_ns: 0 };
    Image::read(id, &Executables::default(), world).unwrap()
}
