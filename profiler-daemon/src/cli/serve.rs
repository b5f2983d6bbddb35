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

/// Serves until SIGINT or SIGTERM.
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
    let (stop, shutdown) = watch::channel(false);
    stop_on_signals(stop).context("failed to watch for signals")?;
    let service = Service::start(settings, selectors).context("failed to start profiling")?;
    let state = AppState::new(service.clone(), address, shutdown.clone());
    eprintln!("profilerd listening on http://{address}");
    let served = serve::serve(listener, router(state), shutdown).await.context("failed to serve");
    end(service).await;
    served
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
