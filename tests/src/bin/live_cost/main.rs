//! What profiling costs: CPU time per context switch of the profiled program without, beside and under profilerd, time per
//! run of each BPF program by the kernel's own statistics, and the profiler's own CPU time. Prints tables in Markdown.
//!
//! Needs root. `cargo xtask bench --live` builds what it needs and runs it.

mod meter;
mod peer;
mod ping_pong;
mod rounds;
mod table;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        None => measure(),
        Some(ping_pong::ARGUMENT) => ping_pong::run(),
        Some(other) => Err(anyhow::anyhow!("unknown argument `{other}`; this takes none")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live_cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    if profiler_tests::live_host().is_none() {
        bail!("nothing was measured");
    }
    let costs = rounds::costs()?;
    println!("{}\n{}\n{}", table::switches(&costs), table::programs(&costs), table::own_time(&costs));
    Ok(())
}
