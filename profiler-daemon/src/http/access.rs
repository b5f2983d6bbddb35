//! Who may ask: a web page in somebody's browser must not drive the daemon.
//!
//! A page can send requests to loopback addresses, and can make its own name resolve to one (DNS rebinding). Its
//! requests then carry that name as `Host` and the page's address as `Origin`. Requests that change something always
//! need a `Host` that cannot be a rebound name and no foreign `Origin`; while the daemon listens on loopback, all need
//! the former.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::ApiError;

/// Lets a request through, or answers with the refusal.
pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match check(state.listen(), request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a request with these headers may pass on a daemon that listens on `listen`.
pub fn check(listen: SocketAddr, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes && !listen.ip().is_loopback() {
        return Ok(());
    }
    let host = text(headers, HOST)
        .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "the request has no Host header; send one"))?;
    if !is_own_host(listen, host) {
        let message = format!("Host `{}` is not this daemon's; use http://{listen} or localhost", host.escape_debug());
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    match headers.get(ORIGIN) {
        Some(origin) if changes && !is_own_origin(origin.as_bytes(), host) => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "a page of another origin may not change anything here"))
        }
        _ => Ok(()),
    }
}

/// Whether the host is a loopback name, or an address that leads here. Addresses cannot be rebound, names can.
fn is_own_host(listen: SocketAddr, host: &str) -> bool {
    let Some(name) = without_port(host) else { return false };
    if name.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        return true;
    }
    match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == listen.ip() || listen.ip().is_unspecified(),
        Err(_) => false,
    }
}

fn is_own_origin(origin: &[u8], host: &str) -> bool {
    origin.strip_prefix(b"http://").is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
}

/// The host without `:PORT`; `None` if what follows the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        Some((_, rest)) if rest.ends_with(']') => Some(host),
        Some((name, port)) => port.parse::<u16>().ok().map(|_| name),
        None => Some(host),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(listen: &str, method: Method, headers: &[(HeaderName, &str)]) -> Option<StatusCode> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        check(listen.parse().unwrap(), &method, &headers).err().map(|error| error.status)
    }

    #[test]
    fn loopback_names_and_addresses_pass() {
        for host in ["localhost:7070", "LOCALHOST", "localhost.", "127.0.0.1:7070", "127.3.2.1", "[::1]:7070", "[::1]"]
        {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                assert_eq!(verdict("127.0.0.1:7070", method, &[(HOST, host)]), None, "{host}");
            }
        }
    }

    #[test]
    fn a_rebound_name_is_refused_even_to_read_on_loopback() {
        let hosts =
            ["evil.example:7070", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b"];
        for host in hosts {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let refused = Some(StatusCode::FORBIDDEN);
                assert_eq!(verdict("127.0.0.1:7070", method, &[(HOST, host)]), refused, "{host}");
            }
        }
    }

    #[test]
    fn a_request_without_host_is_malformed() {
        assert_eq!(verdict("127.0.0.1:7070", Method::GET, &[]), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn beyond_loopback_any_name_may_read_but_only_addresses_may_change() {
        for listen in ["0.0.0.0:7070", "10.0.0.5:7070"] {
            assert_eq!(verdict(listen, Method::GET, &[(HOST, "node1:7070")]), None);
            assert_eq!(verdict(listen, Method::POST, &[(HOST, "node1:7070")]), Some(StatusCode::FORBIDDEN));
            assert_eq!(verdict(listen, Method::POST, &[(HOST, "10.0.0.5:7070")]), None);
        }
        assert_eq!(verdict("10.0.0.5:1", Method::POST, &[(HOST, "10.0.0.6:1")]), Some(StatusCode::FORBIDDEN));
    }

    #[test]
    fn a_foreign_origin_may_not_change_anything() {
        let host = (HOST, "localhost:7070");
        for origin in ["http://evil.example", "null", "http://localhost:3000", "https://localhost:7070"] {
            let headers = [host.clone(), (ORIGIN, origin)];
            assert_eq!(verdict("127.0.0.1:7070", Method::POST, &headers), Some(StatusCode::FORBIDDEN), "{origin}");
            assert_eq!(verdict("127.0.0.1:7070", Method::GET, &headers), None, "{origin}");
        }
        assert_eq!(verdict("127.0.0.1:7070", Method::POST, &[host, (ORIGIN, "http://localhost:7070")]), None);
    }
}
