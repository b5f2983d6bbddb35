//! What the kernel itself says about a thread, from `/proc`.

use std::fs;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// The scheduler's books of a thread, in nanoseconds. Exact while the thread is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelBooks {
    /// On a CPU, hypervisor time excluded.
    pub cpu: u64,
    /// Waiting for a CPU, quota included.
    pub run_delay: u64,
}

impl KernelBooks {
    /// Reads `schedstat` of a thread.
    pub fn read(pid: u32, tid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/task/{tid}/schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("schedstat is short")?.context("schedstat is not a number");
        Ok(Self { cpu: next()?, run_delay: next()? })
    }

    /// What was added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu - earlier.cpu, run_delay: self.run_delay - earlier.run_delay }
    }
}

/// Whether the thread is blocked in `read` of its standard input.
pub fn reads_input(pid: u32, tid: u32) -> Result<bool> {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
    let read_number = if cfg!(target_arch = "aarch64") { "63" } else { "0" };
    Ok(text.starts_with(&format!("{read_number} 0x0 ")))
}

/// The monotonic clock in nanoseconds, the same one that a workload prints.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// When a question was answered: at some moment between these two of the monotonic clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Before it was asked.
    pub before_ns: u64,
    /// After it was answered.
    pub after_ns: u64,
}

impl Asked {
    /// What `counted` should be if it grew by one per nanosecond since `earlier`: itself where that is possible, else
    /// the nearest possible value.
    pub fn passed_since(self, earlier: Self, counted: u64) -> u64 {
        let shortest = self.before_ns.saturating_sub(earlier.after_ns);
        let longest = self.after_ns.saturating_sub(earlier.before_ns);
        counted.clamp(shortest, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_answers_is_known_to_the_length_of_the_questions() {
        let first = Asked { before_ns: 10, after_ns: 20 };
        let second = Asked { before_ns: 100, after_ns: 130 };
        assert_eq!([50, 95, 200].map(|counted| second.passed_since(first, counted)), [80, 95, 120]);
    }
}
