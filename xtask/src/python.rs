//! A Python that writes a perf map (`-X perf`, 3.12 or newer) for the live tests.
use crate::apt;
use crate::command::{Command, find_program};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const OLDEST: (u32, u32) = (3, 12);

/// A Python new enough: named by `PROFILERD_PYTHON`, on `PATH`, or built by pyenv.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("PROFILERD_PYTHON").map(PathBuf::from);
    let on_path =
        ["python3.13", "python3.12", "python3.14", "python3"].iter().filter_map(|name| find_program(name, &[]));
    named.into_iter().chain(built_by_pyenv()).chain(on_path).find(|python| is_usable(python))
}

/// Installs the first new enough Python that the machine's package sources offer.
pub(crate) fn install() -> Result<()> {
    let package = apt::first_offered(&["python3.13", "python3.12", "python3.14"])
        .context("the machine's package sources offer no Python 3.12 or newer")?;
    apt::install(&[package])
}

fn built_by_pyenv() -> Vec<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let root = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let Ok(versions) = root.join("versions").read_dir() else { return Vec::new() };
    let mut found: Vec<_> = versions.flatten().map(|version| version.path().join("bin/python3")).collect();
    found.sort();
    found.reverse();
    found
}

/// Asks the interpreter itself: pyenv's shims and distributions' links say nothing by their names.
fn is_usable(python: &Path) -> bool {
    let version = Command::new(python).arg("--version").read();
    version.and_then(|text| parse_version(&text)).is_some_and(|version| version >= OLDEST)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("Python 3.12.1\n"), Some((3, 12)));
        assert!(parse_version("Python 3.9.18").unwrap() < OLDEST);
        assert_eq!(parse_version("pyenv: python3.12: command not found"), None);
    }
}
