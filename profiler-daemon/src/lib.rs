//! The user half of profilerd. Rooms in dependency order; a room imports only from rooms above it.

pub mod aggregate;
pub mod bpf;
pub mod cli;
pub mod export;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod outside;
pub mod pipeline;
pub mod process;
pub mod profile;
pub mod report;
pub mod runtime;
pub mod settings;
pub mod store;
pub mod symbolize;
pub mod sys;
pub mod unwind;
pub mod wire;
