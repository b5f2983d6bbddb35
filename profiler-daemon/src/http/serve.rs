//! The listening socket: bound early, served until told to stop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long requests in progress may take to finish once the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error("{0} is in use, perhaps by another profilerd; stop that one, or choose another address with --listen")]
    InUse(SocketAddr),
    /// The system refused the address.
    #[error("{0} cannot be listened on: {1}; choose another address with --listen")]
    Refused(SocketAddr, #[source] io::Error),
}

/// Takes the address, so that a second daemon fails before it touches the kernel.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused(address, error),
    };
    let listener = std::net::TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

/// Serves until `shutdown` turns true; requests in progress then have some seconds to finish.
pub async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut stop = shutdown.clone();
    let graceful = axum::serve(listener, router).with_graceful_shutdown(async move { stopped(&mut stop).await });
    tokio::select! {
        result = graceful => result,
        () = async { stopped(&mut shutdown).await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

/// Resolves when the value turns true, or when nobody is left to turn it.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = shutdown.wait_for(|down| *down).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_suggests_another_daemon() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(first.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("perhaps by another profilerd"), "{error}");
    }

    #[tokio::test]
    async fn serving_ends_when_told() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (stop, shutdown) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, Router::new(), shutdown));
        stop.send(true).unwrap();
        serving.await.unwrap().unwrap();
    }
}
