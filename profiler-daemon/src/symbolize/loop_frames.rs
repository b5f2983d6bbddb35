//! The frames behind the tasks of an event loop: those of its thread, down to the loop itself.

use std::sync::Arc;

use crate::profile::{Frame, FrameKind};

/// The file of the functions by which loops of the standard library wait.
const SELECTORS: &str = "/selectors.py";

/// What of the stack on which a loop waits stands behind its tasks, leaf first: the innermost Python function that does more than
/// wait, and its callers. Nothing if there is no Python function.
pub(super) fn loop_frames(waiting: &[Arc<Frame>]) -> Vec<Arc<Frame>> {
    let waits = |frame: &Frame| frame.file.as_ref().is_some_and(|file| file.ends_with(SELECTORS));
    let is_loop = |frame: &Arc<Frame>| frame.kind == FrameKind::Python && !waits(frame);
    let innermost = waiting.iter().position(is_loop);
    innermost.map_or_else(Vec::new, |at| waiting[at..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Name;

    fn frame(kind: FrameKind, name: &'static str, file: &str) -> Arc<Frame> {
        Arc::new(Frame { kind, name: Name::Known(name.into()), file: Some(file.into()), ..Frame::marker("") })
    }

    #[test]
    fn what_waits_is_left_out_with_all_that_it_called() {
        let stack = [
            frame(FrameKind::Native, "epoll_wait", "epoll.c"),
            frame(FrameKind::Python, "EpollSelector.select", "/usr/lib/python3.14/selectors.py"),
            frame(FrameKind::Python, "BaseEventLoop._run_once", "/usr/lib/python3.14/asyncio/base_events.py"),
            frame(FrameKind::Python, "<module>", "/srv/app.py"),
            frame(FrameKind::Native, "main", "python.c"),
        ];
        let names: Vec<_> = loop_frames(&stack).iter().map(|frame| frame.function().to_string()).collect();
        assert_eq!(names, ["BaseEventLoop._run_once", "<module>", "main"]);
        assert!(loop_frames(&stack[..1]).is_empty());
    }
}
