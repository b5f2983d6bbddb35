//! Processes of the host: what they are, what they map, which are selected.
//!
//! In come pids and identities from the kernel half; out come [`Image`]s with mappings and open files, and sets of pids
//! for a selector. Everything asked of a process goes through the [`World`] trait; everything answered is untrusted.

mod asking_time;
pub(crate) mod elf;
pub mod executables;
pub mod fixture;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod image;
pub mod limits;
pub mod maps;
pub mod mounts;
pub mod pause;
pub mod peers;
pub mod readings;
pub mod recent;
pub mod registry;
pub mod selection;
pub mod sockets;
pub mod stat;
pub mod subjects;
pub mod thread;
pub mod vdso;
pub mod wakers;
mod world;

pub use executables::{Executable, ExecutableId, Executables};
pub use image::Image;
pub use maps::{Address, FileOffset, MappedInode, Mapping, MappingKind, Mappings};
pub use mounts::Mounts;
pub use pause::Pause;
pub use peers::Peers;
pub use readings::Readings;
pub use recent::RecentMap;
pub use registry::Registry;
pub use selection::{comm_equals, matches, resolve};
pub use subjects::{Subjects, subject_name};
pub use wakers::Wakers;
pub use world::{OpenFile, PresentMemory, ProcFile, ProcWorld, Sockets, ThreadFile, World, in_initial_pid_namespace};

use std::io;

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The pid asked for is not in use.
    #[error("no process has pid {0}; pids are those of the host's initial PID namespace")]
    NoSuchProcess(u32),
    /// The process ended, or its pid belongs to another process now.
    #[error("process {0} is gone")]
    Gone(u32),
    /// Its files under `/proc` could not be read.
    #[error("failed to read /proc: {0}")]
    Unreadable(#[from] io::Error),
}
