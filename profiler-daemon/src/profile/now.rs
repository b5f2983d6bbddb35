//! What the threads of a process do at one moment.

use std::path::PathBuf;

use super::{Stack, WaitClass};

/// The stack of a thread, or why there is none.
pub type Place = Result<Stack, String>;

/// The threads of a process; `S` is the stack of each, or the reason there is none: a [`Place`], once it has names.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessNow<S> {
    /// The process.
    pub pid: u32,
    /// The name of the thread-group leader. Untrusted text.
    pub comm: String,
    /// The path of the executable in the process's own root, if readable. Untrusted.
    pub executable: Option<PathBuf>,
    /// Whether the kernel half watches it: then it is known since when threads wait.
    pub selected: bool,
    /// What is missing of all stacks, and why.
    pub notes: Vec<String>,
    /// The threads, by tid.
    pub threads: Vec<ThreadNow<S>>,
}

/// One thread.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadNow<S> {
    /// Its tid.
    pub tid: u32,
    /// Its name. Untrusted text.
    pub name: String,
    /// What it does.
    pub doing: Doing,
    /// The time it was on a CPU so far.
    pub cpu_ns: Option<u64>,
    /// Where.
    pub stack: S,
}

/// What a thread does.
#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    /// It is on a CPU, or waits for one.
    Running,
    /// It is blocked.
    Waiting(WaitNow),
    /// It has ended, and its process not.
    Ended,
}

/// A wait.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WaitNow {
    /// Why; nothing if that is not known.
    pub class: Option<WaitClass>,
    /// The system call.
    pub call: Option<String>,
    /// What it waits for. Untrusted text.
    pub subject: Option<String>,
    /// For how long it has waited.
    pub lasted: Option<Lasted>,
}

/// How long a wait has lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasted {
    /// So long, in nanoseconds.
    pub ns: u64,
    /// Or longer: it had begun before its thread was watched.
    pub or_longer: bool,
}

impl<S> ProcessNow<S> {
    /// The same with other stacks.
    pub fn map_stacks<T>(self, mut map: impl FnMut(S) -> T) -> ProcessNow<T> {
        let Self { pid, comm, executable, selected, notes, threads } = self;
        let mut map_one = |thread: ThreadNow<S>| {
            let ThreadNow { tid, name, doing, cpu_ns, stack } = thread;
            ThreadNow { tid, name, doing, cpu_ns, stack: map(stack) }
        };
        let threads = threads.into_iter().map(&mut map_one).collect();
        ProcessNow { pid, comm, executable, selected, notes, threads }
    }
}
