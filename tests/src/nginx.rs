//! nginx from Debian as a proxy before a server whose answers take a known time, and its access log.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::database::free_address;
use crate::host;
use crate::program::Program;

const START: Duration = Duration::from_secs(60);

/// A running proxy, which ends when dropped.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its one worker.
    pub worker: u32,
    /// The master, which started the worker.
    pub program: Program,
    folder: TempDir,
}

/// One line of the access log, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// When it was written, by the system's clock.
    pub end: f64,
    /// How long the request took.
    pub request: f64,
    /// How long the upstream took of it.
    pub upstream: f64,
}

impl Nginx {
    /// Starts it with one worker before `upstream`; `None` after saying why where it is not installed.
    pub fn start(upstream: SocketAddr) -> Result<Option<Self>> {
        let (folder, address) = (tempfile::tempdir().context("failed to create a folder")?, free_address()?);
        fs::write(folder.path().join("nginx.conf"), configuration(address, upstream)).context("failed to configure")?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-c", "nginx.conf", "-e", "stderr", "-p"]).arg(folder.path());
        let Ok(mut program) = Program::start(command) else {
            host::skip("there is no nginx; it is in Debian's package `nginx-light`");
            return Ok(None);
        };
        let worker = |line: &str| line.split_once("start worker process ")?.1.trim().parse().ok();
        let worker = program.await_line(START, worker)?;
        Ok(Some(Self { address, worker, program, folder }))
    }

    /// The lines of its access log, but for one that is being written.
    pub fn served(&self) -> Result<Vec<Served>> {
        let text =
            fs::read_to_string(self.folder.path().join("access.log")).context("failed to read the access log")?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Served::parse(line).with_context(|| format!("the access log says `{line}`"))).collect()
    }
}

impl Served {
    fn parse(line: &str) -> Option<Self> {
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [end, request, upstream] = numbers[..] else { return None };
        Some(Self { end, request, upstream })
    }
}

fn configuration(address: SocketAddr, upstream: SocketAddr) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|of| format!("  {of}_temp_path {of};\n")).collect();
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n{folders}  \
         log_format times '$msec $request_time $upstream_response_time';\n  access_log access.log times;\n  \
         upstream slow {{ server {upstream}; keepalive 8; }}\n  server {{\n    listen {address};\n    \
         keepalive_requests 1000000;\n    location / {{ proxy_pass http://slow; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }}\n  }}\n}}\n"
    )
}

/// A server in this process that answers each request after 12 to 28 ms, until the test ends; where it listens.
pub fn start_slow_upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
    let address = listener.local_addr().context("a listener has an address")?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer_all(connection));
        }
    });
    Ok(address)
}

/// The delays are no multiples of a tick, so that a clock of ticks is right on average.
fn answer_all(connection: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(connection);
    for number in 0_u64.. {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        thread::sleep(Duration::from_micros(12_000 + number * 7_919 % 16_000));
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").ok()?;
    }
    None
}
