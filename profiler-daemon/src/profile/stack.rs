//! A call stack, leaf first.

use std::sync::Arc;

use super::{Frame, NamedWaker, WaitDetail};

/// Frames from the innermost to the outermost; kernel frames, if any, come first. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stack {
    /// The frames, leaf first, interned so that windows share them.
    pub frames: Arc<[Arc<Frame>]>,
    /// What a wait on this stack is, if more is known than its class.
    pub wait: Option<WaitDetail>,
    /// Whom or what it is for. Untrusted text.
    pub subject: Option<Arc<str>>,
    /// Who ended it.
    pub waker: Option<Arc<NamedWaker>>,
}

impl Stack {
    /// A stack of the given frames, leaf first.
    pub fn new(frames: impl Into<Arc<[Arc<Frame>]>>) -> Self {
        Self { frames: frames.into(), wait: None, subject: None, waker: None }
    }

    /// The same stack, of a wait of this kind.
    pub fn with_wait(self, wait: Option<WaitDetail>) -> Self {
        Self { wait, ..self }
    }

    /// The same stack, of a wait for this.
    pub fn with_subject(self, subject: Option<Arc<str>>) -> Self {
        Self { subject, ..self }
    }

    /// The same stack, of a wait that this waker ended.
    pub fn with_waker(self, waker: Option<Arc<NamedWaker>>) -> Self {
        Self { waker, ..self }
    }

    /// The frames, leaf first.
    pub fn leaf_first(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.frames.iter().map(AsRef::as_ref)
    }
}
