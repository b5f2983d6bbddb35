//! Which processes to profile, or to report on.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A selection of processes, as written on the command line or in a request.
///
/// `pid:N`, `comm:NAME`, `exe:PATH`, `cgroup:PATH` or `all`. Children of a selected process are followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Every thread of the host.
    All,
    /// The process with this pid in the initial PID namespace.
    Pid(u32),
    /// Processes whose thread-group leader has this name.
    Comm(String),
    /// Processes that run this executable.
    Exe(PathBuf),
    /// Processes in this cgroup or below it.
    Cgroup(String),
}

/// Why a selector could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a selector: {problem}; write pid:N, comm:NAME, exe:/PATH, cgroup:/PATH or all")]
pub struct ParseSelectorError {
    text: String,
    problem: &'static str,
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_selector(text).map_err(|problem| ParseSelectorError { text: text.escape_debug().to_string(), problem })
    }
}

fn parse_selector(text: &str) -> Result<Selector, &'static str> {
    if text == "all" {
        return Ok(Selector::All);
    }
    let (kind, value) = text.split_once(':').ok_or("it has no kind")?;
    if value.is_empty() {
        return Err("it has no value");
    }
    match kind {
        "pid" => parse_pid(value).map(Selector::Pid),
        "comm" => Ok(Selector::Comm(value.to_owned())),
        "exe" if value.starts_with('/') => Ok(Selector::Exe(PathBuf::from(value))),
        "exe" => Err("the path is not absolute"),
        "cgroup" if value.starts_with('/') => Ok(Selector::Cgroup(value.trim_end_matches('/').to_owned())),
        "cgroup" => Err("the path is not absolute"),
        _ => Err("its kind is unknown"),
    }
}

fn parse_pid(value: &str) -> Result<u32, &'static str> {
    match value.parse() {
        Ok(0) | Err(_) => Err("the pid is not a positive number"),
        Ok(pid) => Ok(pid),
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Comm(name) => write!(f, "comm:{name}"),
            Self::Exe(path) => write!(f, "exe:{}", path.display()),
            Self::Cgroup(path) => write!(f, "cgroup:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_back_what_it_prints() {
        for text in ["all", "pid:17", "comm:uwsgi: worker", "exe:/usr/bin/python3", "cgroup:/kubepods/pod1"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_selector_says_what_is_wrong_and_what_to_write() {
        for (text, problem) in [
            ("17", "it has no kind"),
            ("pid:", "it has no value"),
            ("pid:0", "the pid is not a positive number"),
            ("pid:-4", "the pid is not a positive number"),
            ("exe:python3", "the path is not absolute"),
            ("pod:default/web", "its kind is unknown"),
        ] {
            let message = text.parse::<Selector>().unwrap_err().to_string();
            assert!(message.contains(problem) && message.contains("write pid:N"), "{message}");
        }
    }
}
