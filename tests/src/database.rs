//! Databases that listen on a port of the loopback, for clients under test.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::postgres::PostgresFolder;
use crate::program::Program;
use crate::redis::Redis;

/// A running server with an empty database; it ends when dropped.
pub struct Database {
    /// Where it listens.
    pub address: SocketAddr,
    program: Program,
    _folder: TempDir,
}

impl Database {
    /// Redis; `None` after saying why where it is not installed.
    pub fn redis() -> Result<Option<Self>> {
        let Some(Redis { address, program, folder }) = Redis::start(&[])? else { return Ok(None) };
        Ok(Some(Self { address, program, _folder: folder }))
    }

    /// PostgreSQL; `None` after saying why where it is not installed.
    pub fn postgres() -> Result<Option<Self>> {
        let Some(server) = PostgresFolder::create()? else { return Ok(None) };
        let address = free_address()?;
        let port = format!("port={}", address.port());
        let program = server.start(&["-c", "listen_addresses=127.0.0.1", "-c", &port])?;
        Ok(Some(Self { address, program, _folder: server.folder }))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}

/// A port that was free a moment ago: neither server tells which one it got if it chooses.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    listener.local_addr().context("a listener has an address")
}
