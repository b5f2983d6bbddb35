//! Which kind of code a CPU was running, told by the leaf of the stack.

use crate::process::Image;
use crate::process::image::is_python_file;
use crate::profile::{CodeKind, Frame, FrameKind};

/// The kind of code at the leaf. Without any frame it is native code: a thread of user space whose stack is not known.
///
/// The interpreter's own module counts as Python in a Python process even where no Python function is known on the stack,
/// and generated code without a name counts as Java in a process with a Java virtual machine.
pub(super) fn code_kind(leaf: Option<&Frame>, image: Option<&Image>) -> CodeKind {
    let (is_python, is_jvm) = image.map_or((false, false), |image| (image.is_python, image.is_jvm));
    let Some(leaf) = leaf else { return CodeKind::Native };
    match leaf.kind {
        FrameKind::Kernel => CodeKind::Kernel,
        FrameKind::Python => CodeKind::Python,
        FrameKind::Jvm => CodeKind::Jvm,
        FrameKind::Interpreter | FrameKind::Jit if is_jvm => CodeKind::Jvm,
        FrameKind::Interpreter => CodeKind::Python,
        FrameKind::Native if is_python && leaf.module.as_deref().is_some_and(is_python_file) => CodeKind::Python,
        FrameKind::Native | FrameKind::Jit | FrameKind::Marker => CodeKind::Native,
    }
}
