//! Frames of Python functions before they have names, as the kernel half found them.

use super::LossReason;

/// One Python frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PythonFrame {
    /// The address of the code object.
    pub code: u64,
    /// The instruction: its address, or in older versions its number. Its meaning depends on the version.
    pub instruction: u64,
    /// What tells the code object from another that comes to lie at the same address.
    pub fingerprint: u64,
    /// The native frame that ran it, counted from the innermost user frame; `None` if it is not known.
    pub place: Option<u16>,
}

/// How a walk of Python frames ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum PythonEnding {
    /// There was none: no interpreter is known in the process.
    #[default]
    NoInterpreter,
    /// At the outermost frame.
    Complete,
    /// The thread has no state in the interpreter: it never ran Python.
    NoState,
    /// There are more frames than are kept.
    TooDeep,
    /// Memory of the interpreter could not be read.
    Unreadable,
    /// What should be a frame was none: it was being changed.
    NotAFrame,
    /// The thread's state was not found among too many threads.
    TooManyThreads,
}

impl PythonEnding {
    /// What is counted as lost; nothing if all frames there are were found.
    pub fn loss(self) -> Option<LossReason> {
        match self {
            Self::NoInterpreter | Self::Complete | Self::NoState => None,
            Self::TooDeep => Some(LossReason::PythonTooDeep),
            Self::Unreadable => Some(LossReason::PythonUnreadable),
            Self::NotAFrame => Some(LossReason::PythonNotAFrame),
            Self::TooManyThreads => Some(LossReason::PythonThreadNotFound),
        }
    }

    /// The frame shown behind the last Python frame in place of those that are missing.
    pub fn marker(self) -> Option<&'static str> {
        match self {
            Self::NoInterpreter | Self::Complete | Self::NoState => None,
            Self::TooDeep => Some("[python frames cut: too deep]"),
            Self::Unreadable => Some("[python frames cut: unreadable]"),
            Self::NotAFrame => Some("[python frames cut: not a frame]"),
            Self::TooManyThreads => Some("[python frames cut: thread not found]"),
        }
    }
}
