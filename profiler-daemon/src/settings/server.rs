//! A server that is asked for debug information.

use super::SettingsError;

/// The longest address.
const URL_BYTES: usize = 1024;

/// The address of a server that speaks the protocol of debuginfod, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// An address such as `https://debuginfod.debian.net`.
    pub fn parse(name: &'static str, text: &str) -> Result<Self, SettingsError> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\"<>\\^`{|}".contains(&byte));
        let has_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', ':']));
        match has_host && is_plain && text.len() <= URL_BYTES {
            true => Ok(Self(text.trim_end_matches('/').to_owned())),
            false => {
                let expected = "write the address of a server, such as https://debuginfod.debian.net";
                Err(SettingsError::value(name, text, expected))
            }
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what it sends cannot be changed on its way.
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_maybe_a_path() {
        for (text, url) in [
            ("https://debuginfod.debian.net", "https://debuginfod.debian.net"),
            ("http://[::1]:8002/", "http://[::1]:8002"),
            ("https://example.org/debug/", "https://example.org/debug"),
        ] {
            assert_eq!(ServerUrl::parse("x", text).unwrap().as_str(), url);
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        let long = format!("https://{}", "x".repeat(URL_BYTES));
        for text in
            ["", "debian.net", "ftp://a", "https://", "http:///x", "https://a b", "https://a?x", "https://u:p@a", &long]
        {
            let message = ServerUrl::parse("--debuginfod", text).unwrap_err().to_string();
            assert!(message.contains("https://debuginfod.debian.net"), "{message}");
        }
    }
}
