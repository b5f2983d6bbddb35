//! A cgroup with a CPU quota.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cgroup::Cgroup;

/// A cgroup that may use `quota_us` of each `period_us`.
#[derive(Debug)]
pub struct Quota {
    cgroup: Cgroup,
}

impl Quota {
    /// Makes the cgroup, empty.
    pub fn new(quota_us: u32, period_us: u32) -> Result<Self> {
        let cgroup = Cgroup::with_controller("cpu")?;
        if cgroup.is_of_second_version() {
            cgroup.set("cpu.max", &format!("{quota_us} {period_us}"))?;
        } else {
            cgroup.set("cpu.cfs_period_us", &period_us.to_string())?;
            cgroup.set("cpu.cfs_quota_us", &quota_us.to_string())?;
        }
        Ok(Self { cgroup })
    }

    /// The cgroup's folder.
    pub fn folder(&self) -> &Path {
        self.cgroup.folder()
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.cgroup.set("cgroup.procs", &pid.to_string())
    }

    /// How long it was throttled so far, in nanoseconds, as the kernel counts it: at the end of each time.
    pub fn throttled_ns(&self) -> Result<u64> {
        let second_version = self.cgroup.is_of_second_version();
        let (key, unit) = if second_version { ("throttled_usec ", 1000) } else { ("throttled_time ", 1) };
        let text = self.cgroup.read("cpu.stat")?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)).context("cpu.stat has no throttled time")?;
        Ok(value.trim().parse::<u64>()? * unit)
    }
}
