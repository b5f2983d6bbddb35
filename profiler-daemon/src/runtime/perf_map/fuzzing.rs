//! The fuzz target of perf maps.

use super::name::parse_name;
use super::table::{Table, parse_line};
use crate::process::Address;
use crate::runtime::limits;
use crate::sys::openat2::FileFacts;

const FACTS: FileFacts = FileFacts { device: 0, inode: 0, size_bytes: 0, modified_ns: 0, uid: 0 };
/// Lines of a map whose every edge is looked up: that takes their number squared.
const LINES: usize = 64;

/// Reads a map and its names. Of a short one, each address must have the name of the last line that covers it.
pub fn perf_map(bytes: &[u8]) {
    let table = Table::parse(bytes, FACTS);
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').take(LINES + 1).filter_map(parse_line).collect();
    let is_short = bytes.split(|byte| *byte == b'\n').nth(LINES).is_none();
    let edges = lines.iter().flat_map(|(start, end, _)| [*start, *end, start.wrapping_sub(1), end - 1]);
    for address in edges.chain([0, u64::MAX]) {
        let found = table.find(Address(address));
        if let Some((start, name)) = found {
            assert!(start.0 <= address && name.len() <= limits::NAME_BYTES);
            let _ = (parse_name(name, false, start), parse_name(name, true, start));
        }
        if is_short {
            let last = lines.iter().rfind(|(start, end, _)| (*start..*end).contains(&address));
            assert_eq!(found.map(|(_, name)| name), last.map(|(.., name)| &name[..name.len().min(limits::NAME_BYTES)]));
        }
    }
}
