//! A cgroup by either version of the interface, removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::program::poll_until;

const REMOVAL: Duration = Duration::from_secs(10);
const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup of this test's own.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    second_version: bool,
}

impl Cgroup {
    /// Makes an empty cgroup with this controller, in the hierarchy that has it.
    pub fn with_controller(controller: &str) -> Result<Self> {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            write(&root.join("cgroup.subtree_control"), &format!("+{controller}"))?;
            return Self::new(root, true);
        }
        Self::new(&root.join(controller), false)
    }

    /// Makes an empty cgroup of the second version, whichever controllers it has; `None` if there is no such hierarchy.
    pub fn of_second_version() -> Result<Option<Self>> {
        let roots = [Path::new(ROOT).to_owned(), Path::new(ROOT).join("unified")];
        let root = roots.iter().find(|root| root.join("cgroup.controllers").exists());
        root.map(|root| Self::new(root, true)).transpose()
    }

    fn new(root: &Path, second_version: bool) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("profilerd-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("failed to make the cgroup `{}`", folder.display()))?;
        Ok(Self { folder, second_version })
    }

    /// Whether it has the files of the second version.
    pub fn is_of_second_version(&self) -> bool {
        self.second_version
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        write(&self.folder.join(file), value)
    }

    /// Reads one of its files.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
    }
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("failed to write `{value}` to `{}`", path.display()))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is frozen does not end, not even by a signal in the first version.
        for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            if self.folder.join(file).exists() {
                let _ = self.set(file, thawed);
            }
        }
        let removed = poll_until(REMOVAL, || Ok(fs::remove_dir(&self.folder).is_ok().then_some(())));
        if let Err(error) = removed {
            eprintln!("the cgroup `{}` stays: {error:#}", self.folder.display());
        }
    }
}
