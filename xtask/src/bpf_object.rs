//! The checks an object of the kernel half must pass before it is used: what stripping may and may not remove.
use anyhow::{Context, Result, bail, ensure};
use object::{Architecture, Object, ObjectSection};
use std::path::Path;

/// The kernel types, the line information, the licence of the programs.
const NEEDED: [&str; 3] = [".BTF", ".BTF.ext", "license"];
const LICENCE: &[u8] = b"Dual MIT/GPL\0";

/// Checks a stripped object.
///
/// # Errors
/// Names the section that is missing or left over, or the licence that differs.
pub(crate) fn verify(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("failed to read object `{}`", file.display()))?;
    verify_bytes(&bytes).with_context(|| format!("failed to verify object `{}`", file.display()))
}

fn verify_bytes(bytes: &[u8]) -> Result<()> {
    let elf = object::File::parse(bytes).context("failed to parse it as ELF")?;
    ensure!(elf.architecture() == Architecture::Bpf && elf.is_little_endian(), "it is not for little-endian BPF");
    for name in NEEDED {
        ensure!(elf.section_by_name(name).is_some(), "section `{name}` is missing");
    }
    ensure!(elf.symbols().next().is_some(), "it has no symbols");
    ensure!(elf.sections().any(|section| section.relocations().next().is_some()), "its relocations are missing");
    if let Some(left) = elf.sections().find_map(|section| section.name().ok().filter(|name| is_debug(name))) {
        bail!("debug section `{left}` was not stripped");
    }
    let licence = elf.section_by_name("license").and_then(|section| section.data().ok());
    ensure!(licence == Some(LICENCE), "its licence is not `Dual MIT/GPL`, which the kernel's helpers need");
    Ok(())
}

fn is_debug(section: &str) -> bool {
    section.starts_with(".debug_") || section.starts_with(".rel.debug_")
}
