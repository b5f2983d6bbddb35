//! What every handler shares: the daemon, where it listens, and how many heavy questions run at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, watch};

use super::error::ApiError;
use crate::pipeline::Daemon;

/// How many questions to the daemon run at once: each may merge the whole history, and more would only add memory.
const QUESTIONS_AT_ONCE: usize = 4;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    shared: Arc<Shared>,
}

struct Shared {
    daemon: Arc<dyn Daemon>,
    listen: SocketAddr,
    shutdown: watch::Receiver<bool>,
    questions: Semaphore,
    process_exists: fn(u32) -> bool,
    metric_names: Mutex<BTreeSet<String>>,
}

impl AppState {
    /// The state of a daemon that listens on `listen`. `shutdown` turns true when requests that wait should give up.
    pub fn new(daemon: Arc<dyn Daemon>, listen: SocketAddr, shutdown: watch::Receiver<bool>) -> Self {
        Self::with_processes(daemon, listen, shutdown, super::presence::process_exists)
    }

    /// As [`AppState::new`], with another way to tell whether a process exists.
    pub fn with_processes(
        daemon: Arc<dyn Daemon>,
        listen: SocketAddr,
        shutdown: watch::Receiver<bool>,
        process_exists: fn(u32) -> bool,
    ) -> Self {
        let questions = Semaphore::new(QUESTIONS_AT_ONCE);
        let metric_names = Mutex::default();
        Self { shared: Arc::new(Shared { daemon, listen, shutdown, questions, process_exists, metric_names }) }
    }

    /// Where the daemon listens.
    pub fn listen(&self) -> SocketAddr {
        self.shared.listen
    }

    /// Whether the process exists, selected or not.
    pub fn process_exists(&self, pid: u32) -> bool {
        (self.shared.process_exists)(pid)
    }

    /// The names that have metrics of their own, first come, first served.
    pub fn metric_names(&self) -> &Mutex<BTreeSet<String>> {
        &self.shared.metric_names
    }

    /// Resolves when the daemon begins to shut down.
    pub async fn shutting_down(&self) {
        let mut shutdown = self.shared.shutdown.clone();
        if shutdown.wait_for(|down| *down).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks the daemon off the async executor. At most a few questions run at once; others wait their turn.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Daemon) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _turn = self.shared.questions.acquire().await.map_err(|_| ApiError::shutting_down())?;
        let daemon = self.shared.daemon.clone();
        tokio::task::spawn_blocking(move || question(&*daemon)).await.unwrap_or_else(|failure| {
            tracing::error!(%failure, "a request failed");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the daemon's log says why"))
        })
    }
}
