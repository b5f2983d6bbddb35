//! One file per verb; each is its options and what it runs.
mod bench;
mod build_ebpf;
mod ci;
mod fuzz;
mod lint;
mod live;
mod setup;
mod test;
mod vm;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Setup(setup::Setup),
    BuildEbpf(build_ebpf::BuildEbpf),
    Test(test::Test),
    Live(live::Live),
    Lint(lint::Lint),
    Bench(bench::Bench),
    Fuzz(fuzz::Fuzz),
    Vm(vm::Vm),
    Ci(ci::Ci),
}

impl Verb {
    /// Runs the verb to its end.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Setup(verb) => verb.run(),
            Self::BuildEbpf(verb) => verb.run(),
            Self::Test(verb) => verb.run(),
            Self::Live(verb) => verb.run(),
            Self::Lint(verb) => verb.run(),
            Self::Bench(verb) => verb.run(),
            Self::Fuzz(verb) => verb.run(),
            Self::Vm(verb) => verb.run(),
            Self::Ci(verb) => verb.run(),
        }
    }
}
