//! Where things are in this repository.
use std::path::{Path, PathBuf};

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().expect("xtask is a folder of the repository").to_owned()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target` in the root.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The kernel half: a workspace of its own, since its target differs.
pub(crate) fn kernel_half() -> PathBuf {
    root().join("profiler-ebpf")
}

/// The fuzz targets: a workspace of their own, since they are built with other flags.
pub(crate) fn fuzz() -> PathBuf {
    root().join("fuzz")
}

/// The committed objects of the kernel half.
pub(crate) fn prebuilt() -> PathBuf {
    kernel_half().join("prebuilt")
}
