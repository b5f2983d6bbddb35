//! Sums of thread-nanoseconds by state, in the shape the JSON contract gives them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::profile::{CodeKind, State, TaskTotals, WaitClass};

/// Nanoseconds of waiting, by reason. Every key is always present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct WaitNs {
    /// A disk or a file system.
    pub disk: u64,
    /// A page of memory being read in.
    pub fault: u64,
    /// The kernel's own locks, memory reclaim and drivers.
    pub kernel: u64,
    /// A network socket.
    pub net: u64,
    /// Another process or thread, through a pipe, a local socket, an eventfd or a message queue.
    pub ipc: u64,
    /// A lock held by another thread.
    pub lock: u64,
    /// A condition, semaphore, join or park.
    pub sync: u64,
    /// One of several descriptors of an event loop.
    pub poll: u64,
    /// Time to pass.
    pub sleep: u64,
    /// A child process.
    pub child: u64,
    /// Stopped, traced, frozen, or a system call that is not classified.
    pub other: u64,
}

impl WaitNs {
    /// The nanoseconds of one class.
    pub fn of(&self, class: WaitClass) -> u64 {
        match class {
            WaitClass::Disk => self.disk,
            WaitClass::Fault => self.fault,
            WaitClass::Kernel => self.kernel,
            WaitClass::Net => self.net,
            WaitClass::Ipc => self.ipc,
            WaitClass::Lock => self.lock,
            WaitClass::Sync => self.sync,
            WaitClass::Poll => self.poll,
            WaitClass::Sleep => self.sleep,
            WaitClass::Child => self.child,
            WaitClass::Other => self.other,
        }
    }

    /// Adds nanoseconds to one class.
    pub fn add(&mut self, class: WaitClass, ns: u64) {
        *match class {
            WaitClass::Disk => &mut self.disk,
            WaitClass::Fault => &mut self.fault,
            WaitClass::Kernel => &mut self.kernel,
            WaitClass::Net => &mut self.net,
            WaitClass::Ipc => &mut self.ipc,
            WaitClass::Lock => &mut self.lock,
            WaitClass::Sync => &mut self.sync,
            WaitClass::Poll => &mut self.poll,
            WaitClass::Sleep => &mut self.sleep,
            WaitClass::Child => &mut self.child,
            WaitClass::Other => &mut self.other,
        } += ns;
    }

    /// The sum over all classes.
    pub fn sum(&self) -> u64 {
        WaitClass::ALL.iter().map(|class| self.of(*class)).sum()
    }

    /// The classes with time, longest first; equal ones in their fixed order.
    pub fn longest_first(&self) -> Vec<(WaitClass, u64)> {
        let mut classes: Vec<_> = WaitClass::ALL.iter().map(|class| (*class, self.of(*class))).collect();
        classes.retain(|(_, ns)| *ns > 0);
        classes.sort_by_key(|(class, ns)| (std::cmp::Reverse(*ns), *class));
        classes
    }
}

/// Nanoseconds on a CPU, by the kind of code that ran. Every key is always present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct CpuNs {
    /// The Python interpreter, on behalf of Python code.
    pub python: u64,
    /// Java code, interpreted or compiled.
    pub jvm: u64,
    /// Any other code in user mode.
    pub native: u64,
    /// The kernel.
    pub kernel: u64,
}

impl CpuNs {
    /// The nanoseconds of one kind.
    pub fn of(&self, kind: CodeKind) -> u64 {
        match kind {
            CodeKind::Python => self.python,
            CodeKind::Jvm => self.jvm,
            CodeKind::Native => self.native,
            CodeKind::Kernel => self.kernel,
        }
    }

    /// Adds nanoseconds to one kind.
    pub fn add(&mut self, kind: CodeKind, ns: u64) {
        *match kind {
            CodeKind::Python => &mut self.python,
            CodeKind::Jvm => &mut self.jvm,
            CodeKind::Native => &mut self.native,
            CodeKind::Kernel => &mut self.kernel,
        } += ns;
    }

    /// The sum over all kinds.
    pub fn sum(&self) -> u64 {
        self.python + self.jvm + self.native + self.kernel
    }
}

/// Thread-nanoseconds by state. Their sum is the wall time of the threads they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// On a CPU, by kind of code.
    pub cpu: CpuNs,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Held back by a CPU quota.
    pub throttled_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// Blocked, by reason.
    pub wait: WaitNs,
}

impl Amounts {
    /// Adds nanoseconds to a state.
    pub fn add(&mut self, state: State, ns: u64) {
        match state {
            State::OnCpu(kind) => self.cpu.add(kind, ns),
            State::RunQueue => self.runq_ns += ns,
            State::Throttled => self.throttled_ns += ns,
            State::Steal => self.steal_ns += ns,
            State::Wait(class) => self.wait.add(class, ns),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        CodeKind::ALL.iter().for_each(|kind| self.cpu.add(*kind, other.cpu.of(*kind)));
        self.runq_ns += other.runq_ns;
        self.throttled_ns += other.throttled_ns;
        self.steal_ns += other.steal_ns;
        WaitClass::ALL.iter().for_each(|class| self.wait.add(*class, other.wait.of(*class)));
    }

    /// The sum over all states.
    pub fn sum(&self) -> u64 {
        self.cpu.sum() + self.starved_ns() + self.wait.sum()
    }

    /// Wanting a CPU without having one: in the run queue, throttled, or with the CPU taken by the hypervisor.
    pub fn starved_ns(&self) -> u64 {
        self.runq_ns + self.throttled_ns + self.steal_ns
    }
}

/// The exact waits of a task in the shape of the contract.
impl From<&TaskTotals> for WaitNs {
    fn from(totals: &TaskTotals) -> Self {
        let mut wait = Self::default();
        WaitClass::ALL.iter().for_each(|class| wait.add(*class, totals.wait(*class)));
        wait
    }
}

/// Splits `total` in proportion to `weights`; the parts are integers and sum up to `total` exactly.
///
/// Each part is the difference of two rounded running sums, so it is off by less than one. Without weight there is
/// nothing to split by, and all parts are zero. Weights must sum up to less than 2^64, which is 584 years.
pub fn apportion(weights: &[u64], total: u64) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let (mut running, mut given) = (0_u128, 0_u64);
    let part = |weight: &u64| {
        running += u128::from(*weight);
        let upto = u64::try_from((running * u128::from(total) + sum / 2) / sum).unwrap_or(total);
        let part = upto - given;
        given = upto;
        part
    };
    weights.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_and_kind_has_a_place_of_its_own() {
        let mut amounts = Amounts::default();
        for (at, class) in WaitClass::ALL.iter().enumerate() {
            amounts.add(State::Wait(*class), 1 << at);
        }
        for (at, kind) in CodeKind::ALL.iter().enumerate() {
            amounts.add(State::OnCpu(*kind), 1 << at);
        }
        assert_eq!(amounts.wait.sum(), (1 << WaitClass::ALL.len()) - 1);
        assert_eq!(amounts.cpu.sum(), 15);
        assert_eq!(amounts.wait.longest_first()[0].0, WaitClass::Other);
    }

    #[test]
    fn json_keys_are_the_names_of_the_states() {
        let wait = serde_json::to_value(WaitNs::default()).unwrap();
        let cpu = serde_json::to_value(CpuNs::default()).unwrap();
        assert!(WaitClass::ALL.iter().all(|class| wait.get(class.name()).is_some()));
        assert!(CodeKind::ALL.iter().all(|kind| cpu.get(kind.name()).is_some()));
    }

    #[test]
    fn parts_are_proportional_and_sum_up_exactly() {
        for (weights, total, parts) in [
            (vec![1, 1, 1], 10, vec![3, 4, 3]),
            (vec![5, 0, 5], 7, vec![4, 0, 3]),
            (vec![1 << 62, 1 << 62], (1 << 62) + 1, vec![(1 << 61) + 1, 1 << 61]),
            (vec![0, 0], 9, vec![0, 0]),
            (vec![], 9, vec![]),
        ] {
            assert_eq!(apportion(&weights, total), parts, "{weights:?}");
        }
    }
}
