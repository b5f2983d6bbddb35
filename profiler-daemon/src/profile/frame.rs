//! One frame of a stack: a function, or the reason why its name is not known.

use std::fmt;
use std::sync::Arc;

use super::SourceLine;

/// One frame. Inlined functions are frames of their own, marked `inlined`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What kind of code the frame is.
    pub kind: FrameKind,
    /// The function's demangled name, or why there is none.
    pub name: Name,
    /// The source file, where debug information or the runtime tells it.
    pub file: Option<Arc<str>>,
    /// The line in `file` that was executing.
    pub line: Option<u32>,
    /// The file name of the executable, library or kernel module; absent for JIT code.
    pub module: Option<Arc<str>>,
    /// The address within the module (its ELF virtual address), or in the process where there is no module.
    pub address: u64,
    /// Whether the compiler inlined the function into the next frame.
    pub inlined: bool,
    /// What a Python function did when it was the innermost on its stack; `Running` for all others.
    pub activity: Activity,
    /// The text of `line`, where it could be read in the root of the process.
    pub source: Option<Arc<SourceLine>>,
}

/// What the innermost Python function of a stack was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Activity {
    /// Executing an instruction that calls nothing, or it is not known.
    #[default]
    Running,
    /// Executing an instruction that calls.
    Calling,
    /// Interrupted by the collection of garbage.
    Collecting,
}

/// The kind of code a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// The kernel or one of its modules.
    Kernel,
    /// Machine code of an executable or library.
    Native,
    /// The code of a language runtime itself, such as the interpreter's loop: it runs on behalf of the managed frame below it.
    Interpreter,
    /// A Python function.
    Python,
    /// A Java method.
    Jvm,
    /// Other code generated at run time.
    Jit,
    /// Not code: a note such as `[unsampled disk]`.
    Marker,
}

/// A function's name, or the reason for its absence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// The demangled name.
    Known(Arc<str>),
    /// No name, because of the reason.
    Unknown(Reason),
}

/// Why a frame has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The module has no symbol covering the address.
    NoSymbol = 1,
    /// The module's symbols were removed.
    Stripped = 2,
    /// The module's file is gone or could not be read.
    FileUnavailable = 3,
    /// The address lies in no executable mapping.
    Unmapped = 4,
    /// The process ended before its mappings were read.
    ProcessGone = 5,
    /// Anonymous code without a perf map.
    NoPerfMap = 6,
    /// The user stack could not be read.
    NoUserStack = 7,
    /// Another code object lies where the frame's was.
    CodeChanged = 8,
    /// The frame's code object could not be read.
    CodeUnreadable = 9,
    /// The frame's code object was not read in time, or is not kept any more.
    CodeLimit = 10,
}

impl Reason {
    /// The word shown in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSymbol => "no symbol",
            Self::Stripped => "stripped",
            Self::FileUnavailable => "file unavailable",
            Self::Unmapped => "unmapped",
            Self::ProcessGone => "process gone",
            Self::NoPerfMap => "no perf map",
            Self::NoUserStack => "no user stack",
            Self::CodeChanged => "code changed",
            Self::CodeUnreadable => "code unreadable",
            Self::CodeLimit => "code limit",
        }
    }
}

impl Frame {
    /// A frame that is not code, such as `[unsampled disk]`.
    pub fn marker(text: impl Into<Arc<str>>) -> Self {
        Self {
            kind: FrameKind::Marker,
            name: Name::Known(text.into()),
            file: None,
            line: None,
            module: None,
            address: 0,
            inlined: false,
            activity: Activity::Running,
            source: None,
        }
    }

    /// A frame whose name is not known.
    pub fn unknown(kind: FrameKind, reason: Reason, module: Option<Arc<str>>, address: u64) -> Self {
        let (name, activity) = (Name::Unknown(reason), Activity::Running);
        Self { kind, name, file: None, line: None, module, address, inlined: false, activity, source: None }
    }

    /// What to show as the function: its name, or `module+0xaddress` where there is none.
    pub fn function(&self) -> Arc<str> {
        match &self.name {
            Name::Known(name) => name.clone(),
            Name::Unknown(_) => self.location().into(),
        }
    }

    fn location(&self) -> String {
        match &self.module {
            Some(module) => format!("{module}+{:#x}", self.address),
            None => format!("{:#x}", self.address),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function())
    }
}
