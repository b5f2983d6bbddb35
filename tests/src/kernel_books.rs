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
