//! The executable mappings of a process, as `/proc/PID/maps` lists them.
//!
//! In comes the text of the file, which a process can fill with any names it likes; out comes a sorted list of address
//! ranges, each with the file and offset it shows. Lines that make no sense are left out.

use std::sync::Arc;

use super::limits;
use crate::sys::openat2::Device;

/// How the kernel names memory that is not the content of a file.
const MEMORY_NAMES: [&[u8]; 5] = [b"[anon:", b"//anon", b"/anon_hugepage", b"/dev/zero", b"/SYSV"];

/// A virtual address in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u64);

/// A byte offset in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileOffset(pub u64);

/// The device and inode numbers of a mapped file, as the mapping shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappedInode {
    /// The major device number.
    pub major: u32,
    /// The minor device number.
    pub minor: u32,
    /// The inode number.
    pub inode: u64,
}

/// What a mapping shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MappingKind {
    /// A file.
    File,
    /// Memory without a file: where code generated at run time lives.
    Anonymous,
    /// The kernel's code for fast system calls.
    Vdso,
    /// Another special area of the kernel or the process, such as `[vsyscall]`, a stack or a heap.
    Special,
}

/// One executable mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: Address,
    /// The first address no longer part of it.
    pub end: Address,
    /// The offset of `start` in the file.
    pub file_offset: FileOffset,
    /// The file; all zero for other kinds.
    pub inode: MappedInode,
    /// The path as the process's mount namespace has it, without ` (deleted)`; empty for anonymous memory. Untrusted.
    pub path: Arc<[u8]>,
    /// Whether the file has been unlinked.
    pub deleted: bool,
    /// What it shows.
    pub kind: MappingKind,
    /// Where the first byte of the file is mapped, below this mapping or by it: the header of an executable.
    pub header: Option<Address>,
}

impl Mapping {
    /// Whether the address lies in the mapping.
    pub fn contains(&self, address: Address) -> bool {
        self.start <= address && address < self.end
    }

    /// The file system of the file.
    pub fn device(&self) -> Device {
        Device { major: self.inode.major, minor: self.inode.minor }
    }

    /// Where in the file an address of this mapping is.
    pub fn offset_of(&self, address: Address) -> FileOffset {
        FileOffset(self.file_offset.0.wrapping_add(address.0.wrapping_sub(self.start.0)))
    }

    /// Whether it may hold code generated at run time: memory without a file, or with a file that exists in memory only.
    pub fn may_be_generated(&self) -> bool {
        self.kind == MappingKind::Anonymous || self.path.starts_with(b"/memfd:")
    }

    /// The last component of the path, for people. Untrusted text.
    pub fn file_name(&self) -> String {
        let name = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// The path, for people and for opening. Untrusted text.
    pub fn path_text(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// The executable mappings of a process, by address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mappings(Vec<Mapping>);

impl Mappings {
    /// Reads the executable mappings out of the text of `/proc/PID/maps`.
    pub fn parse(text: &[u8]) -> Self {
        let mut mappings: Vec<Mapping> = Vec::new();
        let mut beginning = None;
        for (mut mapping, access) in text.split(|byte| *byte == b'\n').filter_map(parse_line) {
            if mapping.kind == MappingKind::File && mapping.file_offset.0 == 0 && access != Access::None {
                beginning = Some((mapping.inode, mapping.start));
            }
            match access {
                Access::Code if mappings.len() < limits::MAPPINGS_PER_IMAGE => {
                    mapping.header = beginning.filter(|(inode, _)| *inode == mapping.inode).map(|(_, start)| start);
                    mappings.push(mapping);
                }
                Access::None => extend_over_reserved(&mut mappings, &mapping),
                Access::Code | Access::Data => {}
            }
        }
        mappings.sort_by_key(|mapping| mapping.start);
        mappings.dedup_by(|next, earlier| next.start < earlier.end);
        Self(mappings)
    }

    /// The mapping an address lies in.
    pub fn find(&self, address: Address) -> Option<&Mapping> {
        let after = self.0.partition_point(|mapping| mapping.start <= address);
        self.0[..after].last().filter(|mapping| mapping.contains(address))
    }

    /// Whether each of them is one of the others, or lies in one that shows the same.
    pub fn are_in(&self, others: &Self) -> bool {
        self.iter().all(|mapping| {
            let shows_same = |other: &Mapping| {
                (other.inode, other.kind) == (mapping.inode, mapping.kind)
                    && other.end >= mapping.end
                    && (mapping.kind != MappingKind::File || other.offset_of(mapping.start) == mapping.file_offset)
            };
            others.find(mapping.start).is_some_and(shows_same)
        })
    }

    /// All mappings, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }

    /// The memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|mapping| size_of::<Mapping>() + mapping.path.len()).sum()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, as in a kernel thread.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a mapping may be used for, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Running code.
    Code,
    /// Reading the beginning of a file.
    Data,
    /// Nothing yet.
    None,
}

/// Generated code grows into the memory reserved behind it, faster than mappings are read again: what is reserved counts
/// as code from the start.
fn extend_over_reserved(mappings: &mut [Mapping], reserved: &Mapping) {
    if let Some(last) = mappings.last_mut()
        && (last.kind, reserved.kind) == (MappingKind::Anonymous, MappingKind::Anonymous)
        && (last.path.is_empty(), reserved.path.is_empty()) == (true, true)
        && last.end == reserved.start
    {
        last.end = reserved.end;
    }
}

fn parse_line(line: &[u8]) -> Option<(Mapping, Access)> {
    let mut rest = line;
    let (start, end) = split_text(take_field(&mut rest), '-')?;
    let access = match take_field(&mut rest) {
        [_, _, b'x', ..] => Access::Code,
        [b'-', b'-', b'-', ..] => Access::None,
        [b'r', ..] => Access::Data,
        _ => return None,
    };
    let file_offset = FileOffset(parse_hex(text_of(take_field(&mut rest))?)?);
    if access == Access::Data && file_offset.0 != 0 {
        return None;
    }
    let (major, minor) = split_text(take_field(&mut rest), ':')?;
    let inode = text_of(take_field(&mut rest))?.parse().ok()?;
    let (path, deleted) = parse_path(rest.trim_ascii_start());
    let (start, end) = (Address(parse_hex(start)?), Address(parse_hex(end)?));
    let inode = MappedInode { major: parse_device(major)?, minor: parse_device(minor)?, inode };
    let kind = kind_of(&path, inode.inode);
    let mapping = Mapping { start, end, file_offset, inode, path: path.into(), deleted, kind, header: None };
    (start < end).then_some((mapping, access))
}

/// The next field, up to a space; leaves the rest behind it.
fn take_field<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let line = *rest;
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    *rest = line.get(end + 1..).unwrap_or_default();
    &line[..end]
}

fn text_of(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn split_text(field: &[u8], separator: char) -> Option<(&str, &str)> {
    text_of(field)?.split_once(separator)
}

fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn parse_device(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn kind_of(path: &[u8], inode: u64) -> MappingKind {
    match path {
        b"[vdso]" => MappingKind::Vdso,
        b"" => MappingKind::Anonymous,
        _ if MEMORY_NAMES.iter().any(|name| path.starts_with(name)) => MappingKind::Anonymous,
        [b'/', ..] if inode != 0 => MappingKind::File,
        _ => MappingKind::Special,
    }
}

/// The path with the kernel's escape of newlines undone, and whether the file was unlinked.
fn parse_path(shown: &[u8]) -> (Vec<u8>, bool) {
    let bounded = &shown[..shown.len().min(limits::PATH_BYTES)];
    let (path, deleted) = match bounded.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (bounded, false),
    };
    (undo_newline_escape(path), deleted)
}

/// The kernel writes a newline in a name as `\012` and leaves all other bytes as they are.
fn undo_newline_escape(path: &[u8]) -> Vec<u8> {
    if !path.contains(&b'\\') {
        return path.to_vec();
    }
    let mut name = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(b"\\012") {
            Some(after) => (rest, _) = (after, name.push(b'\n')),
            None => (rest, _) = (tail, name.push(*first)),
        }
    }
    name
}

/// The file systems of the files that are mapped anywhere between two addresses, executable or not.
pub fn mapped_devices(text: &[u8], start: u64, end: u64) -> Vec<Device> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| parse_mapped_device(&String::from_utf8_lossy(&line[..line.len().min(128)]), start, end))
        .collect()
}

/// `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE …`
fn parse_mapped_device(line: &str, start: u64, end: u64) -> Option<Device> {
    let mut fields = line.split_ascii_whitespace();
    let (first, last) = fields.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let is_file = fields.next()? != "0";
    let overlaps = hex(first)? < end && start < hex(last)?;
    let device = Device { major: u32::from_str_radix(major, 16).ok()?, minor: u32::from_str_radix(minor, 16).ok()? };
    (is_file && overlaps).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn only(line: &str) -> Mapping {
        let mappings = Mappings::parse(line.as_bytes());
        assert_eq!(mappings.len(), 1, "{line}");
        mappings.0[0].clone()
    }

    #[test]
    fn a_file_mapping_translates_addresses_to_file_offsets() {
        let mapping = only("5565b7b50000-5565b7b55000 r-xp 00002000 fe:01 247030                     /usr/bin/cat\n");
        assert_eq!(mapping.kind, MappingKind::File);
        assert_eq!(mapping.inode, MappedInode { major: 0xfe, minor: 1, inode: 247_030 });
        assert_eq!(mapping.offset_of(Address(0x5565_b7b5_0123)), FileOffset(0x2123));
        assert_eq!(mapping.file_name(), "cat");
    }

    #[test]
    fn the_kinds_of_mappings_are_told_apart() {
        for (path, inode, kind) in [
            ("", 0, MappingKind::Anonymous),
            ("[anon:code cache]", 0, MappingKind::Anonymous),
            ("/dev/zero (deleted)", 5, MappingKind::Anonymous),
            ("[vdso]", 0, MappingKind::Vdso),
            ("[vsyscall]", 0, MappingKind::Special),
            ("[stack]", 0, MappingKind::Special),
            ("/memfd:doublemapper (deleted)", 7, MappingKind::File),
            ("/lib/libc.so.6", 7, MappingKind::File),
        ] {
            let mapping = only(&format!("1000-2000 r-xp 00000000 00:00 {inode}    {path}"));
            assert_eq!(mapping.kind, kind, "{path}");
            assert_eq!(mapping.may_be_generated(), kind == MappingKind::Anonymous || path.contains("memfd"));
        }
    }

    #[test]
    fn hostile_names_stay_one_name() {
        for (shown, name, deleted) in [
            (r"/tmp/a\012b", "/tmp/a\nb", false),
            ("/tmp/with space", "/tmp/with space", false),
            ("/tmp/gone (deleted)", "/tmp/gone", true),
            (r"/tmp/\0121000-2000 r-xp", "/tmp/\n1000-2000 r-xp", false),
            (r"/tmp/back\slash\01", r"/tmp/back\slash\01", false),
        ] {
            let mapping = only(&format!("1000-2000 r-xp 00000000 fe:00 9 {shown}"));
            assert_eq!((mapping.path_text().as_str(), mapping.deleted), (name, deleted));
        }
        let long = only(&format!("1000-2000 r-xp 00000000 fe:00 9 /{}", "x".repeat(100_000)));
        assert_eq!(long.path.len(), limits::PATH_BYTES);
    }

    #[test]
    fn lines_without_sense_and_without_code_are_left_out() {
        for line in [
            "",
            "nonsense",
            "1000-2000",
            "2000-1000 r-xp 00000000 00:00 0",
            "1000-2000 rw-p 00000000 00:00 0",
            "1000-2000 r-xp 00000000 00:00 x",
            "1000-2000 r-xp g 00:00 0",
            "fffffffffffffffff-1 r-xp 0 00:00 0",
            "1000-2000 r-xp 00000000 0000",
        ] {
            assert!(Mappings::parse(line.as_bytes()).is_empty(), "{line}");
        }
    }

    #[test]
    fn damaged_text_gives_sorted_mappings_that_do_not_overlap() {
        let intact = fs::read("/proc/self/maps").unwrap();
        let mut random = 1u64;
        for _ in 0..500 {
            let mut damaged = intact.clone();
            for _ in 0..20 {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let at = (random >> 16) as usize % damaged.len();
                damaged[at] = b"0123456789abcdef -:xr\n\\\xff"[(random >> 48) as usize % 24];
            }
            let mappings = Mappings::parse(&damaged);
            assert!(mappings.0.windows(2).all(|pair| pair[0].end <= pair[1].start));
            assert!(mappings.iter().all(|mapping| mappings.find(mapping.start) == Some(mapping)));
        }
    }

    #[test]
    fn an_address_is_found_in_its_mapping_and_nowhere_else() {
        let text = "3000-4000 r-xp 0 00:00 0\n1000-2000 r-xp 0 00:00 0\n1800-2800 r-xp 0 00:00 0\n";
        let mappings = Mappings::parse(text.as_bytes());
        for (address, start) in [(0xfff, None), (0x1000, Some(0x1000)), (0x1fff, Some(0x1000)), (0x2000, None)] {
            assert_eq!(mappings.find(Address(address)).map(|mapping| mapping.start.0), start);
        }
        assert!(mappings.find(Address(0x3fff)).is_some() && mappings.find(Address(0x4000)).is_none());
    }

    #[test]
    fn code_knows_where_the_beginning_of_its_file_is_mapped() {
        let maps = "1000-2000 r--p 0 fe:00 7 /lib/x\n3000-4000 r--p 0 fe:00 7 /lib/x\n4000-5000 r-xp 1000 fe:00 7 /lib/x\n\
                    5000-6000 r--p 2000 fe:00 7 /lib/x\n6000-7000 r-xp 3000 fe:00 7 /lib/x\n\
                    7000-8000 r-xp 0 fe:00 8 /lib/y\n8000-9000 r-xp 1000 fe:00 9 /lib/z\n9000-a000 r-xp 0 00:00 0 \n";
        let mappings = Mappings::parse(maps.as_bytes());
        let headers: Vec<_> = mappings.iter().map(|mapping| mapping.header.map(|header| header.0)).collect();
        assert_eq!(headers, [Some(0x3000), Some(0x3000), Some(0x7000), None, None]);
    }

    #[test]
    fn generated_code_grows_into_what_is_reserved_behind_it() {
        let maps = "1000-3000 rwxp 0 00:00 0 \n3000-8000 ---p 0 00:00 0 \n9000-a000 ---p 0 00:00 0 \n\
                    a000-b000 r-xp 0 fe:00 7 /lib/x\nb000-c000 ---p 0 fe:00 7 /lib/x\nc000-d000 ---p 0 00:00 0 \n";
        let mappings = Mappings::parse(maps.as_bytes());
        let ranges: Vec<_> = mappings.iter().map(|mapping| (mapping.start.0, mapping.end.0)).collect();
        assert_eq!(ranges, [(0x1000, 0x8000), (0xa000, 0xb000)]);
    }

    #[test]
    fn the_test_finds_its_own_code() {
        let mappings = Mappings::parse(&fs::read("/proc/self/maps").unwrap());
        let mapping = mappings.find(Address(only as *const () as u64)).unwrap();
        assert_eq!(mapping.path_text(), std::env::current_exe().unwrap().to_string_lossy());
        assert!(mappings.iter().any(|mapping| mapping.kind == MappingKind::Vdso));
    }

    #[test]
    fn the_file_systems_behind_a_range_are_those_of_all_files_it_touches() {
        let text = b"1000-2000 r--p 00000000 fe:01 5 /usr/lib/a\n2000-3000 rw-p 00000000 00:00 0 [heap]\n\
            3000-4000 rw-s 00000000 00:2a 7 /mnt/\xff\xfe\njunk\n4000-5000 rw-p 00000000 00:00 0\n";
        let devices = |start, end| mapped_devices(text, start, end);
        let (local, other) = (Device { major: 0xfe, minor: 1 }, Device { major: 0, minor: 0x2a });
        assert_eq!((devices(0x1ff8, 0x2000), devices(0x2000, 0x3000)), (vec![local], vec![]));
        assert_eq!((devices(0x1000, 0x3001), devices(0x4000, 0x9000)), (vec![local, other], vec![]));
    }
}
