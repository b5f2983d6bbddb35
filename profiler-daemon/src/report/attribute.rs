//! Which frame of a stack is charged: the one place that says whose time it is.
//!
//! | the stack, leaf first | charged | why |
//! |---|---|---|
//! | kernel, C library, user | user | kernel and libc only refine the reason |
//! | functions without a name in a stripped module, its function with one | the one with the name | it called them, and is all that can be recognized |
//! | native library, interpreter, Python or JVM | Python or JVM | the user's line called it; the columns tell native from Python |
//! | the same with `native` | native library | asked for |
//! | anything with `kernel` or `libc` | the innermost frame, if it is one | asked for |
//! | interpreter or C library only | the innermost of them, interpreter first | nothing better is known |
//! | kernel only | the innermost kernel frame outside the scheduler | kernel threads |
//! | a marker only | the marker | it says what is missing |
//! | nothing | no frame | the user stack could not be read |
//!
//! Where a task of asyncio awaits something, the innermost frame outside of asyncio is charged: the line with the `await`.

use crate::profile::c_library::is_c_library;
use crate::profile::{Frame, FrameKind, Name, Reason, Stack};

/// Which frames may be charged besides those of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttributionRule {
    /// Native frames above a Python or JVM frame.
    pub native: bool,
    /// Kernel frames.
    pub kernel: bool,
    /// Frames of the C library.
    pub libc: bool,
}

impl AttributionRule {
    /// The frame that is charged, or the reason why there is none.
    pub fn charge<'a>(&self, stack: &'a Stack) -> Result<&'a Frame, Reason> {
        self.named(stack).or_else(|| fallback(stack)).ok_or(Reason::NoUserStack)
    }

    /// The innermost frame that is shown. A stripped program or library still names the functions that others can use: of those
    /// it does not name, the next one that it does, which called them.
    fn named<'a>(&self, stack: &'a Stack) -> Option<&'a Frame> {
        let innermost = self.shown(stack).next()?;
        let mut of_module = self.shown(stack).take_while(|frame| frame.module == innermost.module);
        of_module.find(|frame| frame.name != Name::Unknown(Reason::Stripped)).or(Some(innermost))
    }

    /// The same, where a task awaits something: the frame whose `await` led into asyncio.
    pub fn charge_await<'a>(&self, stack: &'a Stack) -> Result<&'a Frame, Reason> {
        let own = self.shown(stack).find(|frame| !is_asyncio(frame));
        own.map_or_else(|| self.charge(stack), Ok)
    }

    /// The frames that may be charged, leaf first: with inclusive counting each of them is.
    pub fn shown<'a>(&self, stack: &'a Stack) -> impl Iterator<Item = &'a Frame> {
        let rule = Self { native: self.native || !stack.leaf_first().any(is_managed), ..*self };
        stack.leaf_first().filter(move |frame| rule.shows(frame))
    }

    fn shows(&self, frame: &Frame) -> bool {
        match frame.kind {
            FrameKind::Python | FrameKind::Jvm => true,
            FrameKind::Kernel => self.kernel,
            FrameKind::Native if frame.module.as_deref().is_some_and(is_c_library) => self.libc,
            FrameKind::Native | FrameKind::Jit => self.native,
            FrameKind::Interpreter | FrameKind::Marker => false,
        }
    }
}

/// Whether a frame is of the package `asyncio`.
fn is_asyncio(frame: &Frame) -> bool {
    let parts = frame.file.as_deref().map(|file| file.rsplit('/'));
    parts.and_then(|mut parts| parts.nth(1)) == Some("asyncio")
}

fn is_managed(frame: &Frame) -> bool {
    matches!(frame.kind, FrameKind::Python | FrameKind::Jvm)
}

fn fallback(stack: &Stack) -> Option<&Frame> {
    let innermost = |wanted: fn(&Frame) -> bool| stack.leaf_first().find(|frame| wanted(frame));
    innermost(|frame| frame.kind == FrameKind::Interpreter)
        .or_else(|| innermost(|frame| matches!(frame.kind, FrameKind::Native | FrameKind::Jit)))
        .or_else(|| innermost(|frame| frame.kind == FrameKind::Marker))
        .or_else(|| innermost(|frame| frame.kind == FrameKind::Kernel && !is_scheduler(frame)))
        .or_else(|| innermost(|_| true))
}

/// Whether a kernel frame only says that the thread was switched out.
fn is_scheduler(frame: &Frame) -> bool {
    const PREFIXES: [&str; 6] =
        ["__schedule", "schedule", "preempt_schedule", "io_schedule", "finish_task_switch", "__cond_resched"];
    let name = frame.function();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn frame(text: &str) -> Arc<Frame> {
        let (kind, name) = text.split_once(':').unwrap();
        let (kind, module) = match kind {
            "library" => (FrameKind::Native, Some("lib.so")),
            "kernel" => (FrameKind::Kernel, Some("[kernel]")),
            "libc" => (FrameKind::Native, Some("libc.so.6")),
            "native" => (FrameKind::Native, Some("app")),
            "interp" => (FrameKind::Interpreter, Some("libpython3.12.so.1.0")),
            "python" => (FrameKind::Python, None),
            "jvm" => (FrameKind::Jvm, None),
            "jit" => (FrameKind::Jit, None),
            "marker" => (FrameKind::Marker, None),
            other => panic!("{other}"),
        };
        let name = if name == "?" { Name::Unknown(Reason::Stripped) } else { Name::Known(name.into()) };
        Arc::new(Frame { kind, module: module.map(Into::into), name, ..Frame::clone(&Frame::marker("")) })
    }

    fn stack(frames: &str) -> Stack {
        Stack::new(frames.split_whitespace().map(frame).collect::<Vec<_>>())
    }

    const USER: AttributionRule = AttributionRule { native: false, kernel: false, libc: false };

    #[test]
    fn each_stack_is_charged_as_the_table_says() {
        let numpy = "libc:memcpy native:dot interp:eval python:inner interp:eval python:outer native:main libc:start";
        for (rule, frames, charged) in [
            (USER, "kernel:schedule kernel:vfs_read libc:read native:load native:main libc:start", "load"),
            (USER, "libc:write native:? native:? native:reply native:main", "reply"),
            (USER, "libc:wait library:? libc:start", "lib.so+0x0"),
            (USER, "libc:wait library:? native:main", "lib.so+0x0"),
            (USER, numpy, "inner"),
            (USER, "kernel:futex libc:wait interp:take_gil interp:eval python:f", "f"),
            (USER, "jit:stub jvm:Main.run native:JavaMain", "Main.run"),
            (USER, "jit:0x7f native:main", "0x7f"),
            (USER, "libc:read interp:eval native:main", "main"),
            (USER, "libc:read interp:eval", "eval"),
            (USER, "kernel:do_sys libc:read libc:start", "read"),
            (USER, "kernel:__schedule kernel:schedule kernel:worker_thread kernel:kthread", "worker_thread"),
            (USER, "kernel:schedule", "schedule"),
            (USER, "kernel:x marker:[lost]", "[lost]"),
            (AttributionRule { native: true, ..USER }, numpy, "dot"),
            (AttributionRule { libc: true, ..USER }, numpy, "memcpy"),
            (AttributionRule { kernel: true, ..USER }, "kernel:vfs_read libc:read native:load", "vfs_read"),
            (AttributionRule { libc: true, ..USER }, "kernel:vfs_read libc:read native:load", "read"),
            (AttributionRule { kernel: true, ..USER }, "libc:read native:load", "load"),
        ] {
            assert_eq!(&*rule.charge(&stack(frames)).unwrap().function(), charged, "{rule:?} {frames}");
        }
    }

    #[test]
    fn where_a_task_awaits_something_the_line_that_led_into_asyncio_is_charged() {
        let within = |name: &str, file: &str| Arc::new(Frame { file: Some(file.into()), ..Frame::clone(&frame(name)) });
        let library = "/usr/lib/python3.14/asyncio/streams.py";
        let frames =
            [within("python:read", library), within("python:fetch", "/srv/asyncio_app.py"), frame("python:main")];
        let charged = |frames: &[Arc<Frame>]| {
            USER.charge_await(&Stack::new(frames.to_vec())).map(|frame| frame.function().to_string())
        };
        assert_eq!([charged(&frames), charged(&frames[..1])], [Ok("fetch".to_owned()), Ok("read".to_owned())]);
    }

    #[test]
    fn a_stack_without_frames_is_charged_to_the_reason() {
        assert_eq!(USER.charge(&Stack::default()), Err(Reason::NoUserStack));
    }
}
