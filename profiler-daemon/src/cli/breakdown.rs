//! `profilerd breakdown`: sample, then say how each process spent its time.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output::{print_json, print_text};
use super::report_flags::TableFlags;
use super::session::SessionFlags;
use crate::report::asked::breakdown_query;
use crate::report::breakdown;

/// Measure how each process spent its time: computing, waiting (and for what) or queueing for a CPU
///
/// The times are exact: they come from the kernel's timestamps, not from samples, and sum up to the time all threads
/// existed.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd breakdown --all
  profilerd breakdown --pid 4711 --duration 1m --json")]
pub(super) struct BreakdownArguments {
    #[command(flatten)]
    session: SessionFlags,
    #[command(flatten)]
    table: TableFlags,
}

/// Measures and prints.
pub(super) fn run(arguments: &BreakdownArguments) -> anyhow::Result<ExitCode> {
    let query = arguments.table.breakdown().context("failed to read the flags")?;
    let query = breakdown_query(&query).context("failed to read the flags")?;
    let profile = arguments.session.plan()?.without_source_text().sample()?;
    arguments.table.tell_if_no_thread(&profile);
    let answer = breakdown(&profile, &query);
    match arguments.table.json {
        true => print_json(&answer)?,
        false => print_text(&answer.text())?,
    }
    Ok(ExitCode::SUCCESS)
}
