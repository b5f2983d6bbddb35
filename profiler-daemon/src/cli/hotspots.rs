//! `profilerd hotspots`: sample, then list where the time went.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output::{print_json, print_text};
use super::report_flags::{CodeFlags, TableFlags};
use super::session::SessionFlags;
use crate::report::asked::hotspot_query;
use crate::report::hotspots;

/// Sample processes and list the functions, lines or files their time went to
///
/// Each row says how long it computed, waited (and for what) and queued for a CPU, with the standard error of the
/// estimate. A wait is charged to the innermost function of the program itself, not to the C library or the kernel.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd hotspots --pid 4711
  profilerd hotspots --comm python3 --by line --path '/app/**/*.py'
  profilerd hotspots --pid 4711 --state disk,net --inclusive --duration 30s")]
pub(super) struct HotspotsArguments {
    #[command(flatten)]
    session: SessionFlags,
    #[command(flatten)]
    table: TableFlags,
    #[command(flatten)]
    code: CodeFlags,
}

/// Samples and prints.
pub(super) fn run(arguments: &HotspotsArguments) -> anyhow::Result<ExitCode> {
    let query = arguments.table.hotspots(&arguments.code).context("failed to read the flags")?;
    let query = hotspot_query(&query).context("failed to read the flags")?;
    let profile = arguments.session.plan()?.sample()?;
    arguments.table.tell_if_no_thread(&profile);
    let answer = hotspots(&profile, &query);
    match arguments.table.json {
        true => print_json(&answer)?,
        false => print_text(&answer.text())?,
    }
    Ok(ExitCode::SUCCESS)
}
