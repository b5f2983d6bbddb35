//! The compiled kernel half: built into the daemon, or read from a file.

use std::borrow::Cow;
use std::path::Path;

use aya::include_bytes_aligned;

use super::{LoadError, Variant};

static STORAGE: &[u8] = include_bytes_aligned!("../../../profiler-ebpf/prebuilt/profilerd-storage.bpf.o");
static HASH: &[u8] = include_bytes_aligned!("../../../profiler-ebpf/prebuilt/profilerd-hash.bpf.o");

/// The object of a variant. `folder` replaces the built-in objects by those of a folder, under the same names.
pub fn read_object(variant: Variant, folder: Option<&Path>) -> Result<Cow<'static, [u8]>, LoadError> {
    let Some(folder) = folder else {
        return Ok(Cow::Borrowed(match variant {
            Variant::Storage => STORAGE,
            Variant::Hash => HASH,
        }));
    };
    let path = folder.join(format!("profilerd-{}.bpf.o", variant.name()));
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Cow::Owned(bytes)),
        Err(source) => Err(LoadError::Object { path: path.display().to_string(), source }),
    }
}
