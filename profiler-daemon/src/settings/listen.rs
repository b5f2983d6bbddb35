//! Where the daemon listens: on loopback, unless the user insists.

use std::net::SocketAddr;

use super::SettingsError;

/// An address such as `127.0.0.1:7070` or `[::1]:7070`. Any other than loopback needs `insecure`.
pub fn parse_listen(text: &str, insecure: bool) -> Result<SocketAddr, SettingsError> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
        SettingsError::value("listen", text, "write an address and a port, such as 127.0.0.1:7070 or [::1]:7070")
    })?;
    if address.ip().is_loopback() || insecure { Ok(address) } else { Err(SettingsError::NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_need_no_flag() {
        for text in ["127.0.0.1:7070", "127.8.8.8:1", "[::1]:7070", "localhost:7070"] {
            assert!(parse_listen(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn any_other_address_is_refused_with_the_flag_that_allows_it() {
        for text in ["0.0.0.0:7070", "[::]:7070", "192.168.1.4:80"] {
            let message = parse_listen(text, false).unwrap_err().to_string();
            assert!(message.contains("--insecure") && message.contains(text), "{message}");
            assert!(parse_listen(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_says_what_to_write() {
        for text in ["7070", "127.0.0.1", "example.org:7070", ""] {
            let message = parse_listen(text, true).unwrap_err().to_string();
            assert!(message.contains("127.0.0.1:7070"), "{message}");
        }
    }
}
