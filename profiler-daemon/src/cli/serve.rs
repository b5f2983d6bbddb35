//! `profilerd serve`: the daemon.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::sampling_flags::{HistoryFlags, SamplingFlags};
use super::selection::parse_select;
use crate::http::{AppState, router, serve};
use crate::pipeline::Service;
use crate::settings::{SamplingSettings, Selector, parse_listen};

/// Run the daemon: sample all the time, keep a history, answer over HTTP
///
/// It samples the whole system unless --select narrows it. SEL is pid:N, comm:NAME, exe:/PATH, cgroup:/PATH or all;
/// children are followed. With --select none it attaches nothing and waits until POST /api/v1/targets selects something.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd serve
  profilerd serve --select comm:nginx --select cgroup:/system.slice/db.service
  profilerd serve --select none
  curl 'localhost:7070/api/v1/hotspots?last=60s'
  curl localhost:7070/api/v1/targets -H 'Content-Type: application/json' \\
       -d '{\"select\":\"pid:4711\",\"for\":\"30s\"}'")]
pub(super) struct ServeArguments {
    /// What to profile from the start: SEL, repeatable, or none
    #[arg(long, value_name = "SEL")]
    select: Vec<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    listen: String,
    /// Allow to listen where other hosts can connect; there is no authentication yet
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    history: HistoryFlags,
    #[command(flatten)]
    sampling: SamplingFlags,
}

/// Serves until SIGINT or SIGTERM. It fails if profiling ends before.
pub(super) fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let address = parse_listen(&arguments.listen, arguments.insecure).context("failed to listen")?;
    let settings = arguments.sampling.settings(&arguments.history).context("failed to read the flags")?;
    let selectors = parse_select(&arguments.select)?;
    let listener = serve::bind(address).context("failed to listen")?;
    let address = listener.local_addr().context("failed to listen")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("failed to start the executor")?;
    runtime.block_on(serve_daemon(listener, address, &settings, &selectors))?;
    // Questions that still run are abandoned: nobody is left to read their answers.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve_daemon(
    listener: TcpListener,
    address: SocketAddr,
    settings: &SamplingSettings,
    selectors: &[Selector],
) -> anyhow::Result<()> {
    let stop = watch::Sender::new(false);
    stop_on_signals(stop.clone()).context("failed to watch for signals")?;
    let service = Service::start(settings, selectors).context("failed to start profiling")?;
    eprintln!("profilerd listening on http://{address}");
    answer(listener, address, service, stop).await
}

/// Answers requests until told to stop, or until the service has lost a thread, which is an error.
async fn answer(
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let shutdown = stop.subscribe();
    let state = AppState::new(service.clone(), address, shutdown.clone());
    tokio::spawn(stop_at_end(service.first_ended(), stop));
    let served = serve::serve(listener, router(state), shutdown).await.context("failed to serve");
    let lost = service.lost_thread();
    end(service).await;
    match lost {
        Some(thread) => anyhow::bail!("failed to profile: the {thread} thread ended unexpectedly; the log says why"),
        None => served,
    }
}

async fn stop_at_end(mut first_ended: watch::Receiver<Option<&'static str>>, stop: watch::Sender<bool>) {
    if first_ended.wait_for(Option::is_some).await.is_ok() {
        stop.send_replace(true);
    }
}

/// Detaches the kernel half; it blocks, so it runs off the executor.
async fn end(service: Arc<Service>) {
    if let Err(failure) = tokio::task::spawn_blocking(move || service.shutdown()).await {
        tracing::error!(%failure, "the shutdown failed");
    }
}

fn stop_on_signals(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("shutting down");
        stop.send_replace(true);
        // A second signal does not wait for anybody.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Daemon;

    #[tokio::test]
    async fn a_lost_collector_ends_the_daemon_with_a_line_that_says_so() {
        let service = Service::with_broken_collector();
        let asked = service.clone();
        let asking = tokio::task::spawn_blocking(move || asked.status());
        let address = "127.0.0.1:0".parse().unwrap();
        let error = answer(serve::bind(address).unwrap(), address, service, watch::Sender::new(false)).await;
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("failed to profile: the collector thread ended"), "{message}");
        assert!(asking.await.unwrap().is_err());
    }
}
