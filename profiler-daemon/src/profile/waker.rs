//! Who ended a wait: a thread, or what is nobody's doing.

use std::sync::Arc;

use super::{State, WaitClass};

/// Who ended a wait, in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Waker {
    /// A thread, by the tid and the pid it had then.
    Thread {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// Whether it was at the other end of the connection waited on: then the packets it sent did, in a soft interrupt.
        over_network: bool,
    },
    /// Too many threads to tell apart in one window.
    SomeThread,
    /// A timer.
    Timer,
    /// An interrupt of a device or another CPU.
    Interrupt,
    /// A soft interrupt; the thread it interrupted has nothing to do with it, or that is not known.
    SoftInterrupt,
    /// An interrupt that cannot be masked.
    Nmi,
    /// A CPU that had nothing to do.
    Idle,
}

impl Waker {
    /// The context in which the sleeper was woken, as in answers.
    pub fn context(self) -> &'static str {
        match self {
            Self::Thread { over_network: false, .. } | Self::SomeThread => "thread",
            Self::Thread { over_network: true, .. } | Self::SoftInterrupt => "softirq",
            Self::Timer => "timer",
            Self::Interrupt => "irq",
            Self::Nmi => "nmi",
            Self::Idle => "idle",
        }
    }
}

/// A waker with its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedWaker {
    /// Who.
    pub waker: Waker,
    /// The process's name, if it could be asked while it lived. Untrusted text.
    pub process_name: Option<Arc<str>>,
    /// The thread's name, likewise. Untrusted text.
    pub thread_name: Option<Arc<str>>,
}

impl NamedWaker {
    /// A waker whose names are not known, or that has none.
    pub fn nameless(waker: Waker) -> Self {
        Self { waker, process_name: None, thread_name: None }
    }

    /// Who ended waits in this state, in a few words: `java[4711] tid 4730`, `[timer]`.
    pub fn label(&self, state: State) -> String {
        match self.waker {
            Waker::Thread { pid, tid, .. } => self.thread_label(pid, tid),
            Waker::SomeThread => "[other threads]".to_owned(),
            Waker::Timer => "[timer]".to_owned(),
            Waker::Interrupt => match state {
                State::Wait(WaitClass::Disk | WaitClass::Fault) => "[device irq]".to_owned(),
                _ => "[irq]".to_owned(),
            },
            Waker::SoftInterrupt => match state {
                State::Wait(WaitClass::Net) => "[net softirq]".to_owned(),
                _ => "[softirq]".to_owned(),
            },
            Waker::Nmi => "[nmi]".to_owned(),
            Waker::Idle => "[idle CPU]".to_owned(),
        }
    }

    fn thread_label(&self, pid: u32, tid: u32) -> String {
        let process = match &self.process_name {
            Some(name) => format!("{name}[{pid}]"),
            None => format!("pid {pid}"),
        };
        if tid == pid { process } else { format!("{process} tid {tid}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_named_by_its_process_and_what_is_nobodys_doing_by_its_context() {
        let thread = |tid| Waker::Thread { pid: 7, tid, over_network: false };
        let java = |tid| NamedWaker { process_name: Some("java".into()), ..NamedWaker::nameless(thread(tid)) };
        let (net, disk) = (State::Wait(WaitClass::Net), State::Wait(WaitClass::Disk));
        for (waker, state, label) in [
            (java(8), net, "java[7] tid 8"),
            (java(7), net, "java[7]"),
            (NamedWaker::nameless(thread(8)), net, "pid 7 tid 8"),
            (NamedWaker::nameless(Waker::Timer), net, "[timer]"),
            (NamedWaker::nameless(Waker::SoftInterrupt), net, "[net softirq]"),
            (NamedWaker::nameless(Waker::SoftInterrupt), disk, "[softirq]"),
            (NamedWaker::nameless(Waker::Interrupt), disk, "[device irq]"),
        ] {
            assert_eq!(waker.label(state), label);
        }
    }
}
