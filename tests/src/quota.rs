//! A cgroup with a CPU quota, by either version of the interface, removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::poll_until;

const REMOVAL: std::time::Duration = std::time::Duration::from_secs(10);

/// A cgroup that may use `quota_us` of each `period_us`.
#[derive(Debug)]
pub struct Quota {
    folder: PathBuf,
    second_version: bool,
}

impl Quota {
    /// Makes the cgroup, empty.
    pub fn new(quota_us: u32, period_us: u32) -> Result<Self> {
        let second_version = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = Path::new(if second_version { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" });
        let folder = root.join(format!("profilerd-test-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("failed to make the cgroup `{}`", folder.display()))?;
        let quota = Self { folder, second_version };
        if second_version {
            write(&root.join("cgroup.subtree_control"), "+cpu")?;
            quota.set("cpu.max", &format!("{quota_us} {period_us}"))?;
        } else {
            quota.set("cpu.cfs_period_us", &period_us.to_string())?;
            quota.set("cpu.cfs_quota_us", &quota_us.to_string())?;
        }
        Ok(quota)
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// How long it was throttled so far, in nanoseconds, as the kernel counts it: at the end of each time.
    pub fn throttled_ns(&self) -> Result<u64> {
        let (key, unit) = if self.second_version { ("throttled_usec ", 1000) } else { ("throttled_time ", 1) };
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)).context("cpu.stat has no throttled time")?;
        Ok(value.trim().parse::<u64>()? * unit)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        write(&self.folder.join(file), value)
    }
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("failed to write `{value}` to `{}`", path.display()))
}

impl Drop for Quota {
    fn drop(&mut self) {
        let removed = poll_until(REMOVAL, || Ok(fs::remove_dir(&self.folder).is_ok().then_some(())));
        if let Err(error) = removed {
            eprintln!("the cgroup `{}` stays: {error:#}", self.folder.display());
        }
    }
}
