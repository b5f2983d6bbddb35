//! What frames and entries are called, for all formats alike. Names are as untrusted as they came.

use std::sync::Arc;

use super::ExportOptions;
use crate::profile::{Frame, FrameKind, Reason, Stack, State};
use crate::report::{Calibrated, Entry};

/// The stack of an entry, never empty: a marker stands where there is no stack.
pub(super) fn stack_of(calibrated: &Calibrated<'_>, entry: &Entry) -> Stack {
    if let Some(marker) = entry.marker() {
        return Stack::new(vec![Arc::new(marker)]);
    }
    let stack = entry.place().map(|at| &calibrated.profile.stacks[at as usize]);
    match stack.filter(|stack| !stack.frames.is_empty()) {
        Some(stack) => stack.clone(),
        None => Stack::new(vec![Arc::new(Frame::marker(format!("[{}]", Reason::NoUserStack.name())))]),
    }
}

/// The synthetic leaf that says what the thread was doing; none on a CPU, and none for markers, which say it themselves.
pub(super) fn state_frame(entry: &Entry) -> Option<String> {
    match entry.state {
        _ if entry.stack.is_none() => None,
        State::OnCpu(_) => None,
        State::Wait(class) if entry.awaits.is_some() => {
            Some(format!("[await {}]", entry.detail.unwrap_or(class.name())))
        }
        State::Wait(class) if entry.idle => Some(format!("[idle {}]", class.name())),
        State::Wait(class) => Some(format!("[wait {}]", class.name())),
        state => Some(format!("[{}]", state.name())),
    }
}

/// A frame in one line: Python and JVM functions with their file, with `lines` all with file and line.
pub(super) fn frame_label(frame: &Frame, options: &ExportOptions) -> String {
    let function = frame.function();
    let managed = matches!(frame.kind, FrameKind::Python | FrameKind::Jvm);
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) if options.lines => format!("{function} ({file}:{line})"),
        (Some(file), _) if options.lines || managed => format!("{function} ({file})"),
        _ => function.to_string(),
    }
}
