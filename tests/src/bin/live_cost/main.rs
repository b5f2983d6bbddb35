//! What profiling costs: CPU time per context switch of the profiled program without, beside and under profilerd, time per
//! run of each BPF program by the kernel's own statistics, and the profiler's own CPU time. With `peers`: unwinding beside
//! other profilers; with `python`: the lines of a Python program beside others; with `python-cost`: what Python's stacks cost, and how
//! much slower a program becomes; with `waits`: telling waits beside others. Prints tables in Markdown.
//!
//! Needs root. `cargo xtask bench --live`, `--peers`, `--python`, `--python-cost` and `--waits` build what it needs and run it.

mod meter;
mod peer;
mod peers;
mod ping_pong;
mod python;
mod python_cost;
mod rounds;
mod table;
mod waits;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        None => measure(),
        Some((first, _)) if first == ping_pong::ARGUMENT => ping_pong::run(),
        Some((first, rest)) if first == peers::ARGUMENT => compare(peers::run, rest),
        Some((first, rest)) if first == python::ARGUMENT => compare(python::run, rest),
        Some((first, rest)) if first == python_cost::ARGUMENT => compare(python_cost::run, rest),
        Some((first, _)) if first == waits::COMPUTE => waits::compute(),
        Some((first, rest)) if first == waits::ARGUMENT => compare(waits::run, rest),
        Some((other, _)) => Err(anyhow::anyhow!(
            "unknown argument `{other}`; this takes none, `peers`, `python`, `python-cost`, or `waits`"
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live_cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(run: fn(&[String]) -> Result<()>, arguments: &[String]) -> Result<()> {
    if profiler_tests::live_host().is_none() {
        bail!("nothing was measured");
    }
    run(arguments)
}

fn measure() -> Result<()> {
    if profiler_tests::live_host().is_none() {
        bail!("nothing was measured");
    }
    let costs = rounds::costs()?;
    println!("{}\n{}\n{}", table::switches(&costs), table::programs(&costs), table::own_time(&costs));
    Ok(())
}
