//! Why sampling could not start.

use std::path::PathBuf;

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
    /// What servers send could not be kept.
    #[error("failed to keep debug information in `{}`: {error}; name another directory with --cache-dir", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
