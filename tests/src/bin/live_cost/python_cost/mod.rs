//! What Python costs: a stack in the kernel by its shape, and how much slower a program becomes that is profiled.

mod load;
mod slowdown;
mod stacks;
mod table;

use anyhow::{Result, ensure};
use profiler_tests::tell;

use load::{Load, Shape, pythons};

/// The argument that asks for this; a minor version, such as `3.14`, may follow, and what is wanted of the rest.
pub(crate) const ARGUMENT: &str = "python-cost";

/// The measurement that is not about a shape.
const SLOWDOWN: &str = "slow-down";

/// Measures on the interpreters of the version the first of `arguments` names, or on those of the documents; of that, the
/// shapes whose names contain the second, or the slow-down.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let (pythons, wanted) = (pythons(argument(0)), argument(1));
    ensure!(!pythons.is_empty(), "no such Python is on this machine; `cargo xtask setup --for live` unpacks some");
    for python in pythons {
        tell(&format!("stacks of {python}"));
        let costs = stacks::costs(python, wanted)?;
        if !costs.is_empty() {
            println!("### Stacks, {python}\n\n{}", table::of_stacks(&costs));
        }
        if SLOWDOWN.contains(wanted) {
            let load = Load { python, shape: Shape::Service(50) };
            tell(&format!("the slow-down of {python}"));
            let slowdown = slowdown::rounds(&load)?;
            println!("### Slow-down, {python}, {}\n\n{}", load.shape.name(), table::of_slowdown(&slowdown));
        }
    }
    Ok(())
}
