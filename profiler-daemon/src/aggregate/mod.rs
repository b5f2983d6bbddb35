//! Events into counted raw stacks and exact totals per task and window.

pub mod raw;

pub use raw::{RawSample, RawStack, RawState, RawWindow};
