//! The checks an object of the kernel half must pass before it is used: what stripping may and may not remove.
use anyhow::{Context, Result, bail, ensure};
use object::{Architecture, Object, ObjectSection, SectionKind};
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

/// How two objects relate.
#[derive(Debug, PartialEq)]
pub(crate) enum Likeness {
    /// Every byte is the same.
    Same,
    /// What is loaded is the same: programs, constants, maps. The types are listed in another order, which LLVM
    /// leaves to chance.
    SameCode,
    /// The programs differ.
    Different,
}

/// Compares two objects.
pub(crate) fn compare(one: &Path, other: &Path) -> Result<Likeness> {
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("failed to read object `{}`", file.display()));
    compare_bytes(&read(one)?, &read(other)?)
}

fn compare_bytes(one: &[u8], other: &[u8]) -> Result<Likeness> {
    if one == other {
        return Ok(Likeness::Same);
    }
    Ok(if loaded_sections(one)? == loaded_sections(other)? { Likeness::SameCode } else { Likeness::Different })
}

/// A section that takes up memory once it is loaded.
#[derive(PartialEq)]
struct Loaded {
    name: String,
    content: Vec<u8>,
    /// Where it is relocated.
    places: Vec<u64>,
}

fn loaded_sections(bytes: &[u8]) -> Result<Vec<Loaded>> {
    let elf = object::File::parse(bytes).context("failed to parse an object as ELF")?;
    let loaded = elf.sections().filter(|section| !matches!(section.kind(), SectionKind::Other | SectionKind::Metadata));
    let described = loaded.map(|section| {
        let places = section.relocations().map(|(place, _)| place).collect();
        Ok(Loaded { name: section.name()?.to_owned(), content: section.data()?.to_owned(), places })
    });
    described.collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    fn committed() -> Vec<u8> {
        std::fs::read(repository::prebuilt().join("profilerd-hash.bpf.o")).unwrap()
    }

    /// The object with one bit of a section turned.
    fn with_a_changed(section: &str) -> Vec<u8> {
        let mut bytes = committed();
        let at = object::File::parse(&*bytes).unwrap().section_by_name(section).unwrap().file_range().unwrap().0;
        bytes[usize::try_from(at).unwrap()] ^= 1;
        bytes
    }

    #[test]
    fn a_committed_object_passes() {
        verify_bytes(&committed()).unwrap();
    }

    #[test]
    fn another_licence_and_what_is_no_object_are_refused() {
        let error = verify_bytes(&with_a_changed("license")).unwrap_err().to_string();
        assert!(error.contains("Dual MIT/GPL"), "{error}");
        assert!(verify_bytes(b"#!/bin/sh").is_err());
        assert!(verify_bytes(&std::fs::read("/proc/self/exe").unwrap()).is_err());
    }

    #[test]
    fn a_changed_program_is_different_and_changed_types_are_not() {
        assert_eq!(compare_bytes(&committed(), &committed()).unwrap(), Likeness::Same);
        assert_eq!(compare_bytes(&committed(), &with_a_changed(".BTF")).unwrap(), Likeness::SameCode);
        assert_eq!(compare_bytes(&committed(), &with_a_changed("license")).unwrap(), Likeness::Different);
        assert_eq!(compare_bytes(&committed(), &with_a_changed("perf_event")).unwrap(), Likeness::Different);
    }
}
