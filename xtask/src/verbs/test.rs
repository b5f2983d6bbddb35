//! `test`: every test that can run on this machine.
use super::live::{Live, Objects};
use super::setup::Setup;
use crate::command::Command;
use crate::need::Ring;
use crate::{host, repository};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::Path;

/// Run every test that can run here.
///
/// First the tests that need no privileges, then, as root on a kernel with BTF, the live ones. What is needed is
/// installed first where that is possible. Live tests that cannot run are skipped loudly, and fail under CI=true.
#[derive(Args)]
pub(crate) struct Test {
    /// Leave the live tests out.
    #[arg(long)]
    unprivileged: bool,
    /// Only tests whose names contain this.
    filter: Option<String>,
}

impl Test {
    /// All tests that need no privileges.
    pub(crate) fn unprivileged() -> Self {
        Self { unprivileged: true, filter: None }
    }

    /// Runs the rings one after the other.
    pub(crate) fn run(self) -> Result<()> {
        Setup::for_rings(&[Ring::Test]).run()?;
        run_unprivileged(self.filter.as_deref())?;
        match host::live_obstacle() {
            _ if self.unprivileged => Ok(()),
            None => Live::new(Objects::Prebuilt, self.filter).run(),
            Some(why) if host::is_ci() => bail!("live tests may not be skipped under CI=true: {why}"),
            Some(why) => {
                eprintln!("\n*** LIVE TESTS SKIPPED: {why}\n");
                Ok(())
            }
        }
    }
}

fn run_unprivileged(filter: Option<&str>) -> Result<()> {
    const ADVICE: &str = "the failed test's message above says what is wrong; `cargo test NAME` runs it alone";
    Command::cargo()
        .args(["test", "--workspace", "--exclude", "profiler-tests", "--no-fail-fast"])
        .args(filter)
        .advice(ADVICE)
        .run()?;
    let files = unprivileged_files()?;
    let named = files.iter().flat_map(|file| ["--test", file]);
    let command =
        Command::cargo().args(["test", "-p", "profiler-tests", "--lib", "--bins", "--no-fail-fast"]).args(named);
    command.args(filter).advice(ADVICE).run()
}

/// The test programs of `profiler-tests` that are not live ones.
fn unprivileged_files() -> Result<Vec<String>> {
    let dir = repository::root().join("tests/tests");
    let entries = dir.read_dir().with_context(|| format!("failed to read folder `{}`", dir.display()))?;
    let mut programs: Vec<_> = entries.flatten().filter_map(|entry| test_program(&entry.path())).collect();
    programs.retain(|name| !name.starts_with("live_"));
    programs.sort();
    Ok(programs)
}

/// What cargo calls the test program at `path`: a file, or a folder with a `main.rs`.
fn test_program(path: &Path) -> Option<String> {
    let is_one = path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
    is_one.then(|| Some(path.file_stem()?.to_string_lossy().into_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_in_files_and_in_folders_are_run_and_live_ones_are_not() {
        let programs = unprivileged_files().unwrap();
        assert!(programs.iter().any(|name| name == "golden"), "{programs:?}");
        assert!(programs.iter().any(|name| name == "strat_simulation"), "{programs:?}");
        assert!(!programs.iter().any(|name| name.starts_with("live_")), "{programs:?}");
    }
}
