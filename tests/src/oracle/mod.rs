//! Stacks against an oracle: the kernel half stops each thread it samples, and another unwinder walks the same stop.
//!
//! In comes a [`Subject`], a program at work; out goes a [`Tally`] of how many stacks were identical, and of those that
//! were not, which and why. This room alone among the harness knows the daemon from inside: it runs the pipeline
//! itself, since only whole records say which stack belongs to which stop.
//!
//! The steps, in order: the [`Tracer`] seizes the subject's threads; the [`Sampler`] selects its processes; the subject
//! goes to work; each sample sends its thread a signal that stops it before it returns to user code; the tracer walks
//! and resumes it. Later, [`pairs`] says which sample belongs to which stop, and [`verdict`] compares the two.

pub mod browser;
pub mod pairs;
pub mod places;
pub mod sampler;
pub mod servers;
pub mod stop;
pub mod subject;
pub mod tally;
pub mod tracer;
pub mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use pairs::{Pair, Pairs};
pub use places::Places;
pub use sampler::{Moment, Sample, Sampler};
pub use stop::{End, Frame, Stop};
pub use subject::Subject;
pub use tally::Tally;
pub use tracer::{Tracer, Walks};
pub use verdict::Verdict;

/// How long and how much to sample: until there are enough stacks or the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Stacks that are enough.
    pub stacks: usize,
    /// The longest time.
    pub at_most: Duration,
}

impl Plan {
    /// A plan for `stacks`, or for as many as `PROFILERD_ORACLE_STACKS` says, which is then waited for up to an hour.
    pub fn of(stacks: usize, at_most: Duration) -> Self {
        match std::env::var("PROFILERD_ORACLE_STACKS").ok().and_then(|value| value.parse().ok()) {
            Some(stacks) => Self { stacks, at_most: Duration::from_secs(3600) },
            None => Self { stacks, at_most },
        }
    }
}

/// Samples the subject under the oracle's eyes, lets it end, and compares.
pub fn compare(mut subject: Subject, plan: Plan) -> Result<Tally> {
    let begun = Instant::now();
    let tracer = Tracer::start(subject.pid())?;
    let sampler = Sampler::start(subject.pid())?;
    subject.go()?;
    let samples = sampler.collect(plan).context("failed to sample")?;
    let walks = tracer.finish()?;
    let name = subject.name().to_owned();
    subject.finish()?;
    Ok(Tally::of(name, &samples, &walks, begun.elapsed()))
}
