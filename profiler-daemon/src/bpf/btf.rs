//! The kernel's own type information (BTF): where fields lie, which tracepoints there are.
//!
//! Comes from `/sys/kernel/btf/vmlinux`. Only what offsets need is read: structs, unions, typedefs, function prototypes, and
//! where variables lie that each CPU has.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const MODIFIERS: [u32; 5] = [KIND_TYPEDEF, 9, 10, 11, 18];
const KIND_PTR: u32 = 2;
const KIND_INT: u32 = 1;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VARIABLE: u32 = 14;
const KIND_SECTION: u32 = 15;
/// The section of variables that each CPU has.
const PER_CPU: &str = ".data..percpu";

/// Why type information could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("failed to read `/sys/kernel/btf/vmlinux`: {0}; the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    Unreadable(std::io::Error),
    /// The file is not BTF.
    #[error("`/sys/kernel/btf/vmlinux` is malformed at byte {0}")]
    Malformed(usize),
}

/// Where a field lies in its outermost struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The byte that holds it, or its first bit.
    pub byte: u32,
    /// For a bit-field of one bit: its mask within that byte; otherwise zero.
    pub mask: u32,
}

/// Parsed type information.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// The position of each type by id; id 0 is `void`.
    types: Vec<usize>,
    /// The first definition of each struct, union and typedef.
    names: HashMap<(u32, String), u32>,
    /// The sections of variables.
    sections: Vec<usize>,
}

/// A variable that each CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerCpu {
    /// Where it lies in the memory of a CPU.
    pub offset: u32,
    /// Its size in bytes.
    pub bytes: u32,
}

struct Header {
    name: u32,
    info: u32,
    size_or_type: u32,
}

impl Header {
    fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn count(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn has_bit_fields(&self) -> bool {
        self.info >> 31 != 0
    }
}

impl Btf {
    /// Reads the running kernel's types.
    pub fn read() -> Result<Self, BtfError> {
        Self::parse(std::fs::read("/sys/kernel/btf/vmlinux").map_err(BtfError::Unreadable)?)
    }

    /// Parses raw BTF.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self { data, strings: 0, types: vec![0], names: HashMap::new(), sections: Vec::new() };
        if btf.half(0)? != MAGIC {
            return Err(BtfError::Malformed(0));
        }
        let start = btf.word(4)? as usize;
        let (types, length) = (start + btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = start + btf.word(16)? as usize;
        btf.index(types, types + length)?;
        Ok(btf)
    }

    /// Where the field at `path` lies in the struct; `None` if this kernel has no such struct or field.
    pub fn field(&self, structure: &str, path: &[&str]) -> Option<Field> {
        let mut id = *self.names.get(&(KIND_STRUCT, structure.to_owned()))?;
        let (mut bits, mut width) = (0, 0);
        for name in path {
            let member = self.member(id, name)?;
            bits += member.0;
            width = member.1;
            id = self.strip(member.2)?;
        }
        let mask = if width == 1 { 1 << (bits % 8) } else { 0 };
        Some(Field { byte: bits / 8, mask })
    }

    /// The size of a struct in bytes.
    pub fn size(&self, structure: &str) -> Option<u32> {
        let id = *self.names.get(&(KIND_STRUCT, structure.to_owned()))?;
        Some(self.header(id).ok()?.size_or_type)
    }

    /// Where each CPU has the variable; `None` if this kernel has none of this name, or does not describe its variables.
    pub fn per_cpu(&self, name: &str) -> Option<PerCpu> {
        let variables = self.sections.iter().flat_map(|at| self.variables(*at));
        let is_named = |id: u32| {
            let header = self.header(id).ok()?;
            (header.kind() == KIND_VARIABLE && self.string(header.name)? == name).then_some(())
        };
        variables.into_iter().find_map(|(id, place)| is_named(id).map(|()| place))
    }

    /// The variables of a section of those that each CPU has.
    fn variables(&self, section: usize) -> Vec<(u32, PerCpu)> {
        let Ok(header) = self.header_at(section) else { return Vec::new() };
        if self.string(header.name) != Some(PER_CPU) {
            return Vec::new();
        }
        let entry = |index: usize| {
            let at = section + 12 + index * 12;
            let place = PerCpu { offset: self.word(at + 4).ok()?, bytes: self.word(at + 8).ok()? };
            Some((self.word(at).ok()?, place))
        };
        (0..header.count()).map_while(entry).collect()
    }

    /// Whether the kernel has the tracepoint, for programs that take its arguments with their types.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.names.contains_key(&(KIND_TYPEDEF, format!("btf_trace_{name}")))
    }

    /// Whether the tracepoint's argument at `index` (the first is 0) exists and is a plain integer.
    pub fn tracepoint_argument_is_integer(&self, name: &str, index: usize) -> bool {
        self.tracepoint_argument(name, index).is_some_and(|kind| kind == KIND_INT)
    }

    fn tracepoint_argument(&self, name: &str, index: usize) -> Option<u32> {
        let typedef = *self.names.get(&(KIND_TYPEDEF, format!("btf_trace_{name}")))?;
        let mut id = self.header(typedef).ok()?.size_or_type;
        if self.header(id).ok()?.kind() == KIND_PTR {
            id = self.header(id).ok()?.size_or_type;
        }
        let prototype = self.header(id).ok()?;
        // The first parameter is the tracepoint's own data.
        if prototype.kind() != KIND_FUNC_PROTO || index + 1 >= prototype.count() {
            return None;
        }
        let parameter = self.types[id as usize] + 12 + (index + 1) * 8;
        let argument = self.strip(self.word(parameter + 4).ok()?)?;
        Some(self.header(argument).ok()?.kind())
    }

    /// The bit offset, bit width (zero if not a bit-field) and type of a member, also of anonymous members.
    fn member(&self, id: u32, name: &str) -> Option<(u32, u32, u32)> {
        let header = self.header(id).ok()?;
        if header.kind() != KIND_STRUCT && header.kind() != KIND_UNION {
            return None;
        }
        (0..header.count()).find_map(|index| {
            let at = self.types[id as usize] + 12 + index * 12;
            let (member, kind, offset) = (self.word(at).ok()?, self.word(at + 4).ok()?, self.word(at + 8).ok()?);
            let (bits, width) = if header.has_bit_fields() { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            match self.string(member)? {
                found if found == name => Some((bits, width, kind)),
                "" => self.member(self.strip(kind)?, name).map(|(inner, width, kind)| (bits + inner, width, kind)),
                _ => None,
            }
        })
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..32 {
            let header = self.header(id).ok()?;
            if !MODIFIERS.contains(&header.kind()) {
                return Some(id);
            }
            id = header.size_or_type;
        }
        None
    }

    fn index(&mut self, mut at: usize, end: usize) -> Result<(), BtfError> {
        while at < end {
            let header = self.header_at(at)?;
            let id = self.types.len() as u32;
            self.types.push(at);
            if [KIND_STRUCT, KIND_UNION, KIND_TYPEDEF].contains(&header.kind()) {
                let name = self.string(header.name).ok_or(BtfError::Malformed(at))?.to_owned();
                self.names.entry((header.kind(), name)).or_insert(id);
            }
            if header.kind() == KIND_SECTION {
                self.sections.push(at);
            }
            at += 12 + trailing_bytes(&header).ok_or(BtfError::Malformed(at))?;
        }
        if at == end { Ok(()) } else { Err(BtfError::Malformed(end)) }
    }

    fn header(&self, id: u32) -> Result<Header, BtfError> {
        match self.types.get(id as usize) {
            Some(&at) if id != 0 => self.header_at(at),
            _ => Ok(Header { name: 0, info: 0, size_or_type: 0 }),
        }
    }

    fn header_at(&self, at: usize) -> Result<Header, BtfError> {
        Ok(Header { name: self.word(at)?, info: self.word(at + 4)?, size_or_type: self.word(at + 8)? })
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let bytes = self.data.get(self.strings + offset as usize..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        let bytes = self.data.get(at..at + 4).ok_or(BtfError::Malformed(at))?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn half(&self, at: usize) -> Result<u16, BtfError> {
        let bytes = self.data.get(at..at + 2).ok_or(BtfError::Malformed(at))?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}

/// How many bytes follow the header of a type; `None` for a kind that is not known.
fn trailing_bytes(header: &Header) -> Option<usize> {
    Some(match header.kind() {
        KIND_INT | KIND_VARIABLE | 17 => 4,
        KIND_PTR | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 19 => header.count() * 12,
        6 | KIND_FUNC_PROTO => header.count() * 8,
        KIND_SECTION => header.count() * 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_input_is_an_error_and_not_a_crash() {
        assert!(Btf::parse(vec![]).is_err());
        assert!(Btf::parse(vec![0x9f, 0xeb, 1, 0]).is_err());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24u32, 0, 12, 12, 4, 0, 0x0f00_0001, 0xffff] {
            bytes.extend(word.to_le_bytes());
        }
        assert!(Btf::parse(bytes).is_err());
    }

    #[test]
    fn the_running_kernels_types_can_be_read() {
        let Ok(btf) = Btf::read() else {
            eprintln!("SKIPPED: this kernel has no BTF");
            return;
        };
        assert_eq!(btf.field("list_head", &["prev"]), Some(Field { byte: 8, mask: 0 }));
        assert_eq!(btf.size("list_head"), Some(16));
        assert!(btf.field("task_struct", &["se", "sum_exec_runtime"]).unwrap().byte > 0);
        assert!(btf.field("task_struct", &["in_iowait"]).unwrap().mask.is_power_of_two());
        assert_eq!(btf.field("task_struct", &["no_such_field"]), None);
        assert_eq!(btf.per_cpu("no_such_variable"), None);
        assert!(btf.per_cpu("runqueues").is_none_or(|place| Some(place.bytes) >= btf.size("rq")));
        assert!(btf.has_tracepoint("sched_switch") && !btf.has_tracepoint("no_such_tracepoint"));
    }
}
