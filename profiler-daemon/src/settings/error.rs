//! Why something typed or sent could not be understood.

use std::fmt::Display;
use std::net::SocketAddr;

/// A setting or a parameter that does not mean anything. Every message names what was given and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The value of a named setting is not one of those allowed.
    #[error("{name} `{value}` is not valid: {expected}")]
    Value {
        /// The setting or parameter.
        name: &'static str,
        /// What was given, with control characters escaped.
        value: String,
        /// What to write, as a sentence without its full stop.
        expected: String,
    },
    /// There is no such parameter.
    #[error("unknown parameter `{name}`; known are {known}")]
    UnknownParameter {
        /// What was given, with control characters escaped.
        name: String,
        /// The parameters there are.
        known: String,
    },
    /// A parameter stands twice.
    #[error("{name} is given twice; give it once")]
    Repeated {
        /// The parameter.
        name: &'static str,
    },
    /// Two parameters contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// A service without authentication would be reachable from other hosts.
    #[error(
        "listening on {0} would let other hosts read profiles and choose targets without any authentication; \
         listen on a loopback address such as 127.0.0.1:7070, or add --insecure to allow it"
    )]
    NotLoopback(SocketAddr),
}

impl SettingsError {
    /// The error of a bad value: the setting's name, what was given, and what to write.
    pub(super) fn value(name: &'static str, value: &str, expected: impl Display) -> Self {
        Self::Value { name, value: shown(value), expected: expected.to_string() }
    }
}

/// Text from outside, safe to print in one line: control characters escaped, and not endless.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = text.chars().take(LONGEST).collect::<String>().escape_debug().to_string();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
