//! Installing Debian and Ubuntu packages where this user may.
use crate::command::{Command, find_program};
use crate::host;
use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Once;

static INDEX: Once = Once::new();

/// Whether packages can be installed: root, and a machine with apt.
pub(crate) fn is_usable() -> bool {
    host::is_root() && find_program("apt-get", &[]).is_some()
}

/// The first of `names` that the machine's package sources offer.
pub(crate) fn first_offered<'a>(names: &[&'a str]) -> Option<&'a str> {
    names.iter().copied().find(|name| is_offered(name))
}

/// Whether every one of `names` is offered by the machine's package sources.
pub(crate) fn are_offered<S: AsRef<str>>(names: &[S]) -> bool {
    names.iter().all(|name| is_offered(name.as_ref()))
}

/// Installs packages. Never removes one: a conflict is an error that names it.
pub(crate) fn install<S: AsRef<str>>(packages: &[S]) -> Result<()> {
    update_index_once();
    Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", "--no-remove"])
        .args(packages.iter().map(AsRef::as_ref))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .advice(
            "read apt's message above. If a package would have to be removed (rustc-web conflicts with the \
             distribution's own rustc, cargo and rustup packages), remove it yourself or use a toolchain from rustup.rs",
        )
        .run()
}

/// Installs packages that bring services, none of which is started: the tests start servers of their own.
///
/// Debian's packages ask `/usr/sbin/policy-rc.d` before they start anything. A machine that has one keeps it.
pub(crate) fn install_without_starting<S: AsRef<str>>(packages: &[S]) -> Result<()> {
    let _refusal = Refusal::place().context("failed to forbid that services are started")?;
    install(packages)
}

/// A `policy-rc.d` that forbids everything; removed when dropped, if it was not there before.
struct Refusal(Option<&'static Path>);

impl Refusal {
    fn place() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        // 101 means: not allowed.
        fs::write(path, "#!/bin/sh\nexit 101\n")?;
        let refusal = Self(Some(path));
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        Ok(refusal)
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.map(fs::remove_file) {
            eprintln!("warning: failed to remove /usr/sbin/policy-rc.d, so no service starts: {error}");
        }
    }
}

fn is_offered(name: &str) -> bool {
    update_index_once();
    Command::new("apt-cache").args(["policy", name]).read().is_some_and(|policy| has_candidate(&policy))
}

/// A failed update is not fatal: what is asked for may be in the index the machine already has.
fn update_index_once() {
    INDEX.call_once(|| {
        if let Err(error) = Command::new("apt-get").args(["update", "-qq"]).run() {
            eprintln!("warning: {error:#}; going on with the package index that is there");
        }
    });
}

fn has_candidate(policy: &str) -> bool {
    policy.lines().any(|line| line.trim().strip_prefix("Candidate:").is_some_and(|version| version.trim() != "(none)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_candidate_is_not_offered() {
        assert!(has_candidate("gcc:\n  Installed: (none)\n  Candidate: 4:12.2\n"));
        assert!(!has_candidate("gcc:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
