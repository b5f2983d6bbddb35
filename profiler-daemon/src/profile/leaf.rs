//! What exactly a CPU was running, told by the stack: the finer side of [`CodeKind`](super::CodeKind).
//!
//! | the stack, leaf first | class |
//! |---|---|
//! | kernel, … | kernel |
//! | Python | bytecode |
//! | the interpreter's loop, Python | bytecode |
//! | code of a module, …, Python that is collecting garbage; anything, the collector, …, Python | garbage collection |
//! | anything, a library, the interpreter, Python | native, in the outermost such library: the one the line called |
//! | the interpreter and the C library only, Python at a call | builtin |
//! | the same, Python not at a call | runtime |
//! | Java | Java |
//! | C library, interpreter, … without Python | runtime: what it runs for is not known |
//! | C library, a library or program, … without Python | native, in that library or program |
//! | C library only, or nothing | native, in the C library, or in `[unknown]` |
//!
//! The C library includes the library of mathematical functions and the loader. Generated code above a Python function
//! is the interpreter's own: libraries that generate code are on the stack themselves.

use std::sync::Arc;

use super::c_library::{is_c_library, is_math_library};
use super::{Activity, Frame, FrameKind, Name};

/// The module of code whose module is not known.
pub const UNKNOWN_MODULE: &str = "[unknown]";
/// The module of code generated at run time.
pub const JIT_MODULE: &str = "[jit]";

/// The interpreter's loop, by the beginnings of its functions' names.
const LOOP_PREFIXES: [&str; 2] = ["_PyEval_EvalFrame", "_TAIL_CALL_"];
/// The functions of the interpreter that collect garbage.
const COLLECTOR: [&str; 9] = [
    "collect",
    "collect_with_callback",
    "gc_collect_generations",
    "gc_collect_internal",
    "gc_collect_main",
    "gc_collect_region",
    "gc_collect_with_callback",
    "PyGC_Collect",
    "_PyGC_Collect",
];

/// What a CPU was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leaf<'a> {
    /// The kernel.
    Kernel,
    /// Java code.
    Jvm,
    /// The instructions of a Python function.
    Bytecode,
    /// The interpreter's own functions, on behalf of instructions that call nothing: attributes, numbers, allocation.
    Runtime,
    /// A function of the interpreter's own module that a Python line called.
    Builtin,
    /// The interpreter's collection of garbage.
    Gc,
    /// Native code of the named module; where a Python line called it, the module that it called.
    Native(&'a str),
}

impl<'a> Leaf<'a> {
    /// The class of a stack, by its frames, leaf first.
    pub fn of(frames: &'a [Arc<Frame>]) -> Self {
        let Some(first) = frames.first() else { return Self::Native(UNKNOWN_MODULE) };
        match frames.iter().position(|frame| matches!(frame.kind, FrameKind::Python | FrameKind::Jvm)) {
            _ if first.kind == FrameKind::Kernel => Self::Kernel,
            Some(at) if frames[at].kind == FrameKind::Python => Self::above_python(frames, at),
            Some(0) => Self::Jvm,
            _ => Self::without_python(frames),
        }
    }

    fn above_python(frames: &'a [Arc<Frame>], at: usize) -> Self {
        let (above, python) = (without_loop(&frames[..at]), &frames[at]);
        let has_code = above.iter().any(|frame| is_module_code(frame));
        // Without code above it, or with the collector below it, the function is a finalizer.
        let is_finalizer = || !has_code || frames[at..].iter().any(|frame| is_collector(frame));
        if above.iter().any(|frame| is_collector(frame)) || python.activity == Activity::Collecting && !is_finalizer() {
            return Self::Gc;
        }
        match above.iter().rev().find(|frame| is_foreign(frame)) {
            Some(called) => Self::Native(module_of(called)),
            None if !has_code => Self::Bytecode,
            None if python.activity == Activity::Calling => Self::Builtin,
            None => Self::Runtime,
        }
    }

    fn without_python(frames: &'a [Arc<Frame>]) -> Self {
        let code = || frames.iter().filter(|frame| frame.kind != FrameKind::Marker);
        match code().find(|frame| !is_c_code(frame)).or_else(|| code().next()) {
            Some(frame) if frame.kind == FrameKind::Interpreter && is_collector(frame) => Self::Gc,
            Some(frame) if frame.kind == FrameKind::Interpreter => Self::Runtime,
            Some(frame) => Self::Native(module_of(frame)),
            None => Self::Native(UNKNOWN_MODULE),
        }
    }
}

/// Without the activation of the interpreter's loop that runs the Python function.
fn without_loop(above: &[Arc<Frame>]) -> &[Arc<Frame>] {
    match above.split_last() {
        Some((last, rest)) if is_loop(last) => rest,
        _ => above,
    }
}

fn is_loop(frame: &Frame) -> bool {
    let is_known = |name: &str| LOOP_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    frame.kind == FrameKind::Interpreter && matches!(&frame.name, Name::Known(name) if is_known(name))
}

fn is_collector(frame: &Frame) -> bool {
    let is_known = |name: &str| COLLECTOR.contains(&name);
    frame.kind == FrameKind::Interpreter && matches!(&frame.name, Name::Known(name) if is_known(name))
}

/// Whether the frame is of a module, whichever.
fn is_module_code(frame: &Frame) -> bool {
    matches!(frame.kind, FrameKind::Native | FrameKind::Interpreter)
}

/// Whether the frame is of a module that neither is the interpreter nor serves everybody.
fn is_foreign(frame: &Frame) -> bool {
    frame.kind == FrameKind::Native && !is_c_code(frame)
}

fn is_c_code(frame: &Frame) -> bool {
    let of_c = |module: &str| is_c_library(module) || is_math_library(module);
    frame.kind == FrameKind::Native && frame.module.as_deref().is_some_and(of_c)
}

fn module_of(frame: &Frame) -> &str {
    match (&frame.module, frame.kind) {
        (Some(module), _) => module,
        (None, FrameKind::Jit) => JIT_MODULE,
        (None, _) => UNKNOWN_MODULE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame written as `kind:name`; the module follows from the kind.
    fn frame(text: &str) -> Arc<Frame> {
        let (kind, name) = text.split_once(':').unwrap();
        let (kind, module, activity) = match kind {
            "kernel" => (FrameKind::Kernel, Some("[kernel]"), Activity::Running),
            "libc" => (FrameKind::Native, Some("libc.so.6"), Activity::Running),
            "libm" => (FrameKind::Native, Some("libm.so.6"), Activity::Running),
            "lib" => (FrameKind::Native, Some(name), Activity::Running),
            "lost" => (FrameKind::Native, None, Activity::Running),
            "interp" => (FrameKind::Interpreter, Some("libpython3.13.so.1.0"), Activity::Running),
            "jit" => (FrameKind::Jit, None, Activity::Running),
            "jvm" => (FrameKind::Jvm, None, Activity::Running),
            "marker" => (FrameKind::Marker, None, Activity::Running),
            "python" => (FrameKind::Python, None, Activity::Running),
            "calling" => (FrameKind::Python, None, Activity::Calling),
            "collecting" => (FrameKind::Python, None, Activity::Collecting),
            other => panic!("{other}"),
        };
        Arc::new(Frame { kind, module: module.map(Into::into), activity, ..Frame::marker(name) })
    }

    #[test]
    fn each_stack_is_of_the_class_the_table_names() {
        for (text, leaf) in [
            ("kernel:read libc:read interp:read python:f", Leaf::Kernel),
            ("python:f interp:eval libc:start", Leaf::Bytecode),
            ("calling:f", Leaf::Bytecode),
            ("interp:_PyEval_EvalFrameDefault python:f", Leaf::Bytecode),
            ("jit:0x7f python:f", Leaf::Bytecode),
            ("marker:[x] python:f", Leaf::Bytecode),
            ("interp:PyNumber_Multiply python:f", Leaf::Runtime),
            ("libc:malloc interp:alloc python:f calling:g", Leaf::Runtime),
            ("libc:tls_get_addr python:f", Leaf::Runtime),
            ("interp:sum calling:f", Leaf::Builtin),
            ("libm:sin interp:math_sin calling:f", Leaf::Builtin),
            ("interp:_PyEval_EvalFrameDefault interp:sum calling:f", Leaf::Builtin),
            ("lib:libz.so.1 calling:f", Leaf::Native("libz.so.1")),
            ("libc:memcpy lib:libblas.so.3 lib:numpy.so interp:call calling:f", Leaf::Native("numpy.so")),
            ("interp:PyDict_Get lib:ext.so calling:f", Leaf::Native("ext.so")),
            ("lib:libcrypto.so.3 lib:_hashlib.so interp:call python:f", Leaf::Native("_hashlib.so")),
            ("jit:0x7f lib:_dispatcher.so calling:f", Leaf::Native("_dispatcher.so")),
            ("lost:0x7f python:f", Leaf::Native(UNKNOWN_MODULE)),
            ("interp:visit interp:gc_collect_main python:f", Leaf::Gc),
            ("interp:visit collecting:f", Leaf::Gc),
            ("interp:_PyEval_EvalFrameDefault collecting:finalizer", Leaf::Bytecode),
            ("lib:libz.so.1 collecting:finalizer interp:gc_collect_main python:f", Leaf::Native("libz.so.1")),
            ("python:finalizer interp:gc_collect_main python:f", Leaf::Bytecode),
            ("jvm:Main.run lib:libjvm.so", Leaf::Jvm),
            ("lib:libnet.so jvm:Main.run", Leaf::Native("libnet.so")),
            ("libc:malloc interp:eval lib:app", Leaf::Runtime),
            ("interp:gc_collect_main interp:eval", Leaf::Gc),
            ("libc:memcpy lib:app libc:start", Leaf::Native("app")),
            ("libc:memcpy libc:start", Leaf::Native("libc.so.6")),
            ("jit:0x7f lib:app", Leaf::Native(JIT_MODULE)),
            ("marker:[x]", Leaf::Native(UNKNOWN_MODULE)),
            ("", Leaf::Native(UNKNOWN_MODULE)),
        ] {
            let frames: Vec<_> = text.split_whitespace().map(frame).collect();
            assert_eq!(Leaf::of(&frames), leaf, "{text}");
        }
    }
}
