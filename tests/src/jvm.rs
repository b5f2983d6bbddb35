//! The Java virtual machines on this machine: the installed one, and those of many releases that lie in a root of their own.
//!
//! Nothing is downloaded here: `cargo xtask setup --for live` unpacks the root.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;

use crate::host::skip;
use crate::interpreter::roots;
use crate::java::jdk_tool;
use crate::workload::scratch;

/// The releases that the root holds.
const RELEASES: [u32; 6] = [8, 11, 17, 21, 25, 26];

/// Gives the program in a root what it needs to see, in a mount namespace of its own: `/proc`, and the classes in `/mnt`.
const ENTER_ROOT: &str = "root=$1 classes=$2; shift 2; mkdir -p \"$root/mnt\" && \
    mount -t proc proc \"$root/proc\" && mount --bind \"$classes\" \"$root/mnt\" && exec chroot \"$root\" \"$@\"";

/// One virtual machine and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jvm {
    /// The feature release: 8, 11, …
    pub release: u32,
    /// The root in which it runs; `None` for this machine's.
    root: Option<PathBuf>,
    /// The program `java`, as seen from its root.
    program: PathBuf,
}

impl Jvm {
    /// This machine's own first, then those of the root by release; asked once per process.
    pub fn all() -> &'static [Self] {
        static FOUND: OnceLock<Vec<Jvm>> = OnceLock::new();
        FOUND.get_or_init(|| installed().into_iter().chain(unpacked()).collect())
    }

    /// Whether it is this machine's own.
    pub fn is_installed(&self) -> bool {
        self.root.is_none()
    }

    /// A command that runs a main class of the folder of classes.
    pub fn command(&self, options: &[&str], classes: &Path, main: &str) -> Result<Command> {
        let (mut command, folder) = match &self.root {
            Some(root) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--", "sh", "-c", ENTER_ROOT, "sh"]).args([root, classes, &self.program]);
                (command, Path::new("/mnt"))
            }
            None => (Command::new(&self.program), classes),
        };
        command.args(options).arg("-cp").arg(folder).arg(main);
        Ok(command)
    }

    /// A folder for files of its programs, as its root sees it.
    pub fn scratch(&self) -> Result<PathBuf> {
        if self.root.is_some() { Ok("/tmp".into()) } else { scratch() }
    }
}

impl fmt::Display for Jvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.root.is_some() { "in a root" } else { "installed" };
        write!(f, "Java {}, {place}", self.release)
    }
}

/// Says loudly which releases are not on this machine and therefore not run; a panic where live tests are required.
pub fn tell_missing() {
    for release in RELEASES {
        if Jvm::all().iter().all(|one| one.is_installed() || one.release != release) {
            skip(&format!("NOT RUN: there is no Java {release} here; `cargo xtask setup --for live` unpacks one"));
        }
    }
}

fn installed() -> Option<Jvm> {
    let program = jdk_tool("java");
    let output = Command::new(&program).arg("-version").output().ok()?;
    let release = parse_release(&String::from_utf8_lossy(&output.stderr))?;
    Some(Jvm { release, root: None, program })
}

fn unpacked() -> Vec<Jvm> {
    let root = roots().join("java");
    let program = |release: u32| format!("usr/lib/jvm/java-{release}-openjdk-amd64/bin/java");
    let present = RELEASES.into_iter().filter(|release| root.join(program(*release)).exists());
    present
        .map(|release| Jvm { release, root: Some(root.clone()), program: Path::new("/").join(program(release)) })
        .collect()
}

/// The feature release in `openjdk version "17.0.15" 2025-04-15`; that of `1.8.0` is 8.
fn parse_release(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    let mut numbers = quoted.split(['.', '-', '+', '_']).map(|number| number.parse().ok());
    match numbers.next()? {
        Some(1) => numbers.next()?,
        release => release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feature_release_is_the_first_number_but_for_old_ones() {
        assert_eq!(parse_release("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(parse_release("openjdk version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(parse_release("openjdk version \"1.8.0_504\""), Some(8));
        assert_eq!(parse_release("no java"), None);
    }
}
