//! Unwinding beside peers: one load at a time, without a profiler and under each, and what each one costs and finds.

mod load;
mod profiler;
mod rounds;
mod stacks;
mod table;
mod unwind_tables;

use anyhow::{Context, Result};
use profiler_tests::tell;

use load::Load;
pub(crate) use profiler::{find, has_events, interrupt};
pub(crate) use rounds::leave_the_last_cpu;

/// The argument that asks for this comparison; the name of a load may follow, and a rate.
pub(crate) const ARGUMENT: &str = "peers";

/// Samples per second and CPU, unless another rate is asked for: enough for small costs to show.
const FREQUENCY_HZ: u32 = 997;

/// Measures the loads whose names contain the first of `arguments`, all without one, at the rate the second says.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let wanted = arguments.first().map_or("", String::as_str);
    let frequency_hz = match arguments.get(1) {
        Some(text) => text.parse().with_context(|| format!("`{text}` is no rate in Hz"))?,
        None => FREQUENCY_HZ,
    };
    println!("### Unwind tables\n\n{}", unwind_tables::of_this_machine());
    rounds::leave_the_last_cpu()?;
    for load in Load::all().into_iter().filter(|load| load.name().contains(wanted)) {
        tell(&format!("measuring {} at {frequency_hz} Hz", load.name()));
        println!("{}", table::of(&load, frequency_hz, &rounds::costs(&load, frequency_hz)?));
    }
    Ok(())
}
