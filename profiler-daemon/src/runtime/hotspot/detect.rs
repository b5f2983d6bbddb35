//! Finding the virtual machine of a process: in its memory alone, by the tables it exports.
//!
//! Only executables of the name `libjvm.so` are asked, as every launcher and every program that embeds a machine loads it
//! under this name. One that is only being loaded is found, and asked again later.

use std::collections::HashSet;
use std::sync::Arc;

use super::layout::Layout;
use super::refusal::Refusal;
use super::vm_structs::VmStructs;
use crate::process::{Address, Mappings, World};
use crate::runtime::image::{Header, LoadedImage};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The file of a virtual machine.
const FILE: &str = "libjvm.so";
/// What the file of OpenJ9's machine begins with; its `libjvm.so` only loads it.
const OPENJ9: &str = "libj9vm";
const RELEASE: &str = "Abstract_VM_Version::_s_vm_release";

/// A virtual machine in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Where it keeps what walks and names need.
    pub layout: Layout,
    /// How it calls its release: `17.0.15+6-Debian-1deb12u1`, `25.504-b08`. Untrusted text.
    pub release: Arc<str>,
    /// How often the process was asked for the tables.
    pub reads: usize,
}

/// What an executable with the name of a virtual machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detected {
    /// A machine.
    Machine(Box<Machine>),
    /// One that is only being loaded.
    Loading,
    /// One that is not followed.
    Refused(Refusal),
}

/// The virtual machine of a process; of several the first that is supported. None if there is none.
pub fn detect(pid: u32, mappings: &Mappings, world: &dyn World) -> Option<Detected> {
    let memory = ProcessMemory::new(pid, world);
    let mut seen = HashSet::new();
    let named = mappings.iter().filter(|mapping| mapping.file_name() == FILE);
    let headers = named.filter(|mapping| seen.insert((mapping.inode, mapping.header))).map(|mapping| mapping.header);
    let found = headers.take(limits::HOTSPOT_EXECUTABLES).map(|header| detect_in(header, &memory));
    let found = found.min_by_key(|found| matches!(found, Detected::Refused(_)));
    let is_openj9 = || mappings.iter().any(|mapping| mapping.file_name().starts_with(OPENJ9));
    match found {
        None | Some(Detected::Refused(Refusal::NoSymbols)) if is_openj9() => Some(Detected::Refused(Refusal::OpenJ9)),
        found => found,
    }
}

fn detect_in(header: Option<Address>, memory: &ProcessMemory<'_>) -> Detected {
    match header.map(|header| Header::read(header.0, memory)) {
        Some(Some(Header::Executable(image))) => match read_machine(&image, memory) {
            Ok(Some(machine)) => Detected::Machine(Box::new(machine)),
            Ok(None) => Detected::Loading,
            Err(refusal) => Detected::Refused(refusal),
        },
        Some(Some(Header::ThirtyTwoBit)) => Detected::Refused(Refusal::ThirtyTwoBit),
        Some(Some(Header::OtherMachine)) => Detected::Refused(Refusal::OtherMachine),
        Some(Some(Header::Nameless)) | None => Detected::Refused(Refusal::NoSymbols),
        Some(None) => Detected::Refused(Refusal::Unreadable),
    }
}

fn read_machine(image: &LoadedImage, memory: &ProcessMemory<'_>) -> Result<Option<Machine>, Refusal> {
    if image.find("gHotSpotVMStructs", memory).is_none() {
        return Err(Refusal::NoSymbols);
    }
    let Some(structs) = VmStructs::read(image, memory)? else { return Ok(None) };
    let layout = Layout::of(&structs, memory)?;
    let release = read_release(&structs, memory).ok_or(Refusal::Lacks(RELEASE))?;
    Ok(Some(Machine { layout, release: release.into(), reads: structs.reads }))
}

fn read_release(structs: &VmStructs, memory: &ProcessMemory<'_>) -> Option<String> {
    let text = memory.read_u64(structs.address(RELEASE)?)?;
    super::windows::Windows::new(memory).read_text(text)
}
