//! The fuzz targets: for each parser of untrusted bytes, a function that panics if it does what it must not.
//!
//! In come any bytes; nothing comes out. Each target lives in the room it exercises, and has one row here and one file in
//! `fuzz/src/bin`. The test below runs every committed input through its target, so that what a fuzzer found once is
//! looked for by every run of the unit tests, without a fuzzer.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

pub use crate::process::fuzzing::{elf, maps};
pub use crate::runtime::hotspot::fuzzing::{java_lines, java_memory};
pub use crate::runtime::perf_map::fuzzing::perf_map;
pub use crate::runtime::python::fuzzing::{python_lines, python_memory};
pub use crate::unwind::fuzzing::{stored_table, unwind_table};
pub use crate::wire::fuzzing::stack_record;

/// Panics if a parser does with these bytes what it must not.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its folders in `fuzz/corpus` and `fuzz/regressions`.
pub const TARGETS: &[(&str, Target)] = &[
    ("elf", elf),
    ("java_lines", java_lines),
    ("java_memory", java_memory),
    ("maps", maps),
    ("perf_map", perf_map),
    ("python_lines", python_lines),
    ("python_memory", python_memory),
    ("stack_record", stack_record),
    ("stored_table", stored_table),
    ("unwind_table", unwind_table),
];

/// Hands over a file in memory with this content. The file is the same each time, since making one costs more than most
/// inputs do.
pub(crate) fn with_file(content: &[u8], target: impl FnOnce(&File)) {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    let create = || File::from(memfd_create("fuzzing", MemfdFlags::CLOEXEC).expect("a file in memory can be made"));
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(create);
        file.set_len(0).and_then(|()| file.write_all_at(content, 0)).expect("memory can be written to");
        target(file);
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz").join(name)
    }

    /// The files of a folder; none if there is no folder.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn every_committed_input_passes_its_target() {
        for (name, target) in TARGETS {
            let corpus = files(&folder("corpus").join(name));
            assert!(!corpus.is_empty(), "`{name}` has no corpus to begin with");
            for input in corpus.iter().chain(&files(&folder("regressions").join(name))) {
                // Shown if the target panics.
                eprintln!("{}", input.display());
                target(&fs::read(input).unwrap());
            }
        }
    }

    #[test]
    fn every_target_has_a_fuzzer_and_every_input_a_target() {
        let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        let fuzzers: BTreeSet<_> = files(&folder("src/bin")).iter().map(stem).collect();
        assert_eq!(targets, fuzzers);
        for kind in ["corpus", "regressions"] {
            let fed: BTreeSet<_> = files(&folder(kind)).iter().map(stem).collect();
            assert!(fed.is_subset(&targets), "{fed:?}");
        }
    }
}
