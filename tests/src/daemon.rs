//! The daemon under test as a child process, asked over HTTP.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::books::{Books, Hotspots};
use crate::client::{Response, request};
use crate::host::profilerd;
use crate::kernel_books::{Asked, monotonic_ns};
use crate::program::{Ended, Program, poll_until};

const START: Duration = Duration::from_secs(30);

/// A running `profilerd serve` on a free port of the loopback.
pub struct Daemon {
    program: Program,
    address: SocketAddr,
}

impl Daemon {
    /// Starts the daemon with options of `serve` and returns when it listens and is ready.
    pub fn start(options: &[&str]) -> Result<Self> {
        let mut command = serve_command(options);
        command.args(["--listen", "127.0.0.1:0"]);
        let mut program = Program::start(command)?;
        let address = program.await_line(START, listening_address)?;
        let daemon = Self { program, address };
        poll_until(START, || Ok((daemon.get("/readyz")?.status == 200).then_some(())))
            .with_context(|| format!("not ready: {}", daemon.program))?;
        Ok(daemon)
    }

    /// Starts the daemon for one process and returns when the process is accounted.
    pub fn start_for(pid: u32, options: &[&str]) -> Result<Self> {
        let selector = format!("pid:{pid}");
        let daemon = Self::start(&[&["--select", selector.as_str()], options].concat())?;
        daemon.await_selected(pid)?;
        Ok(daemon)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET` with `Accept: application/json`.
    pub fn get(&self, path: &str) -> Result<Response> {
        request(self.address, "GET", path, Some("application/json"), None)
    }

    /// `GET` as plain `curl` sends it.
    pub fn get_text(&self, path: &str) -> Result<Response> {
        request(self.address, "GET", path, Some("*/*"), None)
    }

    /// The JSON of a `GET` that must answer 200.
    pub fn json(&self, path: &str) -> Result<Value> {
        let response = self.get(path)?;
        ensure!(response.status == 200, "GET {path} answered {}: {}", response.status, response.text());
        response.json()
    }

    /// `POST` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        request(self.address, "POST", path, Some("application/json"), Some(body))
    }

    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Result<Response> {
        request(self.address, "DELETE", path, Some("application/json"), None)
    }

    /// Selects processes at run time and returns the id of the target.
    pub fn select(&self, selector: &str) -> Result<u64> {
        let response = self.post("/api/v1/targets", &json!({ "select": selector }))?;
        ensure!(response.status / 100 == 2, "POST targets answered {}: {}", response.status, response.text());
        response.json()?["id"].as_u64().context("the answer has no id")
    }

    /// Waits until the process is listed as selected.
    pub fn await_selected(&self, pid: u32) -> Result<()> {
        poll_until(START, || Ok(mentions_pid(&self.json("/api/v1/processes")?, pid).then_some(())))
            .with_context(|| format!("process {pid} was not selected"))
    }

    /// How many windows are closed and named.
    pub fn windows(&self) -> Result<u64> {
        let metrics = self.get_text("/metrics")?.text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("profilerd_windows_total ")?.trim().parse().ok());
        count.map(|count: f64| count as u64).with_context(|| format!("no count of windows in {metrics}"))
    }

    /// Every row of the breakdown of the last hour with this query.
    pub fn breakdown(&self, query: &str) -> Result<Vec<Books>> {
        Books::parse_rows(&self.json(&format!("/api/v1/breakdown?last=1h&limit=100000{query}"))?)
    }

    /// The books of one process since its selection.
    pub fn books(&self, pid: u32) -> Result<Books> {
        let rows = self.breakdown(&format!("&pid={pid}"))?;
        rows.into_iter().find(|row| row.pid == pid).with_context(|| format!("the breakdown has no row for {pid}"))
    }

    /// The same, with the monotonic time before and after the question: the daemon looked at its books in between.
    pub fn timed_books(&self, pid: u32) -> Result<(Books, Asked)> {
        let before_ns = monotonic_ns();
        let books = self.books(pid)?;
        Ok((books, Asked { before_ns, after_ns: monotonic_ns() }))
    }

    /// The functions of one process, every row, idle time included.
    pub fn functions(&self, pid: u32) -> Result<Hotspots> {
        let path = format!("/api/v1/hotspots?last=1h&by=function&idle=show&limit=100000&pid={pid}");
        Hotspots::parse(&self.json(&path)?)
    }

    /// The functions of one process, each with what it called.
    pub fn functions_inclusive(&self, pid: u32) -> Result<Hotspots> {
        let path = format!("/api/v1/hotspots?last=1h&by=function&inclusive=true&idle=show&limit=100000&pid={pid}");
        Hotspots::parse(&self.json(&path)?)
    }

    /// Ends the daemon as a service manager would and returns what it printed.
    pub fn stop(self) -> Result<Ended> {
        self.program.signal(Signal::TERM)?;
        self.program.finish(START)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.program.is_running()
    }
}

/// `profilerd serve` with the options and the object under test; not started.
pub fn serve_command(options: &[&str]) -> Command {
    command(&[&["serve"], options].concat())
}

/// `profilerd` with the arguments, and with the objects under test if `$PROFILERD_OBJECT_DIR` names them; not started.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(profilerd());
    command.args(arguments);
    if let Some(folder) = std::env::var_os("PROFILERD_OBJECT_DIR") {
        command.arg("--object").arg(folder);
    }
    command
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let rest = &line[line.find("listening on")? + "listening on".len()..];
    let mut words = rest.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    words.find_map(|word| word.trim_matches(':').parse().ok())
}

/// Whether some object within the value has this pid.
fn mentions_pid(value: &Value, pid: u32) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| mentions_pid(item, pid)),
        Value::Object(fields) => {
            fields.get("pid").and_then(Value::as_u64) == Some(pid.into())
                || fields.values().any(|field| mentions_pid(field, pid))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_any_wording_around_it() {
        for line in ["listening on 127.0.0.1:7070", "INFO profilerd: listening on http://127.0.0.1:7070/ now"] {
            assert_eq!(listening_address(line), Some("127.0.0.1:7070".parse().unwrap()));
        }
        assert_eq!(listening_address("started on 127.0.0.1:7070"), None);
    }
}
