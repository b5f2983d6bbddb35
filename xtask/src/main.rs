//! Every task of the repository: `cargo xtask VERB`.
mod apt;
mod archive;
mod bpf_object;
mod bpf_rustc;
mod bpf_sources;
mod bpf_toolchain;
mod command;
mod host;
mod jdk;
mod need;
mod python;
mod qemu;
mod repository;
mod root;
mod verbs;
mod vm;

use clap::Parser;
use std::process::ExitCode;

/// The tasks of the profilerd repository.
///
/// `cargo xtask test` on a fresh machine does everything: it installs what the tests need (as root on Debian or
/// Ubuntu; elsewhere it says what is missing), builds, and runs every test that can run here.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Invocation {
    #[command(subcommand)]
    verb: verbs::Verb,
}

fn main() -> ExitCode {
    let result = if bpf_rustc::is_asked_for() { bpf_rustc::run() } else { Invocation::parse().verb.run() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
