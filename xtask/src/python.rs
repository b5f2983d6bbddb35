//! A Python the live tests can walk by frame pointers and that writes a perf map.
use crate::apt;
use crate::command::{Command, find_program};
use std::path::{Path, PathBuf};

const QUESTION: &str = "import sys, sysconfig; flags = sysconfig.get_config_var('PY_CORE_CFLAGS') or ''; \
    print(sys.version_info >= (3, 12) and '-fno-omit-frame-pointer' in flags)";

/// A Python 3.12 or newer whose interpreter keeps frame pointers, or else debootstrap, with which the tests unpack one.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("PROFILERD_TEST_PYTHON").map(PathBuf::from);
    let names = ["python3", "python3.12", "python3.13", "python3.14", "python3.15"];
    let on_path = names.iter().filter_map(|name| find_program(name, &[]));
    named.into_iter().chain(on_path).find(|python| is_usable(python)).or_else(|| find_program("debootstrap", &[]))
}

/// Installs debootstrap: hardly any released Python keeps frame pointers.
pub(crate) fn install() -> anyhow::Result<()> {
    apt::install(&["debootstrap"])
}

/// Asks the interpreter itself how it was compiled: names and links say nothing about it.
fn is_usable(python: &Path) -> bool {
    Command::new(python).args(["-c", QUESTION]).read().is_some_and(|answer| answer.starts_with("True"))
}
