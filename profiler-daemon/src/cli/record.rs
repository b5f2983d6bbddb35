//! `profilerd record`: sample, then write a file other tools read.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output::WholeFile;
use super::session::SessionFlags;
use crate::export::{ExportOptions, export, format_by_extension};
use crate::report::Filter;

/// Sample processes and write a file that other tools read
///
/// The end of the file's name chooses the format: .folded for flame graph tools, .svg for a flame graph, .pb.gz for
/// `go tool pprof`, .speedscope.json for speedscope.app. An existing file is replaced when the new one is
/// whole.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd record --pid 4711 -o app.svg
  profilerd record --all --duration 30s -o host.pb.gz && go tool pprof -http : host.pb.gz")]
pub(super) struct RecordArguments {
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Include time spent parked with nothing to do
    #[arg(long)]
    idle: bool,
    #[command(flatten)]
    session: SessionFlags,
}

/// Samples and writes.
pub(super) fn run(arguments: &RecordArguments) -> anyhow::Result<ExitCode> {
    let format = format_by_extension(&arguments.output).context("failed to choose a format")?;
    let plan = arguments.session.plan()?.without_source_text();
    let file = WholeFile::at(&arguments.output)?;
    let profile = plan.sample()?;
    let filter = Filter { show_idle: arguments.idle, ..Filter::default() };
    file.write(|out| Ok(export(&profile, &filter, format, &ExportOptions::default(), out)?))?;
    eprintln!("wrote {} ({})", arguments.output.display().to_string().escape_debug(), format.name);
    Ok(ExitCode::SUCCESS)
}
