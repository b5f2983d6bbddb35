//! Why a virtual machine's frames are not shown.

use std::fmt;

/// Why a Java virtual machine that was found is not followed. Nothing is guessed: a wrong layout would show wrong frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A 32-bit process.
    ThirtyTwoBit,
    /// Machine code of another processor than x86-64.
    OtherMachine,
    /// Eclipse OpenJ9, or IBM Semeru.
    OpenJ9,
    /// A file is named like a virtual machine and does not describe itself.
    NoSymbols,
    /// What it says about itself lacks this.
    Lacks(&'static str),
    /// What it says about itself cannot be: of this.
    Strange(&'static str),
    /// Its memory could not be read.
    Unreadable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThirtyTwoBit => write!(f, "Java in a 32-bit process is not supported"),
            Self::OtherMachine => write!(f, "Java frames are supported on x86-64 only"),
            Self::OpenJ9 => write!(f, "OpenJ9 is not supported"),
            Self::NoSymbols => {
                write!(f, "the virtual machine does not describe itself: `gHotSpotVMStructs` is missing")
            }
            Self::Lacks(name) => write!(f, "the virtual machine does not tell of its `{name}`"),
            Self::Strange(name) => write!(f, "what the virtual machine tells of its `{name}` cannot be"),
            Self::Unreadable => write!(f, "the virtual machine's memory could not be read"),
        }
    }
}
