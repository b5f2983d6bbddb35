//! Debug information from servers: asked for by build id in the background, kept on disk.
//!
//! In come build ids of executables without debug information; out come files, at once if they were kept, otherwise in a
//! later window. Whoever asks never waits: one thread talks to the servers, one request after the other. A file is believed
//! if it says the build id itself, which is verified when it arrives and each time it is used. Nothing is asked unless the
//! user named a server, since a build id tells which program runs.

mod client;
mod store;

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Instant;

use super::limits;
use crate::process::RecentMap;
use crate::process::elf::{BuildId, Elf};
use crate::settings::ServerUrl;
use crate::sys::private_directory::PrivateDirectory;
pub use client::DownloadBounds;
use client::{Answer, Client};
use store::Store;

/// The servers, and what they sent so far.
#[derive(Debug)]
pub struct Debuginfod {
    store: Store,
    to_fetch: SyncSender<BuildId>,
    arrived: Receiver<BuildId>,
    /// When each was asked for: it is not asked for again before some time has passed, whatever the answer was.
    asked: RecentMap<BuildId, Instant>,
}

impl Debuginfod {
    /// Starts the thread that asks `servers`, in their order. Files are kept below `directory` and take no more than
    /// `limit_bytes` there. The thread ends some time after this was dropped.
    pub fn start(servers: &[ServerUrl], directory: &PrivateDirectory, limit_bytes: u64) -> io::Result<Self> {
        Self::start_with(Client::new(servers, limits::DOWNLOAD), directory, limit_bytes)
    }

    fn start_with(client: Client, directory: &PrivateDirectory, limit_bytes: u64) -> io::Result<Self> {
        let store = Store::open(directory, limit_bytes)?;
        let (to_fetch, wanted) = mpsc::sync_channel(limits::DOWNLOADS_WAITING);
        let (to_tell, arrived) = mpsc::channel();
        let fetcher = Fetcher { client, store: store.clone(), to_tell, later: Vec::new(), told: None };
        thread::Builder::new().name("debuginfod".to_owned()).spawn(move || fetcher.run(&wanted))?;
        Ok(Self { store, to_fetch, arrived, asked: RecentMap::new(limits::DOWNLOADS_REMEMBERED) })
    }

    /// The file with debug information for a build id, if it is on disk. Otherwise the servers are asked for it.
    pub(super) fn find_or_ask(&mut self, id: &BuildId) -> Option<(File, Elf)> {
        let found = self.store.find(id);
        let is_recent = |asked: &mut Instant| asked.elapsed() < limits::DOWNLOAD_AGAIN;
        if found.is_none() && !self.asked.find(id).is_some_and(is_recent) && self.to_fetch.try_send(id.clone()).is_ok()
        {
            self.asked.insert(id.clone(), Instant::now());
        }
        found
    }

    /// The build ids whose files arrived since the last call.
    pub(super) fn take_arrived(&self) -> Vec<BuildId> {
        self.arrived.try_iter().collect()
    }
}

/// The thread that asks.
struct Fetcher {
    client: Client,
    store: Store,
    to_tell: Sender<BuildId>,
    later: Vec<Retry>,
    /// When a failure was last told.
    told: Option<Instant>,
}

/// What a server may answer another time.
struct Retry {
    due: Instant,
    id: BuildId,
    tried: u32,
}

impl Fetcher {
    fn run(mut self, wanted: &Receiver<BuildId>) {
        loop {
            let next = match self.later.iter().map(|retry| retry.due).min() {
                None => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => wanted.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(id) => self.fetch(id, 0),
                Err(RecvTimeoutError::Timeout) => self.fetch_due(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn fetch_due(&mut self) {
        let now = Instant::now();
        for retry in self.later.extract_if(.., |retry| retry.due <= now).collect::<Vec<_>>() {
            self.fetch(retry.id, retry.tried);
        }
    }

    fn fetch(&mut self, id: BuildId, tried: u32) {
        match self.client.fetch(&id, &self.store) {
            Answer::Kept => {
                tracing::info!(build_id = id.as_str(), "debug information arrived");
                // Nobody is left to be told at the end of the daemon.
                let _ = self.to_tell.send(id);
            }
            Answer::Missing => tracing::debug!(build_id = id.as_str(), "no server has debug information"),
            Answer::Failed(why) => self.note_failure(id, tried + 1, &why),
        }
    }

    fn note_failure(&mut self, id: BuildId, tried: u32, why: &str) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told > limits::DOWNLOAD_SILENCE) {
            tracing::warn!(build_id = id.as_str(), "failed to fetch debug information: {why}");
            self.told = Some(now);
        }
        if tried < limits::DOWNLOAD_TRIES && self.later.len() < limits::DOWNLOADS_WAITING {
            let due = now + self.client.bounds.retry * 2u32.pow(tried - 1);
            self.later.push(Retry { due, id, tried });
        }
    }
}

#[cfg(test)]
mod tests;
