//! The kernels that can be booted: a table, and how a row becomes a file.
use crate::archive::Archive;
use crate::repository;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// One kernel of Debian's, in the flavour for virtual machines, whose console and initramfs drivers are built in.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// How it is asked for: its version, or `newest`.
    pub(crate) name: &'static str,
    /// The Debian release it comes from.
    suite: &'static str,
}

/// From the oldest that is supported to the newest there is.
pub(crate) const KERNELS: [Kernel; 4] = [
    Kernel { name: "5.10", suite: "bullseye" },
    Kernel { name: "6.1", suite: "bookworm" },
    Kernel { name: "6.12", suite: "trixie" },
    Kernel { name: "newest", suite: "sid" },
];

impl Kernel {
    /// Where everything about this kernel is kept.
    pub(crate) fn dir(&self) -> PathBuf {
        repository::target_dir().join("vm").join(self.name)
    }

    /// The image to boot; fetched if this was not done before, or again if `refresh`.
    pub(crate) fn image(&self, refresh: bool) -> Result<PathBuf> {
        let unpacked = self.dir().join("unpacked");
        if refresh && unpacked.exists() {
            std::fs::remove_dir_all(&unpacked).with_context(|| format!("failed to remove `{}`", unpacked.display()))?;
        }
        match find_image(&unpacked) {
            Some(image) => Ok(image),
            None => self.fetch(&unpacked),
        }
    }

    fn fetch(&self, unpacked: &Path) -> Result<PathBuf> {
        let archive = Archive::open(self.suite, "amd64", &self.dir().join("archive"))?;
        let package = archive.kernel_package()?;
        archive.unpack(&package, unpacked)?;
        find_image(unpacked).with_context(|| format!("package `{package}` holds no kernel image"))
    }
}

/// The image lies in `boot`, and since Debian's 7.0 beside the kernel's modules.
fn find_image(unpacked: &Path) -> Option<PathBuf> {
    let in_boot = entries(&unpacked.join("boot"))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")));
    let beside_modules = || entries(&unpacked.join("usr/lib/modules")).map(|dir| dir.join("vmlinuz"));
    in_boot.or_else(|| beside_modules().find(|path| path.is_file()))
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path())
}
