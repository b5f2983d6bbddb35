//! `live`: the tests that load the kernel half into this machine's kernel and profile real programs.
use super::build_ebpf::BuildEbpf;
use super::setup::Setup;
use crate::command::Command;
use crate::need::Ring;
use crate::{host, jdk, repository};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Run the live tests: real programs, real kernel.
///
/// Needs root and a kernel with BTF. Builds the daemon in release mode first. The tests run one at a time, since
/// they measure. `setup --for live` installs what the workloads need: compilers, interpreters, servers, a browser.
#[derive(Args)]
pub(crate) struct Live {
    /// Which objects of the kernel half to test.
    #[arg(long, value_enum, default_value_t = Objects::Prebuilt)]
    object: Objects,
    /// Only tests whose names contain this.
    filter: Option<String>,
}

/// Where the objects under test come from.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Objects {
    /// The committed ones, which the daemon carries inside.
    Prebuilt,
    /// Built from source for this run; needs the BPF toolchain.
    Source,
    /// First the committed ones, then those built from source.
    Both,
}

impl Live {
    /// Live tests on `object`.
    pub(crate) fn new(object: Objects, filter: Option<String>) -> Self {
        Self { object, filter }
    }

    /// Runs the live tests.
    ///
    /// # Errors
    /// When they cannot run here, and when one fails.
    pub(crate) fn run(self) -> Result<()> {
        if let Some(why) = host::live_obstacle() {
            bail!("live tests cannot run here: {why}");
        }
        Setup::for_rings(&[Ring::Live]).run()?;
        let daemon = build_daemon()?;
        if self.object != Objects::Source {
            self.test(&daemon, None)?;
        }
        if self.object != Objects::Prebuilt {
            let dir = rebuilt_objects();
            BuildEbpf::into(dir.clone()).run()?;
            self.test(&daemon, Some(&dir))?;
        }
        Ok(())
    }

    fn test(&self, daemon: &Path, objects: Option<&Path>) -> Result<()> {
        eprintln!("\nlive tests on the {} objects", if objects.is_some() { "rebuilt" } else { "committed" });
        let mut command = Command::cargo()
            .args(["test", "-p", "profiler-tests", "--test", "live_*", "--no-fail-fast", "--", "--test-threads=1"])
            .args(self.filter.as_deref())
            .env("PROFILERD_BIN", daemon)
            .env("PROFILERD_LIVE", if host::is_ci() { "required" } else { "auto" })
            .advice("the failed test's message above says what is wrong; `cargo xtask live NAME` runs it alone");
        if let Some(home) = jdk::find() {
            command = command.env("JAVA_HOME", home);
        }
        if let Some(dir) = objects {
            command = command.env("PROFILERD_OBJECT_DIR", dir);
        }
        command.run()
    }
}

/// Where objects built from source for tests are put.
pub(crate) fn rebuilt_objects() -> PathBuf {
    repository::target_dir().join("bpf-objects")
}

/// Builds the daemon in release mode; returns its path.
pub(crate) fn build_daemon() -> Result<PathBuf> {
    Command::cargo()
        .args(["build", "--release", "-p", "profiler-daemon"])
        .advice("mend the compiler's complaints above")
        .run()?;
    Ok(repository::target_dir().join("release/profilerd"))
}
