//! Frames and texts shared between stacks and windows.

use std::collections::HashSet;
use std::sync::Arc;

use super::engine::{Function, cut};
use super::limits;
use crate::process::RecentMap;
use crate::profile::{Activity, Frame, FrameKind, Name, Reason};

/// The frames at one address, innermost first: inlined functions are frames of their own.
pub(super) type Frames = Arc<[Arc<Frame>]>;

/// What is shared: texts, and frames that belong to no executable.
#[derive(Debug)]
pub(super) struct Shared {
    texts: HashSet<Arc<str>>,
    frames: RecentMap<Frame, Arc<Frame>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { texts: HashSet::new(), frames: RecentMap::new(limits::OTHER_FRAMES) }
    }

    /// One copy of the text, cut to the limit.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        let text = cut(text);
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= limits::TEXTS {
            self.texts.clear();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// One copy of the frame.
    pub(super) fn frame(&mut self, frame: Frame) -> Arc<Frame> {
        if let Some(known) = self.frames.find(&frame) {
            return known.clone();
        }
        let shared = Arc::new(frame.clone());
        self.frames.insert(frame, shared.clone());
        shared
    }

    /// A frame whose name is not known.
    pub(super) fn unknown(
        &mut self,
        kind: FrameKind,
        reason: Reason,
        module: Option<&str>,
        address: u64,
    ) -> Arc<Frame> {
        let module = module.map(|module| self.text(module));
        self.frame(Frame::unknown(kind, reason, module, address))
    }

    /// New frames for the functions at an address of a module.
    pub(super) fn functions(
        &mut self,
        functions: Vec<Function>,
        kind: FrameKind,
        module: &Arc<str>,
        address: u64,
    ) -> Frames {
        let frame = |function: Function| {
            Arc::new(Frame {
                kind,
                name: Name::Known(self.text(&function.name)),
                file: function.file.map(|file| self.text(&file)),
                line: function.line,
                module: Some(module.clone()),
                address,
                inlined: function.inlined,
                activity: Activity::Running,
                source: None,
            })
        };
        functions.into_iter().map(frame).collect()
    }
}
