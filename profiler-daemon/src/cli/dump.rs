//! `profilerd dump`: what all threads of a process do now.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::naming_flags::NamingFlags;
use super::output::{print_json, print_text};
use crate::pipeline::dump;
use crate::report::threads::threads;
use crate::settings::SamplingSettings;
use crate::settings::quantity::parse_number;

/// Say what all threads of a process do now: what each waits for, and where
///
/// Nothing is loaded into the kernel and nothing is stopped: it takes the right to trace the process, as its owner has it.
/// A thread that runs has no stack here. The daemon answers the same at /api/v1/threads, and since when, too, where the
/// process is selected.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd dump --pid 4711
  profilerd dump --pid 4711 --json")]
pub(super) struct DumpArguments {
    /// The process
    #[arg(long, value_name = "N", required = true)]
    pid: String,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    naming: NamingFlags,
}

/// Reads and prints.
pub(super) fn run(arguments: &DumpArguments) -> anyhow::Result<ExitCode> {
    let mut settings = SamplingSettings::default();
    arguments.naming.set(&mut settings).context("failed to read the flags")?;
    let pid = parse_number("--pid", &arguments.pid, 1..=i32::MAX as u32).context("failed to read the flags")?;
    let answer = threads(&dump(pid, &settings).context("failed to read the threads")?);
    match arguments.json {
        true => print_json(&answer)?,
        false => print_text(&answer.text())?,
    }
    Ok(ExitCode::SUCCESS)
}
