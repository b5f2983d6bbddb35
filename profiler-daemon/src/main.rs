//! The `profilerd` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    profiler_daemon::cli::run()
}
