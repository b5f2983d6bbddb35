//! Load on an HTTP server: `wrk` with a script of its own language.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::host;
use crate::program::Program;

/// Clients that ask one server again and again, until dropped.
pub struct Load {
    /// The generator.
    pub program: Program,
    _script: NamedTempFile,
}

impl Load {
    /// Starts so many connections of one thread; `None` after saying why where there is no `wrk`.
    pub fn start(address: SocketAddr, connections: u32, script: &str) -> Result<Option<Self>> {
        let mut file = NamedTempFile::new().context("failed to create a script")?;
        file.write_all(script.as_bytes()).context("failed to write a script")?;
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--connections", &connections.to_string(), "--duration", "120s", "--script"]);
        command.arg(file.path()).arg(format!("http://{address}/"));
        let Ok(program) = Program::start(command) else {
            host::skip("there is no wrk; it is in Debian's package `wrk`");
            return Ok(None);
        };
        Ok(Some(Self { program, _script: file }))
    }
}
