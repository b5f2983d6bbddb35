//! Telling waits beside peers: what loads that switch much, some and hardly lose to profilerd, to `offcputime` and to `perf
//! record` of every switch, in one run.

mod compute;
mod load;
mod profiler;
mod rounds;
mod table;

use anyhow::Result;
use profiler_tests::tell;

pub(crate) use compute::{ARGUMENT as COMPUTE, run as compute};
use load::Load;

/// The argument that asks for this comparison; the name of a load may follow.
pub(crate) const ARGUMENT: &str = "waits";

/// Measures the loads whose names contain the first of `arguments`, all without one.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let wanted = arguments.first().map_or("", String::as_str);
    let last_cpu = crate::peers::leave_the_last_cpu()?;
    let mut measured = Vec::new();
    for load in Load::ALL.into_iter().filter(|load| load.name().contains(wanted)) {
        tell(&format!("measuring {}", load.name()));
        measured.extend(rounds::costs(load, last_cpu)?.map(|costs| (load, costs)));
    }
    println!("{}\n{}\n{}", table::losses(&measured), table::programs(&measured), table::own(&measured));
    Ok(())
}
