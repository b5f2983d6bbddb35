//! Why the kernel half could not be loaded, by what the user can do.

use super::btf::BtfError;

/// Why the kernel half could not be loaded, attached or asked.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The daemon lacks privileges.
    #[error(
        "no privilege to load BPF programs; run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_SYSLOG"
    )]
    NoPrivilege,
    /// The daemon sees other pids than the kernel.
    #[error("the daemon runs in a PID namespace of its own; run it on the host, or in a pod with `hostPID: true`")]
    NotInInitialPidNamespace,
    /// The kernel is too old.
    #[error("Linux {release} is too old; 5.10 is the oldest supported")]
    KernelTooOld {
        /// What `uname -r` says.
        release: String,
    },
    /// The kernel has no usable type information.
    #[error(transparent)]
    NoTypes(#[from] BtfError),
    /// The kernel lacks fields nothing works without.
    #[error("this kernel's types lack {0}, which the profiler reads; please report the kernel's version")]
    MissingFields(String),
    /// A variant or hook was asked for that the kernel does not have.
    #[error("this kernel has no {0}; leave the choice to the profiler")]
    Unavailable(&'static str),
    /// The object file could not be read.
    #[error("failed to read the BPF object `{path}`: {source}")]
    Object {
        /// The path as given.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A program, map or link was refused.
    #[error("the kernel refused {what}: {detail}")]
    Refused {
        /// What was to be done, e.g. `program sched_switch`.
        what: String,
        /// The chain of errors, verifier log included.
        detail: String,
    },
}

impl LoadError {
    /// Wraps the loader's error with what was attempted.
    pub(super) fn refused(what: impl Into<String>, error: &dyn std::error::Error) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        Self::Refused { what: what.into(), detail }
    }
}
