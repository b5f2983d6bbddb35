//! Unwind tables: for every address of an executable, where the caller's registers are.
//!
//! In comes an open ELF file, untrusted; out comes a [`Table`] in the form the kernel half searches. [`Source::open`] reads
//! what the file says about its frames, [`Source::key`] names exactly that content, [`Source::build`] makes the table, and
//! [`TableCache`] keeps it for the next start. Where tables go from here is left to others.
//!
//! What rows cannot express is counted by reason in [`Omissions`], and never guessed.

mod builder;
mod cache;
mod expression;
mod fixed;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod key;
pub mod limits;
mod linkage;
mod machine;
mod omission;
pub mod pool;
mod program;
mod row;
mod rules;
mod source;
mod spaces;
mod span;
mod stored;
mod table;
#[cfg(test)]
mod tests;
mod translation;
mod writer;

pub use cache::TableCache;
pub use key::TableKey;
pub use omission::{Omission, Omissions};
pub use pool::{PlaceError, Pool, PoolUsage, TableMaps};
pub use source::Source;
pub use spaces::{MappingMaps, Spaces};
pub use table::{Page, Table};

use std::io;

/// Why a file has no table.
#[derive(Debug, thiserror::Error)]
pub enum UnwindError {
    /// The file is no ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// Its code is for a machine whose stacks are not walked; `0` stands for 32 bits or big-endian.
    #[error("code for a machine whose stacks are not walked (ELF machine {0})")]
    Machine(u16),
    /// Its headers contradict themselves.
    #[error("malformed ELF headers: {0}")]
    Malformed(io::Error),
    /// It says nothing about its frames.
    #[error("no unwind information")]
    NoUnwindInformation,
    /// It says more about its frames than is read.
    #[error("more than {} MiB of unwind information", limits::SECTION_BYTES >> 20)]
    TooLarge,
    /// It could not be read.
    #[error("failed to read: {0}")]
    Io(#[from] io::Error),
}
