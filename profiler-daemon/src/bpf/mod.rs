//! The kernel half, loaded and attached: what this kernel allows, the offsets it needs, and the one door to its maps.

mod btf;
mod code_maps;
pub mod doctor;
mod error;
pub mod features;
mod kallsyms;
pub(crate) mod kernel;
mod object;
mod offsets;
mod programs;
pub mod reader;
pub mod syscalls;

pub use code_maps::{CodeMaps, Shard};
pub use doctor::{Check, Verdict, check_host};
pub use error::LoadError;
pub use features::{Features, SwitchIn, Variant};
pub use kernel::Kernel;
pub use programs::Runtime;
pub use reader::Rings;
