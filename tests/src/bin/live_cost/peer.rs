//! The peer: `offcputime` of libbpf-tools, which walks a stack at every switch of the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::{Program, poll_until};

use crate::meter::is_attached;

const START: Duration = Duration::from_secs(30);

/// A running `offcputime`.
pub(crate) struct Peer(Program);

impl Peer {
    /// Where it is installed, if it is.
    pub(crate) fn find() -> Option<PathBuf> {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
        folders.iter().map(|folder| Path::new(folder).join("offcputime")).find(|path| path.exists())
    }

    /// Starts it on a process; returns when it is attached.
    pub(crate) fn start(path: &Path, pid: u32) -> Result<Self> {
        let mut command = Command::new(path);
        command.args(["-p", &pid.to_string(), "3600"]);
        let peer = Self(Program::start(command)?);
        poll_until(START, || Ok(is_attached(peer.pid())?.then_some(())))
            .with_context(|| format!("it attached nothing: {}", peer.0))?;
        Ok(peer)
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }
}
