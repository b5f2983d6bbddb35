//! Why the user part of a stack ends where it does: at its outermost frame, or before, for a reason.

use super::LossReason;

/// How a walk of a user stack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Ending {
    /// At the outermost frame: the stack is whole.
    #[default]
    Complete,
    /// The stack is deeper than the walk goes.
    TooDeep,
    /// A return address lies in no executable mapping that is known.
    Unmapped,
    /// The code has no unwind information, and its frame pointer leads nowhere.
    NoRule,
    /// The unwind rule is one that tables cannot express.
    UnsupportedRule,
    /// The unwind rule needs a register whose value is not known in that frame.
    RegisterLost,
    /// The memory of the stack could not be read.
    Unreadable,
    /// The caller's frame would not lie above its callee's.
    NoProgress,
    /// The mappings of the process were not known yet: frame pointers were followed, unchecked.
    Unprepared,
}

impl Ending {
    /// What is counted as lost; nothing if the stack is whole.
    pub fn loss(self) -> Option<LossReason> {
        match self {
            Self::Complete => None,
            Self::TooDeep => Some(LossReason::StackTruncated),
            Self::Unmapped => Some(LossReason::StackUnmapped),
            Self::NoRule => Some(LossReason::StackNoRule),
            Self::UnsupportedRule => Some(LossReason::StackRuleUnsupported),
            Self::RegisterLost => Some(LossReason::StackRegisterLost),
            Self::Unreadable => Some(LossReason::StackUnreadable),
            Self::NoProgress => Some(LossReason::StackNoProgress),
            Self::Unprepared => Some(LossReason::StackUnprepared),
        }
    }

    /// The outermost frame shown in place of those that are missing.
    pub fn marker(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::TooDeep => Some("[truncated: too deep]"),
            Self::Unmapped => Some("[truncated: unmapped]"),
            Self::NoRule => Some("[truncated: no unwind rule]"),
            Self::UnsupportedRule => Some("[truncated: unsupported unwind rule]"),
            Self::RegisterLost => Some("[truncated: register lost]"),
            Self::Unreadable => Some("[truncated: unreadable]"),
            Self::NoProgress => Some("[truncated: no progress]"),
            Self::Unprepared => Some("[truncated: not prepared]"),
        }
    }
}
