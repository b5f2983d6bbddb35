//! A call stack, leaf first.

use std::sync::Arc;

use super::{Frame, WaitDetail};

/// Frames from the innermost to the outermost; kernel frames, if any, come first. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stack {
    /// The frames, leaf first, interned so that windows share them.
    pub frames: Arc<[Arc<Frame>]>,
    /// What a wait on this stack is, if the frames tell it better than the kernel.
    pub wait: Option<WaitDetail>,
}

impl Stack {
    /// A stack of the given frames, leaf first.
    pub fn new(frames: impl Into<Arc<[Arc<Frame>]>>) -> Self {
        Self { frames: frames.into(), wait: None }
    }

    /// The same stack, of a wait of this kind.
    pub fn with_wait(self, wait: Option<WaitDetail>) -> Self {
        Self { wait, ..self }
    }

    /// The frames, leaf first.
    pub fn leaf_first(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.frames.iter().map(AsRef::as_ref)
    }
}
