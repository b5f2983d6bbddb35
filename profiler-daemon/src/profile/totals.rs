//! The exact books of one task: where every nanosecond of its wall time went.

use profiler_common::wait_class;

use super::{State, WaitClass};

/// Exact nanoseconds of one task, from the kernel's timestamps and the scheduler's own books.
///
/// `wall_ns()` is the time the task existed and was selected within the range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskTotals {
    /// Index into [`super::Profile::tasks`].
    pub task: u32,
    /// On a CPU.
    pub cpu_ns: u64,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Held back by a CPU quota.
    pub throttled_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// Blocked, by the number of the wait class.
    pub wait_ns: [u64; wait_class::COUNT],
    /// How many waits ended, by the number of the wait class.
    pub waits: [u64; wait_class::COUNT],
    /// The part of `wait_ns` that is idle.
    pub idle_ns: u64,
    /// Weight of waits that were chosen for a stack but refused by the cap.
    pub unattributed_ns: u64,
    /// The part of `wait_ns` whose waits began before the attach.
    pub began_before_attach_ns: u64,
    /// The longest T by which a wait was chosen for a stack; zero if none was.
    pub wait_period_ns: u64,
}

impl TaskTotals {
    /// The sum of all states.
    pub fn wall_ns(&self) -> u64 {
        self.cpu_ns + self.runq_ns + self.throttled_ns + self.steal_ns + self.blocked_ns()
    }

    /// The sum of all waits.
    pub fn blocked_ns(&self) -> u64 {
        self.wait_ns.iter().sum()
    }

    /// The nanoseconds of one wait class.
    pub fn wait(&self, class: WaitClass) -> u64 {
        self.wait_ns[class as usize]
    }

    /// The exact nanoseconds of a state; all kinds of code share the on-CPU time.
    pub fn state_ns(&self, state: State) -> u64 {
        match state {
            State::OnCpu(_) => self.cpu_ns,
            State::RunQueue => self.runq_ns,
            State::Throttled => self.throttled_ns,
            State::Steal => self.steal_ns,
            State::Wait(class) => self.wait(class),
        }
    }

    /// Adds the nanoseconds and counts of `other`, whatever its task.
    pub fn add(&mut self, other: &Self) {
        self.cpu_ns += other.cpu_ns;
        self.runq_ns += other.runq_ns;
        self.throttled_ns += other.throttled_ns;
        self.steal_ns += other.steal_ns;
        self.idle_ns += other.idle_ns;
        self.unattributed_ns += other.unattributed_ns;
        self.began_before_attach_ns += other.began_before_attach_ns;
        self.wait_period_ns = self.wait_period_ns.max(other.wait_period_ns);
        for class in 0..wait_class::COUNT {
            self.wait_ns[class] += other.wait_ns[class];
            self.waits[class] += other.waits[class];
        }
    }
}
