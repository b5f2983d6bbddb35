//! `bench`: the workspace's benchmarks.
use crate::command::Command;
use crate::repository;
use anyhow::Result;
use clap::Args;

/// Run the benchmarks.
#[derive(Args)]
pub(crate) struct Bench {
    /// Only benchmarks whose names contain this.
    filter: Option<String>,
}

impl Bench {
    /// Runs them all, or says that there are none.
    pub(crate) fn run(self) -> Result<()> {
        if !is_there_any() {
            eprintln!("there are no benchmarks yet: a package's benchmarks are the files of its `benches` folder");
            return Ok(());
        }
        Command::cargo()
            .args(["bench", "--workspace", "--bench", "*"])
            .args(self.filter)
            .advice("mend the complaints above")
            .run()
    }
}

fn is_there_any() -> bool {
    let packages = ["profiler-common", "profiler-daemon", "tests"];
    packages.iter().any(|package| repository::root().join(package).join("benches").is_dir())
}
