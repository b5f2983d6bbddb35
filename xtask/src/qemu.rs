//! qemu for x86-64: the machine's own, or Debian's unpacked into a root of its own under the target folder.
//!
//! Nothing is installed: a machine's packages may conflict with those of the emulator, and none of them is given up for a test.
//! In its root the emulator is started by the root's own loader, which needs no privileges.
use crate::archive::Archive;
use crate::command::{Command, find_program};
use crate::{apt, repository};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// The release of Debian it comes from: one whose packages lay everything below `usr`.
const SUITE: &str = "trixie";
/// Where its libraries and modules lie, below the root.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Where the emulator is, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    find_program(PROGRAM, &[]).or_else(|| Some(unpacked()).filter(|program| program.exists()))
}

/// Unpacks the emulator and all it depends on.
pub(crate) fn install() -> Result<()> {
    apt::install(&["debian-archive-keyring"])?;
    let (fresh, downloads) = (root().with_extension("new"), root().with_extension("archive"));
    let _ = fs::remove_dir_all(&fresh);
    Archive::open(SUITE, "amd64", &downloads)?.unpack_root(&[PACKAGE], &fresh)?;
    for old in [&root(), &downloads] {
        let _ = fs::remove_dir_all(old);
    }
    fs::rename(&fresh, root()).with_context(|| format!("failed to place `{}`", root().display()))
}

/// The emulator, ready for its arguments.
pub(crate) fn command() -> Command {
    if find_program(PROGRAM, &[]).is_some() || !unpacked().exists() {
        return Command::new(PROGRAM);
    }
    let root = root();
    let libraries = root.join(LIBRARIES);
    Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(unpacked())
        .args(["-L".into(), root.join("usr/share/seabios"), "-L".into(), root.join("usr/share/qemu")])
        .env("QEMU_MODULE_DIR", libraries.join("qemu"))
}

fn root() -> PathBuf {
    repository::target_dir().join("vm").join("qemu")
}

fn unpacked() -> PathBuf {
    root().join("usr/bin").join(PROGRAM)
}
