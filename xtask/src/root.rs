//! Roots for the tests: packages of one suite of Debian's, with all they depend on, unpacked under the target folder.
//!
//! Programs in a root run by `chroot`; nothing of them is installed on this machine.
use crate::archive::Archive;
use crate::{apt, repository};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The folder of all roots.
pub(crate) fn folder() -> PathBuf {
    repository::target_dir().join("test-roots")
}

/// Installs what the archive's signatures are checked with.
pub(crate) fn install_keyring() -> Result<()> {
    apt::install(&["debian-archive-keyring"])
}

/// Unpacks a root named `name`; it appears whole, in place of an older one.
pub(crate) fn unpack(name: &str, suite: &'static str, architecture: &str, packages: &[&str]) -> Result<()> {
    let (path, fresh) = (folder().join(name), folder().join(format!("{name}.new")));
    let _ = fs::remove_dir_all(&fresh);
    let downloads = folder().join(format!("{name}.archive"));
    Archive::open(suite, architecture, &downloads)?.unpack_root(packages, &fresh)?;
    for old in [&path, &downloads] {
        let _ = fs::remove_dir_all(old);
    }
    fs::rename(&fresh, &path).with_context(|| format!("failed to place `{}`", path.display()))
}
