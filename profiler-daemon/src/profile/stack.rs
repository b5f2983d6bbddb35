//! A call stack, leaf first.

use std::sync::Arc;

use super::Frame;

/// Frames from the innermost to the outermost; kernel frames, if any, come first. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stack {
    /// The frames, leaf first, interned so that windows share them.
    pub frames: Arc<[Arc<Frame>]>,
}

impl Stack {
    /// A stack of the given frames, leaf first.
    pub fn new(frames: impl Into<Arc<[Arc<Frame>]>>) -> Self {
        Self { frames: frames.into() }
    }

    /// The frames, leaf first.
    pub fn leaf_first(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.frames.iter().map(AsRef::as_ref)
    }
}
