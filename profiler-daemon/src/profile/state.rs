//! What a thread was doing: the closed list of states every report, metric and format speaks of.

use profiler_common::wait_class;

/// The state of a thread during some nanoseconds. On-CPU time and waits share one unit: thread-nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// On a CPU, running the given kind of code.
    OnCpu(CodeKind),
    /// Runnable, waiting for a CPU.
    RunQueue,
    /// Runnable, held back by its cgroup's CPU quota.
    Throttled,
    /// On a CPU in the guest's eyes while the hypervisor ran something else.
    Steal,
    /// Blocked, for the given reason.
    Wait(WaitClass),
}

impl State {
    /// The name used in labels and formats: `cpu`, `runq`, `throttled`, `steal` or the wait class.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnCpu(_) => "cpu",
            Self::RunQueue => "runq",
            Self::Throttled => "throttled",
            Self::Steal => "steal",
            Self::Wait(class) => class.name(),
        }
    }
}

/// Which kind of code a CPU was running, told by the leaf of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeKind {
    /// The Python interpreter, on behalf of Python code.
    Python,
    /// Java code, interpreted or compiled.
    Jvm,
    /// Any other code in user mode.
    Native,
    /// The kernel.
    Kernel,
}

impl CodeKind {
    /// All kinds, in the order reports list them.
    pub const ALL: [Self; 4] = [Self::Python, Self::Jvm, Self::Native, Self::Kernel];

    /// The key used in JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Jvm => "jvm",
            Self::Native => "native",
            Self::Kernel => "kernel",
        }
    }
}

/// Why a thread was blocked. The numbers are those the kernel half writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum WaitClass {
    /// A disk or a file system.
    Disk = wait_class::DISK,
    /// A page of memory being read in.
    Fault = wait_class::FAULT,
    /// The kernel's own locks, memory reclaim and drivers.
    Kernel = wait_class::KERNEL,
    /// A network socket.
    Net = wait_class::NET,
    /// Another process or thread, through a pipe, a local socket, an eventfd or a message queue.
    Ipc = wait_class::IPC,
    /// A lock held by another thread.
    Lock = wait_class::LOCK,
    /// A condition, semaphore, join or park.
    Sync = wait_class::SYNC,
    /// One of several descriptors of an event loop.
    Poll = wait_class::POLL,
    /// Time to pass.
    Sleep = wait_class::SLEEP,
    /// A child process.
    Child = wait_class::CHILD,
    /// Stopped, traced, frozen, or a system call not classified.
    Other = wait_class::OTHER,
}

impl WaitClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; wait_class::COUNT] = [
        Self::Disk,
        Self::Fault,
        Self::Kernel,
        Self::Net,
        Self::Ipc,
        Self::Lock,
        Self::Sync,
        Self::Poll,
        Self::Sleep,
        Self::Child,
        Self::Other,
    ];

    /// The key used in JSON, labels and documents.
    pub fn name(self) -> &'static str {
        wait_class::NAMES[self as usize]
    }

    /// The class of a number written by the kernel half; `Other` for a number it does not know.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_stands_at_its_own_number() {
        for (number, class) in WaitClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, number);
            assert_eq!(WaitClass::from_number(number as u8), *class);
        }
    }
}
