//! HotSpot, the virtual machine of OpenJDK, from 8 to 26: finding it in processes, and naming the frames that walks recorded.
//!
//! A HotSpot describes its own memory in tables that it exports (`vm_structs`); `layout` picks the fields that walks and
//! names need, by their names, since no field keeps its place. The kernel half walks; what it records of a frame is the
//! instruction and a [`JavaCode`](crate::profile::JavaCode). [`code`] reads from the living process what these stand for:
//! methods, files, lines, and what was inlined into what.
//!
//! All is read from the memory of the process, through [`crate::process::World::read_memory`]; nothing is written, nothing is
//! asked of the virtual machine, nothing is stopped.

mod blob;
pub mod code;
mod debug_info;
pub mod detect;
#[cfg(test)]
mod fixture;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod heaps;
mod layout;
pub mod line_table;
#[cfg(test)]
mod live_tests;
mod method;
mod names;
pub mod processes;
pub mod refusal;
#[cfg(test)]
mod tests;
mod unsigned5;
mod vm_structs;
mod windows;

pub use code::{JavaMethod, Unnamed};
pub use detect::{Detected, Machine, detect};
pub use processes::HotSpots;
pub use refusal::Refusal;
