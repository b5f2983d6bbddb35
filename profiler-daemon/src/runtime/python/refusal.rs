//! Why an interpreter's frames are not shown.

use std::fmt;

use super::version::Version;

/// Why a Python that was found is not followed. Nothing is guessed: a wrong layout would show wrong frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A 32-bit process.
    ThirtyTwoBit,
    /// Machine code of another processor than x86-64.
    OtherMachine,
    /// PyPy.
    PyPy,
    /// Older than 3.8.
    TooOld,
    /// Of a minor version that came later.
    TooNew(Version),
    /// An alpha, a beta or a release candidate: layouts change until the release.
    Prerelease(Version),
    /// Older than 3.11, and not built as those whose layout is known.
    UnknownBuild,
    /// What it says about its layout, or what lies there, contradicts what is known of its version.
    UnknownLayout(Version),
    /// A file is named like an interpreter and exports none of its symbols.
    NoSymbols,
    /// Its memory could not be read.
    Unreadable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThirtyTwoBit => write!(f, "Python in a 32-bit process is not supported"),
            Self::OtherMachine => write!(f, "Python frames are supported on x86-64 only"),
            Self::PyPy => write!(f, "PyPy is not supported"),
            Self::TooOld => write!(f, "Python older than 3.8 is not supported"),
            Self::TooNew(version) => write!(f, "Python {version} is newer than this profilerd knows"),
            Self::Prerelease(version) => write!(f, "Python {version} is a pre-release, which is not supported"),
            Self::UnknownBuild => {
                write!(f, "this build of Python is not known: it is older than 3.11 and has sizes of its own")
            }
            Self::UnknownLayout(version) => {
                write!(f, "the memory of this Python {version} is not laid out as that version's")
            }
            Self::NoSymbols => write!(f, "the interpreter's symbols were stripped from it: `_PyRuntime` is missing"),
            Self::Unreadable => write!(f, "the interpreter's memory could not be read"),
        }
    }
}
