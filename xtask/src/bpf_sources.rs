//! The committed objects' origin: a hash over the sources they were built from, kept beside them.
//!
//! `SOURCES.sha256` holds one line for the sources and one per object, in the form of `sha256sum`, and comments that
//! name the tools. Building rewrites it; checking needs no BPF toolchain.
use crate::repository;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const RECORD: &str = "SOURCES.sha256";
const OF_THE_SOURCES: &str = "sources";
/// Everything the objects are made of, relative to the root; folders count with all they hold.
const INPUTS: [&str; 8] = [
    "profiler-ebpf/src",
    "profiler-ebpf/build.rs",
    "profiler-ebpf/Cargo.toml",
    "profiler-ebpf/Cargo.lock",
    "profiler-ebpf/.cargo",
    "profiler-common/src",
    "profiler-common/build.rs",
    "profiler-common/Cargo.toml",
];

/// Writes the record of `objects` in `dir`: the sources as they are now, and `tools` as comment lines.
pub(crate) fn write_record(dir: &Path, objects: &[PathBuf], tools: &[String]) -> Result<()> {
    let mut text = String::from("# Written by `cargo xtask build-ebpf`, never by hand.\n");
    for tool in tools {
        text.push_str(&format!("# {tool}\n"));
    }
    text.push_str(&format!("{}  {OF_THE_SOURCES}\n", hash_sources(&repository::root())?));
    for object in objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("{}  {name}\n", hash_file(object)?));
    }
    let file = dir.join(RECORD);
    std::fs::write(&file, text).with_context(|| format!("failed to write `{}`", file.display()))
}

/// Checks that the committed objects come from the sources as they are now.
///
/// # Errors
/// Says what is stale, and that `cargo xtask build-ebpf` mends it.
pub(crate) fn check(objects: &[&str]) -> Result<()> {
    check_in(&repository::root(), &repository::prebuilt(), objects)
}

/// Whether the tools named in the committed record are `tools`, so that a rebuild must give the same bytes.
pub(crate) fn was_built_with(tools: &[String]) -> bool {
    let text = std::fs::read_to_string(repository::prebuilt().join(RECORD)).unwrap_or_default();
    tools.iter().all(|tool| text.lines().any(|line| line.strip_prefix("# ") == Some(tool)))
}

fn check_in(root: &Path, prebuilt: &Path, objects: &[&str]) -> Result<()> {
    const MEND: &str = "run `cargo xtask build-ebpf` and commit profiler-ebpf/prebuilt";
    let file = prebuilt.join(RECORD);
    let record =
        std::fs::read_to_string(&file).with_context(|| format!("failed to read `{}`: {MEND}", file.display()))?;
    if recorded(&record, OF_THE_SOURCES) != Some(&hash_sources(root)?) {
        bail!("the committed BPF objects are older than their sources: {MEND}");
    }
    for name in objects {
        if recorded(&record, name) != Some(&hash_file(&prebuilt.join(name))?) {
            bail!("the committed BPF object `{name}` is not the one that was built: {MEND}");
        }
    }
    Ok(())
}

fn recorded<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record.lines().filter_map(|line| line.split_once("  ")).find(|(_, of)| *of == name).map(|(hash, _)| hash)
}

/// One hash over the paths and contents of all inputs, in the order of their paths.
fn hash_sources(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for input in INPUTS {
        collect_files(&root.join(input), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let content = std::fs::read(&file).with_context(|| format!("failed to read source `{}`", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        hasher.update(format!("{name}\0{}\0", content.len()));
        hasher.update(&content);
    }
    Ok(hex(&hasher.finalize()))
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
    } else if path.is_dir() {
        for entry in path.read_dir().with_context(|| format!("failed to read folder `{}`", path.display()))? {
            collect_files(&entry?.path(), files)?;
        }
    }
    Ok(())
}

fn hash_file(file: &Path) -> Result<String> {
    let content = std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    Ok(hex(&Sha256::digest(content)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("profilerd-xtask-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("profiler-ebpf/src/unwind")).unwrap();
        std::fs::write(root.join("profiler-ebpf/src/main.rs"), "fn main() {}").unwrap();
        std::fs::write(root.join("profiler-ebpf/src/unwind/mod.rs"), "//! Steps.").unwrap();
        std::fs::write(root.join("a.o"), "object").unwrap();
        let hashes = (hash_sources(&root).unwrap(), hash_file(&root.join("a.o")).unwrap());
        std::fs::write(root.join(RECORD), format!("# rustc 1\n{}  sources\n{}  a.o\n", hashes.0, hashes.1)).unwrap();
        root
    }

    #[test]
    fn an_untouched_tree_passes() {
        let root = fixture("untouched");
        check_in(&root, &root, &["a.o"]).unwrap();
    }

    #[test]
    fn a_changed_renamed_or_added_source_is_stale() {
        let root = fixture("changed");
        let source = root.join("profiler-ebpf/src/main.rs");
        std::fs::write(&source, "fn main() { }").unwrap();
        assert!(check_in(&root, &root, &["a.o"]).unwrap_err().to_string().contains("build-ebpf"));
        std::fs::write(&source, "fn main() {}").unwrap();
        check_in(&root, &root, &["a.o"]).unwrap();
        std::fs::rename(&source, root.join("profiler-ebpf/src/lib.rs")).unwrap();
        assert!(check_in(&root, &root, &["a.o"]).is_err());
        std::fs::rename(root.join("profiler-ebpf/src/lib.rs"), &source).unwrap();
        std::fs::write(root.join("profiler-ebpf/src/added.rs"), "").unwrap();
        assert!(check_in(&root, &root, &["a.o"]).is_err());
    }

    #[test]
    fn an_edited_or_missing_object_is_refused_by_name() {
        let root = fixture("edited");
        std::fs::write(root.join("a.o"), "other").unwrap();
        assert!(check_in(&root, &root, &["a.o"]).unwrap_err().to_string().contains("`a.o`"));
        std::fs::remove_file(root.join("a.o")).unwrap();
        assert!(check_in(&root, &root, &["a.o"]).is_err());
    }
}
