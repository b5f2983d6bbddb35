//! Where a virtual machine keeps what walks and names need: offsets of fields, found by the names it tells.
//!
//! Releases differ in more than offsets. Up to 22 what a compiled method says about itself lies in its blob, from 23 on in
//! memory of its own; code lies at an address or at an offset; a heap of code is one, or several. Which of these it is shows
//! in which fields there are, and never in the number of the release.

use profiler_common::hotspot::walk::BLOB_BYTES;
use profiler_common::hotspot::{CODE_BY_OFFSET, HotSpot};

use super::refusal::Refusal;
use super::unsigned5::Form;
use super::vm_structs::{Number, VmStructs};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// From this release on numbers are written without zero bytes.
const WITHOUT_ZEROES_FROM: u32 = 20;

/// Where things are, in one build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What walks need, without the heaps.
    pub walk: HotSpot,
    /// Where the heaps are.
    pub heaps: HeapsLayout,
    /// Compiled methods.
    pub compiled: CompiledLayout,
    /// Methods.
    pub method: MethodLayout,
    /// How numbers are written.
    pub form: Form,
    /// A variable that is set once the interpreter was made, and thus all heaps.
    pub interpreter: u64,
    /// A variable that says where Java code returns to that native code called, if it is told.
    pub entry_return: Option<u64>,
}

/// The heaps of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapsLayout {
    /// Where they are listed.
    pub list: HeapList,
    /// `CodeHeap::_memory` and in it `VirtualSpace::_low_boundary`.
    pub low: u32,
    /// The same with `_high_boundary`.
    pub high: u32,
    /// `CodeHeap::_segmap` and in it `VirtualSpace::_low_boundary`.
    pub segments: u32,
    /// `CodeHeap::_log2_segment_size`.
    pub shift: Number,
}

/// Where heaps are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeapList {
    /// A variable points at the only one (8).
    One {
        /// `CodeCache::_heap`.
        variable: u64,
    },
    /// A variable points at an array that grows.
    Several {
        /// `CodeCache::_heaps`.
        variable: u64,
        /// How many there are.
        length: Number,
        /// Where their addresses are.
        data: u32,
    },
}

/// What is in the blob of a compiled method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompiledLayout {
    /// How many bytes of a blob hold all its fields.
    pub bytes: u32,
    /// `nmethod::_method`.
    pub method: Number,
    /// `nmethod::_compile_id`.
    pub compile_id: Number,
    /// Where the debug information is.
    pub debug: DebugPlace,
    /// `PcDesc::_pc_offset`.
    pub place_offset: Number,
    /// `PcDesc::_scope_decode_offset`.
    pub place_scope: Number,
    /// The size of `PcDesc`.
    pub place_bytes: u32,
}

/// Where the debug information of a compiled method is: what its code stands for (*scopes*) and at which instructions
/// (*places*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugPlace {
    /// In the blob: metadata, scopes, places, and then the dependencies (8 to 22).
    Inside {
        /// `nmethod::_metadata_offset`.
        metadata: Number,
        /// Where the scopes begin.
        scopes: Number,
        /// Whether that is an address.
        scopes_by_address: bool,
        /// `nmethod::_scopes_pcs_offset`.
        places: Number,
        /// `nmethod::_dependencies_offset`.
        end: Number,
    },
    /// In memory of its own (23 on).
    Apart {
        /// `nmethod::_immutable_data`.
        data: Number,
        /// Its size, or where in it something else follows.
        end: Number,
        /// `nmethod::_scopes_pcs_offset`.
        places: Number,
        /// `nmethod::_scopes_data_offset`.
        scopes: Number,
        /// Where the metadata is.
        metadata: MetadataPlace,
    },
}

/// Where the table is in which scopes name methods by a number, from 23 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataPlace {
    /// Behind the code (23 and 24).
    BehindCode {
        /// `CodeBlob::_data_offset`.
        data: Number,
        /// `nmethod::_metadata_offset`.
        offset: Number,
    },
    /// In memory of its own, behind the relocations (25 on).
    Apart {
        /// `CodeBlob::_mutable_data`.
        data: Number,
        /// `CodeBlob::_mutable_data_size`.
        size: Number,
        /// `CodeBlob::_relocation_size`.
        relocations: Number,
    },
}

/// `Method`, and what names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodLayout {
    /// `Method::_constMethod`.
    pub const_method: u32,
    /// The size of `ConstMethod`.
    pub const_bytes: u32,
    /// `ConstMethod::_constants`.
    pub constants: Number,
    /// `ConstMethod::_constMethod_size`, in words, with all that follows.
    pub const_words: Number,
    /// `ConstMethod::_flags`.
    pub flags: Number,
    /// `ConstMethod::_code_size`.
    pub code_bytes: Number,
    /// `ConstMethod::_name_index`.
    pub name: Number,
    /// The size of `ConstantPool`, behind which its entries lie.
    pub pool_bytes: u32,
    /// `ConstantPool::_length`, the number of entries.
    pub pool_length: Number,
    /// `ConstantPool::_pool_holder`.
    pub holder: Number,
    /// Where the name of the source file is told.
    pub source: Option<SourcePlace>,
    /// `Klass::_name`.
    pub class_name: u32,
    /// `Symbol::_length`.
    pub symbol_length: Number,
    /// `Symbol::_body`.
    pub symbol_body: u32,
}

/// Which object has the index of the source file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePlace {
    /// `ConstantPool::_source_file_name_index` (15 on).
    Pool(Number),
    /// `InstanceKlass::_source_file_name_index`.
    Class(Number),
}

impl Layout {
    /// Picks what is needed out of what a machine tells.
    pub fn of(structs: &VmStructs, memory: &ProcessMemory<'_>) -> Result<Self, Refusal> {
        let walk = walk_layout(structs)?;
        Ok(Self {
            walk,
            heaps: HeapsLayout::of(structs)?,
            compiled: CompiledLayout::of(structs, &walk)?,
            method: MethodLayout::of(structs)?,
            form: form_of(structs, memory)?,
            interpreter: structs
                .address("AbstractInterpreter::_code")
                .ok_or(Refusal::Lacks("AbstractInterpreter::_code"))?,
            entry_return: structs.address("StubRoutines::_call_stub_return_address"),
        })
    }
}

fn has_one_heap(structs: &VmStructs) -> bool {
    structs.has("CodeCache::_heap")
}

fn walk_layout(structs: &VmStructs) -> Result<HotSpot, Refusal> {
    let by_offset = !structs.has("CodeBlob::_code_begin");
    let (begin, end, deopt): (_, _, &[&str]) = if by_offset {
        let deopt =
            &["nmethod::_deopt_handler_offset", "nmethod::_deopt_handler_entry_offset", "nmethod::_deoptimize_offset"];
        ("CodeBlob::_code_offset", "CodeBlob::_data_offset", deopt)
    } else {
        let deopt = &["CompiledMethod::_deopt_handler_begin", "nmethod::_deopt_handler_begin"];
        ("CodeBlob::_code_begin", "CodeBlob::_code_end", deopt)
    };
    let in_blob = |names: &[&'static str]| {
        let offset = structs.offset(names)?;
        let is_read = offset <= BLOB_BYTES - 8;
        if is_read { Ok(offset) } else { Err(Refusal::Strange(names.first().copied().unwrap_or_default())) }
    };
    Ok(HotSpot {
        flags: if by_offset { CODE_BY_OFFSET } else { 0 },
        block_header: structs.size("HeapBlock")?,
        name: in_blob(&["CodeBlob::_name"])?,
        code_begin: in_blob(&[begin])?,
        code_end: in_blob(&[end])?,
        frame_size: in_blob(&["CodeBlob::_frame_size"])?,
        frame_complete: in_blob(&["CodeBlob::_frame_complete_offset"])?,
        deopt_handler: in_blob(deopt)?,
        original_pc: in_blob(&["nmethod::_orig_pc_offset"])?,
        compile_id: in_blob(&["nmethod::_compile_id"])?,
        // 9 put the method's mirror before it.
        bytecode_slot: if has_one_heap(structs) { 7 } else { 8 },
        const_method: structs.offset(&["Method::_constMethod"])?,
        const_method_bytes: structs.size("ConstMethod")?,
        ..HotSpot::default()
    })
}

/// 8 counts its own releases, and calls itself 25.
fn form_of(structs: &VmStructs, memory: &ProcessMemory<'_>) -> Result<Form, Refusal> {
    const NAME: &str = "Abstract_VM_Version::_vm_major_version";
    if has_one_heap(structs) {
        return Ok(Form::WithZeroes);
    }
    let variable = structs.address(NAME).ok_or(Refusal::Lacks(NAME))?;
    let release = memory.read_u32(variable).ok_or(Refusal::Unreadable)?;
    Ok(if release >= WITHOUT_ZEROES_FROM { Form::WithoutZeroes } else { Form::WithZeroes })
}

impl HeapsLayout {
    fn of(structs: &VmStructs) -> Result<Self, Refusal> {
        let low = structs.offset(&["VirtualSpace::_low_boundary"])?;
        let high = structs.offset(&["VirtualSpace::_high_boundary"])?;
        let memory = structs.offset(&["CodeHeap::_memory"])?;
        Ok(Self {
            list: HeapList::of(structs)?,
            low: memory + low,
            high: memory + high,
            segments: structs.offset(&["CodeHeap::_segmap"])? + low,
            shift: structs.number(&["CodeHeap::_log2_segment_size"])?,
        })
    }
}

impl HeapList {
    fn of(structs: &VmStructs) -> Result<Self, Refusal> {
        if let Some(variable) = structs.address("CodeCache::_heap") {
            return Ok(Self::One { variable });
        }
        Ok(Self::Several {
            variable: structs.address("CodeCache::_heaps").ok_or(Refusal::Lacks("CodeCache::_heaps"))?,
            length: structs.number(&["GrowableArrayBase::_len", "GenericGrowableArray::_len"])?,
            data: structs.offset(&["GrowableArray<int>::_data"])?,
        })
    }
}

impl CompiledLayout {
    fn of(structs: &VmStructs, walk: &HotSpot) -> Result<Self, Refusal> {
        let method = structs.number(&["nmethod::_method", "CompiledMethod::_method"])?;
        let compile_id = structs.number(&["nmethod::_compile_id"])?;
        let debug = DebugPlace::of(structs)?;
        let walked = [walk.name, walk.code_begin, walk.code_end, walk.frame_size, walk.frame_complete];
        let ends = walked.map(|offset| offset + 8).into_iter().chain([method.end(), compile_id.end(), debug.end()]);
        Ok(Self {
            bytes: ends.max().unwrap_or_default(),
            method,
            compile_id,
            debug,
            place_offset: structs.number(&["PcDesc::_pc_offset"])?,
            place_scope: structs.number(&["PcDesc::_scope_decode_offset"])?,
            place_bytes: match structs.size("PcDesc")? {
                size @ 8..=limits::HOTSPOT_PLACE_BYTES => size,
                _ => return Err(Refusal::Strange("PcDesc")),
            },
        })
    }
}

impl DebugPlace {
    fn of(structs: &VmStructs) -> Result<Self, Refusal> {
        let places = structs.number(&["nmethod::_scopes_pcs_offset"])?;
        if structs.has("nmethod::_immutable_data") {
            return Ok(Self::Apart {
                data: structs.number(&["nmethod::_immutable_data"])?,
                end: structs.number(&["nmethod::_immutable_data_size"])?,
                places,
                scopes: structs.number(&["nmethod::_scopes_data_offset"])?,
                metadata: MetadataPlace::of(structs)?,
            });
        }
        let scopes = &["nmethod::_scopes_data_offset", "CompiledMethod::_scopes_data_begin"];
        Ok(Self::Inside {
            metadata: structs.number(&["nmethod::_metadata_offset"])?,
            scopes: structs.number(scopes)?,
            scopes_by_address: structs.find(&scopes[..1]).is_none(),
            places,
            end: structs.number(&["nmethod::_dependencies_offset"])?,
        })
    }

    fn end(&self) -> u32 {
        let ends = match self {
            Self::Inside { metadata, scopes, places, end, .. } => [*metadata, *scopes, *places, *end].map(Number::end),
            Self::Apart { data, end, places, scopes, metadata } => {
                [data.end(), end.end(), places.end(), scopes.end().max(metadata.end())]
            }
        };
        ends.into_iter().max().unwrap_or_default()
    }
}

impl MetadataPlace {
    fn of(structs: &VmStructs) -> Result<Self, Refusal> {
        if structs.has("CodeBlob::_mutable_data") {
            return Ok(Self::Apart {
                data: structs.number(&["CodeBlob::_mutable_data"])?,
                size: structs.number(&["CodeBlob::_mutable_data_size"])?,
                relocations: structs.number(&["CodeBlob::_relocation_size"])?,
            });
        }
        Ok(Self::BehindCode {
            data: structs.number(&["CodeBlob::_data_offset"])?,
            offset: structs.number(&["nmethod::_metadata_offset"])?,
        })
    }

    fn end(&self) -> u32 {
        match self {
            Self::BehindCode { data, offset } => data.end().max(offset.end()),
            Self::Apart { data, size, relocations } => data.end().max(size.end()).max(relocations.end()),
        }
    }
}

impl MethodLayout {
    fn of(structs: &VmStructs) -> Result<Self, Refusal> {
        const SOURCE_IN_POOL: &[&str] = &["ConstantPool::_source_file_name_index"];
        const SOURCE_IN_CLASS: &[&str] = &["InstanceKlass::_source_file_name_index"];
        let source = structs.find(SOURCE_IN_POOL).map(SourcePlace::Pool);
        Ok(Self {
            const_method: structs.offset(&["Method::_constMethod"])?,
            const_bytes: structs.size("ConstMethod")?,
            constants: structs.number(&["ConstMethod::_constants"])?,
            const_words: structs.number(&["ConstMethod::_constMethod_size"])?,
            flags: structs.number(&["ConstMethod::_flags", "ConstMethod::_flags._flags"])?,
            code_bytes: structs.number(&["ConstMethod::_code_size"])?,
            name: structs.number(&["ConstMethod::_name_index"])?,
            pool_bytes: structs.size("ConstantPool")?,
            pool_length: structs.number(&["ConstantPool::_length"])?,
            holder: structs.number(&["ConstantPool::_pool_holder"])?,
            source: source.or_else(|| structs.find(SOURCE_IN_CLASS).map(SourcePlace::Class)),
            class_name: structs.offset(&["Klass::_name"])?,
            symbol_length: symbol_length(structs)?,
            symbol_body: structs.offset(&["Symbol::_body"])?,
        })
    }
}

/// Some releases keep it in the upper half of a word with a count of references.
fn symbol_length(structs: &VmStructs) -> Result<Number, Refusal> {
    match structs.find(&["Symbol::_length_and_refcount"]) {
        Some(both) if !structs.has("Symbol::_length") => Ok(Number { offset: both.offset.saturating_add(2), bytes: 2 }),
        _ => structs.number(&["Symbol::_length"]).map(|length| Number { bytes: 2, ..length }),
    }
}
