//! A service of Starlette under Debian's uvicorn, and what it measured of its own endpoints.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::request;
use crate::host;
use crate::program::Program;
use crate::workload;

const START: Duration = Duration::from_secs(60);
const PYTHON: &str = "/usr/bin/python3";

/// A running service, which ends when dropped.
pub struct Uvicorn {
    /// Where it listens.
    pub address: SocketAddr,
    /// The server.
    pub program: Program,
}

/// One request, as its endpoint measured it, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Handled {
    /// The endpoint.
    pub path: String,
    /// When it began, by the system's clock.
    pub begin: f64,
    /// When it ended.
    pub end: f64,
    /// What its thread computed meanwhile.
    pub cpu: f64,
}

impl Uvicorn {
    /// Starts `workloads/python/web.py`; `None` after saying why where uvicorn or Starlette is not installed.
    pub fn start() -> Result<Option<Self>> {
        let found = Command::new(PYTHON).args(["-I", "-c", "import uvicorn, starlette"]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            host::skip("there is no uvicorn; it is in Debian's packages `python3-uvicorn` and `python3-starlette`");
            return Ok(None);
        }
        let mut command = Command::new(PYTHON);
        command.args(["-m", "uvicorn", "web:app", "--port", "0", "--no-access-log", "--app-dir"]);
        command.arg(workload::sources().join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut program = Program::start(command)?;
        let address = |line: &str| line.split_once("running on http://")?.1.split(' ').next()?.parse().ok();
        let address = program.await_line(START, address)?;
        Ok(Some(Self { address, program }))
    }

    /// Every request it has handled.
    pub fn handled(&self) -> Result<Vec<Handled>> {
        let answer = request(self.address, "GET", "/seen", None, None)?.json()?;
        let rows: Vec<(String, f64, f64, f64)> =
            serde_json::from_value(answer).context("the service says something else")?;
        let handled = |(path, begin, end, cpu)| Handled { path, begin, end, cpu };
        Ok(rows.into_iter().map(handled).collect())
    }
}
