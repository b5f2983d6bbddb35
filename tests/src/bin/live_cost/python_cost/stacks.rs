//! What one stack costs in the kernel, by the statistics of the programs that take it. The shapes take turns.

use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::stacks::{Sample, samples_of};
use profiler_tests::{Daemon, Interpreter, poll_until};

use super::load::{Load, Running, Shape};
use crate::meter::{Runs, difference, runs_of, statistics};

/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 5;

/// How long it may take until stacks are whole: until then tables are made, and the interpreter is found.
const PATIENCE: Duration = Duration::from_secs(20);

/// Samples per second and CPU: enough that a batch has some hundred.
const FREQUENCY_HZ: f64 = 997.0;

/// The program that takes stacks of what computes.
const PROGRAM: &str = "on_cpu";

/// The shapes; pairs of which only the count differs say what one more costs.
const SHAPES: [Shape; 12] = [
    Shape::Frames(0),
    Shape::Frames(50),
    Shape::Frames(200),
    Shape::Service(50),
    Shape::Objects(10),
    Shape::Objects(50),
    Shape::Tasks(0),
    Shape::Tasks(16),
    Shape::Interpreters(1),
    Shape::Interpreters(16),
    Shape::Threads(1),
    Shape::Threads(200),
];

/// What the stacks of one shape cost.
pub(super) struct Cost {
    /// The shape.
    pub(super) shape: Shape,
    /// Nanoseconds per stack, by round.
    pub(super) ns: Vec<f64>,
    /// Frames in Python, and all others.
    pub(super) frames: [usize; 2],
}

/// What a stack costs of each shape whose name contains the words.
pub(super) fn costs(python: &Interpreter, wanted: &str) -> Result<Vec<Cost>> {
    let shapes = SHAPES.into_iter().filter(|shape| shape.exists_on(python) && shape.name().contains(wanted));
    let mut costs: Vec<_> = shapes.map(|shape| Cost { shape, ns: Vec::new(), frames: [0; 2] }).collect();
    for _ in 0..ROUNDS {
        let passing_ns = passing_ns(python)?;
        for cost in &mut costs {
            let mut running = Load { python, shape: cost.shape }.start()?;
            let daemon = running.profile(&["--frequency", &FREQUENCY_HZ.to_string(), "--window", "200ms"])?;
            cost.frames = await_whole(&mut running, &daemon).with_context(|| cost.shape.name())?;
            cost.ns.push(stack_ns(&mut running, &daemon, passing_ns)?);
        }
    }
    Ok(costs)
}

/// What the program takes when it meets another process than that it is asked about: so it does on the other CPUs.
fn passing_ns(python: &Interpreter) -> Result<f64> {
    let load = Load { python, shape: Shape::Frames(0) };
    let (mut running, other) = (load.start()?, load.start()?);
    let daemon = other.profile(&["--frequency", &FREQUENCY_HZ.to_string()])?;
    let (runs, _) = measured(&mut running, &daemon)?;
    Ok(runs.ns as f64 / runs.count as f64)
}

/// Computes until stacks reach from the bottom to the module; the frames of one.
fn await_whole(running: &mut Running, daemon: &Daemon) -> Result<[usize; 2]> {
    poll_until(PATIENCE, || {
        running.batch()?;
        Ok(samples_of(daemon, running.pid())?.iter().find_map(frames))
    })
}

/// The frames in Python of a whole stack, and all others; `None` if it is not whole.
fn frames(sample: &Sample) -> Option<[usize; 2]> {
    let python = sample.python();
    let is_whole = python.first()?.function == "serve" && python.last()?.function == "<module>";
    let count = sample.frames.iter().filter(|place| place.file.ends_with(".py")).count();
    (is_whole && sample.state == "cpu").then(|| [count, sample.frames.len() - count])
}

/// The time of all runs but those that met others, by the stacks there must have been.
fn stack_ns(running: &mut Running, daemon: &Daemon, passing_ns: f64) -> Result<f64> {
    let (runs, cpu_ns) = measured(running, daemon)?;
    let stacks = cpu_ns / 1e9 * FREQUENCY_HZ;
    Ok((runs.ns as f64 - passing_ns * (runs.count as f64 - stacks)) / stacks)
}

/// The program's runs during two batches, and the CPU time of these.
fn measured(running: &mut Running, daemon: &Daemon) -> Result<(Runs, f64)> {
    let _statistics = statistics()?;
    let before = runs_of(daemon.pid())?;
    let cpu_ns = running.batch()?.cpu_ns + running.batch()?.cpu_ns;
    let added = difference(&before, &runs_of(daemon.pid())?);
    let runs = added.into_iter().find(|runs| runs.name == PROGRAM);
    Ok((runs.with_context(|| format!("`{PROGRAM}` did not run"))?, cpu_ns))
}
