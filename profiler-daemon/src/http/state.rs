//! What every handler shares: the daemon, where it listens, and how many questions that take long are asked at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, watch};

use super::error::ApiError;
use super::query::selected_profile;
use crate::pipeline::Daemon;
use crate::profile::{Profile, Timestamp};
use crate::report::Filter;
use crate::settings::ReportQuery;

/// How many questions that take long are asked at once: each may merge the whole history, or read all threads of a process, and
/// more would only add memory.
pub(super) const ASKED_AT_ONCE: usize = 4;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    shared: Arc<Shared>,
}

struct Shared {
    daemon: Arc<dyn Daemon>,
    listen: SocketAddr,
    shutdown: watch::Receiver<bool>,
    turns: Arc<Semaphore>,
    metric_names: Mutex<BTreeSet<String>>,
}

impl AppState {
    /// The state of a daemon that listens on `listen`. `shutdown` turns true when requests that wait should give up.
    pub fn new(daemon: Arc<dyn Daemon>, listen: SocketAddr, shutdown: watch::Receiver<bool>) -> Self {
        let turns = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let metric_names = Mutex::default();
        Self { shared: Arc::new(Shared { daemon, listen, shutdown, turns, metric_names }) }
    }

    /// Where the daemon listens.
    pub fn listen(&self) -> SocketAddr {
        self.shared.listen
    }

    /// Now, by the clock that stamps windows.
    pub fn now(&self) -> Timestamp {
        self.shared.daemon.now()
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

    /// Makes a report of the profile that a query asks for; it is given the filter as the query's selectors narrow it.
    /// At most a few profiles are made at once; others wait their turn.
    pub async fn report<T: Send + 'static>(
        &self,
        query: ReportQuery,
        mut filter: Filter,
        report: impl FnOnce(&Profile, Filter) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.ask_in_turn(move |daemon| {
            let profile = selected_profile(daemon, &query, &mut filter)?;
            report(&profile, filter)
        })
        .await
    }

    /// Asks the daemon what takes long to answer. At most a few such questions are asked at once; others wait their turn.
    pub async fn ask_in_turn<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Daemon) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.shared.turns.clone().acquire_owned().await.map_err(|_| ApiError::shutting_down())?;
        self.ask(move |daemon| {
            // Kept until the work is done, even if nobody waits for the answer any more.
            let _turn = turn;
            question(daemon)
        })
        .await
    }

    /// How many more such questions would be asked at once.
    #[cfg(test)]
    pub(super) fn turns_left(&self) -> usize {
        self.shared.turns.available_permits()
    }

    /// Asks the daemon off the async executor.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Daemon) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let daemon = self.shared.daemon.clone();
        tokio::task::spawn_blocking(move || question(&*daemon)).await.unwrap_or_else(|failure| {
            tracing::error!(%failure, "a request failed");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the daemon's log says why"))
        })
    }
}
