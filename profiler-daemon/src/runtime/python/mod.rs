//! CPython, from 3.8 to 3.15: finding interpreters in processes, and naming what walks of their frames recorded.
//!
//! [`detect::detect`] finds the interpreters of a process and what walks need to know of each. The kernel half walks; what it
//! records of a frame is the address of a code object, the instruction, and a fingerprint. [`code::CodeObject`] reads
//! from the living process what these stand for: function, file, line. [`threads::read_threads`] walks from outside.
//!
//! All is read from the memory of the process, through [`crate::process::World::read_memory`], but for what asyncio says about
//! itself; nothing is written, nothing is stopped.

mod asyncio;
pub mod awaited;
pub mod code;
mod debug_offsets;
pub mod detect;
pub mod entries;
#[cfg(test)]
pub(super) mod fixture;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod layout;
pub mod line_table;
#[cfg(test)]
mod live_tests;
pub mod pending;
pub mod processes;
pub mod refusal;
#[cfg(test)]
mod tests;
pub mod text;
pub mod threads;
pub mod version;

pub use code::{CodeObject, Unnamed};
pub use detect::{Detected, Python, detect};
pub use layout::Layout;
pub use processes::{PythonFunction, Pythons};
pub use refusal::Refusal;
pub use version::Version;
