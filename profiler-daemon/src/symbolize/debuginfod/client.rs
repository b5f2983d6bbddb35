//! Requests to servers of debug information: bounded in time and size, whatever a server does.

use std::io::{self, Read, Write};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::store::Store;
use crate::process::elf::BuildId;
use crate::settings::ServerUrl;

/// The most often that a server may point to another address.
const REDIRECTS: u32 = 3;
const USER_AGENT: &str = concat!("profilerd/", env!("CARGO_PKG_VERSION"));

/// How long fetching a file may take, and how large it may be.
#[derive(Debug, Clone, Copy)]
pub struct DownloadBounds {
    /// Until the connection stands.
    pub(in super::super) connect: Duration,
    /// From the request to the beginning of the answer; a server may have to unpack something first.
    pub(in super::super) answer: Duration,
    /// From the beginning to the end of all.
    pub(in super::super) whole: Duration,
    /// Before the same is tried again; each time twice as long.
    pub(in super::super) retry: Duration,
    /// The largest file; a larger one is not used.
    pub(in super::super) file_bytes: u64,
}

/// What came of asking the servers for one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was kept.
    Kept,
    /// None of them has it.
    Missing,
    /// One of them may have it another time.
    Failed(String),
}

/// The servers, each with its own way to be asked.
#[derive(Debug)]
pub(super) struct Client {
    servers: Vec<(ServerUrl, Agent)>,
    pub(super) bounds: DownloadBounds,
}

impl Client {
    pub(super) fn new(servers: &[ServerUrl], bounds: DownloadBounds) -> Self {
        let servers = servers.iter().map(|server| (server.clone(), agent(server, bounds))).collect();
        Self { servers, bounds }
    }

    /// Asks one server after the other until one has the file, and keeps that.
    pub(super) fn fetch(&self, id: &BuildId, store: &Store) -> Answer {
        let mut outcome = Answer::Missing;
        for (server, agent) in &self.servers {
            match self.fetch_from(server, agent, id, store) {
                Ok(true) => return Answer::Kept,
                Ok(false) => {}
                Err(problem) => outcome = Answer::Failed(format!("{}: {problem}", server.as_str())),
            }
        }
        outcome
    }

    /// Whether the server has the file, which is then kept. A file that is not what was asked for is as good as none, and asking
    /// again would not help.
    fn fetch_from(&self, server: &ServerUrl, agent: &Agent, id: &BuildId, store: &Store) -> io::Result<bool> {
        let url = format!("{}/buildid/{}/debuginfo", server.as_str(), id.as_str());
        let mut response = agent.get(&url).call().map_err(ureq::Error::into_io)?;
        match response.status().as_u16() {
            200 => {}
            400..=499 => return Ok(false),
            status => return Err(io::Error::other(format!("answered {status}"))),
        }
        let mut body = response.body_mut().with_config().reader();
        match store.keep(id, |file| copy_bounded(&mut body, file, self.bounds.file_bytes)) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge) => {
                tracing::warn!(build_id = id.as_str(), "{} sent no debug information to use: {error}", server.as_str());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// An encrypted server cannot lead to one that is not.
fn agent(server: &ServerUrl, bounds: DownloadBounds) -> Agent {
    let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .timeout_connect(Some(bounds.connect))
        .timeout_recv_response(Some(bounds.answer))
        .timeout_global(Some(bounds.whole))
        .https_only(server.is_encrypted())
        .max_redirects(REDIRECTS)
        .http_status_as_error(false)
        .max_idle_connections(1)
        .user_agent(USER_AGENT)
        .tls_config(certificates)
        .build()
        .into()
}

fn copy_bounded(body: &mut dyn Read, file: &mut dyn Write, limit_bytes: u64) -> io::Result<()> {
    let copied = io::copy(&mut body.take(limit_bytes + 1), file)?;
    if copied > limit_bytes { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}
