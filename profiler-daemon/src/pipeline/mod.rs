//! The only room that knows the order of the others: threads, channels, shutdown, self-metrics.

pub mod daemon;

pub use daemon::{Daemon, DaemonError, ProcessStatus, QueryRange, Status, Target, TargetId};
