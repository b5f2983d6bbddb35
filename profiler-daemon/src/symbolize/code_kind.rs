//! Which kind of code a CPU was running, told by the stack.

use std::sync::Arc;

use crate::process::Image;
use crate::profile::{CodeKind, Frame, FrameKind, Leaf};

/// The kind of code of a stack, which agrees with its [`Leaf`]: the interpreter's own functions are Python, except those a
/// Python line called. Without any frame it is native code: a thread of user space whose stack is not known.
///
/// Generated code without a name counts as Java in a process with a Java virtual machine.
pub(super) fn code_kind(frames: &[Arc<Frame>], image: Option<&Image>) -> CodeKind {
    let of_jvm =
        |frame: &Arc<Frame>| frame.module.is_none() && matches!(frame.kind, FrameKind::Interpreter | FrameKind::Jit);
    match Leaf::of(frames) {
        Leaf::Kernel => CodeKind::Kernel,
        Leaf::Jvm => CodeKind::Jvm,
        _ if image.is_some_and(|image| image.is_jvm) && frames.first().is_some_and(of_jvm) => CodeKind::Jvm,
        Leaf::Bytecode | Leaf::Runtime | Leaf::Gc => CodeKind::Python,
        Leaf::Builtin | Leaf::Native(_) => CodeKind::Native,
    }
}
