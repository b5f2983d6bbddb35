//! Rules that are known without a description.

use profiler_common::unwind::aarch64::X30;
use profiler_common::unwind::rule::{Rule, UNCHANGED, cfa};

/// A rule for code of a known shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// Nobody called it.
    Outermost,
    /// x86_64: so many words are on the stack, the return address among them.
    Words(u8),
    /// x86_64: stubs of 16 bytes that have pushed a word from this byte on.
    Stubs(u8),
    /// aarch64: nothing is saved yet.
    Leaf,
    /// aarch64: a scratch register and the link register were pushed.
    LinkPushed,
}

impl Fixed {
    pub(super) fn rule(self) -> Rule {
        match self {
            Self::Outermost => Rule::OUTERMOST,
            Self::Words(words) => on_stack(i32::from(words) * 8),
            Self::Stubs(from) => Rule { offset: i32::from(from), ..Rule::new(cfa::LINKAGE_STUB) },
            Self::Leaf => on_stack(0),
            Self::LinkPushed => {
                let mut saved = [UNCHANGED; _];
                saved[usize::from(X30)] = -1;
                Rule { saved, ..on_stack(16) }
            }
        }
    }
}

fn on_stack(offset: i32) -> Rule {
    Rule { offset, ..Rule::new(cfa::STACK) }
}
