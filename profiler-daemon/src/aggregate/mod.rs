//! Events into counted raw stacks and exact totals per task and window.
//!
//! [`Aggregator`] is fed with events as they come and with the accounts of each pass over all tasks; it hands out the
//! window so far, or closes it. No IO: everything it needs is in the events.

mod aggregator;
mod edges;
mod lengths;
mod limits;
mod loops;
mod places;
pub mod raw;
mod reconcile;
mod window;

pub use aggregator::{Aggregator, Closed, OpenWait};
pub use lengths::LifetimeLengths;
pub use loops::{Look, Pending};
pub use raw::{RawLoop, RawSample, RawStack, RawState, RawWindow, SubjectNames};
