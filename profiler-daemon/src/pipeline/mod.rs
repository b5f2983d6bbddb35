//! The only room that knows the order of the others: threads, channels, shutdown, self-metrics.
//!
//! Two threads matter most: the *collector* owns the kernel half, its rings and the aggregator, and carries out every command;
//! the *namer* owns the symbolizer, which cannot change threads. Windows flow from the first through the second into the store.

mod absence;
mod absent;
mod awaits;
mod builder;
mod collector;
pub mod daemon;
mod dump;
mod error;
mod executed;
mod images;
mod namer;
mod question;
mod queue;
mod remapped;
mod selection;
mod service;
mod session;
mod threads;
mod unwinder;
mod waits;
mod waker;

pub use collector::Watch;
pub use daemon::{Daemon, DaemonError, ProcessStatus, QueryRange, Status, Target, TargetId};
pub use dump::dump;
pub use error::StartError;
pub use service::Service;
pub use session::Session;
pub use unwinder::{UnwindStatus, UnwindTotals};
