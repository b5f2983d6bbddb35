//! Why sampling could not start.

use crate::bpf::LoadError;
use crate::process::ProcessError;

/// Why sampling could not start. Nothing is left attached.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel half could not be loaded or attached.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A selected process does not exist.
    #[error(transparent)]
    Select(#[from] ProcessError),
    /// More selections than there is room for.
    #[error(transparent)]
    Target(#[from] super::DaemonError),
    /// A thread could not be started.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
