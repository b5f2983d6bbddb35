//! Arguments into settings, and terminal output.
//!
//! What was typed ([`Arguments`]) becomes what is meant (`settings`) before anything is touched. Each command is one
//! short function in a file of its own.

mod breakdown;
mod doctor;
mod dump;
mod failure;
mod hotspots;
mod naming_flags;
mod output;
mod record;
mod report_flags;
mod sampling_flags;
mod selection;
mod serve;
mod session;
mod target_checks;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::sys::usage;

/// Where does the time of running services go: computing, waiting (and for what) or queueing for a CPU?
///
/// profilerd watches running processes without restarting or changing them. It needs root (or CAP_BPF, CAP_PERFMON,
/// CAP_SYS_PTRACE and CAP_SYSLOG) and Linux 5.10 or newer with BTF.
#[derive(Debug, Parser)]
#[command(name = "profilerd", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  profilerd hotspots --pid 4711                a process and its children, for 10 s
  profilerd breakdown --all --duration 30s     computing, waiting, queueing of every process
  profilerd record --comm nginx -o nginx.svg   a flame graph
  profilerd dump --pid 4711                    what all its threads do now
  profilerd serve                              the daemon, with an hour of history for curl
  curl 'localhost:7070/api/v1/hotspots?last=60s'
  profilerd doctor                             what this host allows, what to do about gaps";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArguments),
    Hotspots(hotspots::HotspotsArguments),
    Breakdown(breakdown::BreakdownArguments),
    Record(record::RecordArguments),
    Dump(dump::DumpArguments),
    Doctor(doctor::DoctorArguments),
}

/// Runs the command that was typed. The code is 0 if it worked, 1 if it failed, 2 if what was typed means nothing.
pub fn run() -> ExitCode {
    usage::keep_large_pieces_off_the_heap();
    let arguments = Arguments::parse();
    log_to_stderr(matches!(arguments.command, Command::Serve(_)));
    let result = match &arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Hotspots(arguments) => hotspots::run(arguments),
        Command::Breakdown(arguments) => breakdown::run(arguments),
        Command::Record(arguments) => record::run(arguments),
        Command::Dump(arguments) => dump::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
    };
    result.unwrap_or_else(|error| failure::report(&error))
}

/// Logs go to standard error; `RUST_LOG` says how much. A daemon tells more of itself than a command.
fn log_to_stderr(daemon: bool) {
    let level = if daemon { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Whoever read the log may have ended. It would be told so on the same stream, by a macro that panics there.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
