//! One file per verb; each is its options and what it runs.
mod build_ebpf;
mod setup;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Setup(setup::Setup),
    BuildEbpf(build_ebpf::BuildEbpf),
}

impl Verb {
    /// Runs the verb to its end.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Setup(verb) => verb.run(),
            Self::BuildEbpf(verb) => verb.run(),
        }
    }
}
