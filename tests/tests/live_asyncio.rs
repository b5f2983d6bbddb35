//! Stacks of tasks of asyncio, on every Python of this machine: their coroutines, and from 3.14 on their names and what awaits
//! them, as the interpreter tells itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::interpreter::{Interpreter, check_each};
use profiler_tests::stacks::{Place, Sample, samples_of};
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell, workload};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);
/// So many samples of each task's stack there must be.
const SAMPLES: u64 = 20;
/// The version from which on asyncio says what awaits what.
const AWAITING_FROM: u32 = 14;
/// The part of the samples of working tasks that must be one of the stacks the interpreter told.
const EXACT: f64 = 0.99;
/// What each task's leaf calls to compute.
const WORK: &str = "work";

#[test]
fn stacks_of_tasks_are_those_asyncio_tells() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    check_each(Interpreter::one_of_each(), compare)
}

/// Runs the tasks, which were there before the daemon, and compares their stacks with what the program says.
fn compare(interpreter: &Interpreter) -> Result<()> {
    let script = interpreter.place(&workload::sources().join("python/tasks.py"))?;
    let mut command = interpreter.command();
    command.arg("-u").arg(script);
    let mut workload = Workload::start_command(command)?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    workload.go()?;
    let printed = workload.await_json(STEP)?.context("the workload ended")?;
    let truth = parse_stacks(&printed)?;
    let mut tally = Tally::default();
    let arrived = poll_until(STEP, || {
        tally = Tally::of(&truth, &samples_of(&daemon, workload.pid())?);
        Ok(tally.is_enough().then_some(()))
    });
    tell(&format!("{interpreter}\n{tally}"));
    arrived.with_context(|| format!("some task was not sampled, or none in a wait:\n{tally}"))?;
    tally.check()?;
    let names = truth.values().flatten().filter(|place| is_task(place)).count();
    let is_told = names >= truth.len();
    ensure!(is_told == (interpreter.minor() >= AWAITING_FROM), "the program told {names} tasks");
    Ok(())
}

/// Stacks by task, leaf first, without what the leaf called.
fn parse_stacks(printed: &Value) -> Result<BTreeMap<String, Vec<Place>>> {
    let stacks = printed.as_object().context("no object of stacks")?;
    stacks.iter().map(|(key, frames)| Ok((key.clone(), parse_frames(frames)?))).collect()
}

fn parse_frames(frames: &Value) -> Result<Vec<Place>> {
    let frames: Vec<(String, u32, String)> = serde_json::from_value(frames.clone())?;
    Ok(frames.into_iter().map(|(file, line, function)| Place { file, line, function }).collect())
}

fn is_task(place: &Place) -> bool {
    place.function.starts_with("[task")
}

/// What became of the samples.
#[derive(Debug, Default)]
struct Tally {
    /// Samples of each task whose stack is exactly the one told.
    exact: BTreeMap<String, u64>,
    /// Samples of working tasks.
    working: u64,
    /// Of these, those in a wait.
    waiting: u64,
    /// Stacks of working tasks that nobody told, for people, and their samples.
    other: BTreeMap<String, u64>,
}

impl Tally {
    fn of(truth: &BTreeMap<String, Vec<Place>>, samples: &[Sample]) -> Self {
        let mut tally = Self { exact: truth.keys().map(|key| (key.clone(), 0)).collect(), ..Self::default() };
        for sample in samples.iter().filter(|sample| sample.count > 0) {
            tally.add(truth, sample);
        }
        tally
    }

    fn add(&mut self, truth: &BTreeMap<String, Vec<Place>>, sample: &Sample) {
        let is_told = |place: &&Place| is_task(place) || place.file.ends_with(".py");
        let mut frames: Vec<_> = sample.frames.iter().filter(is_told).cloned().collect();
        let is_at_work = frames.first().is_some_and(|leaf| leaf.function == WORK);
        // The task that blocks does so beside its work.
        if !is_at_work && frames.first().is_none_or(|leaf| leaf.function != "block") {
            return;
        }
        frames.drain(..usize::from(is_at_work));
        self.working += sample.count;
        self.waiting += if sample.state == "wait" { sample.count } else { 0 };
        let found: Vec<_> = truth.iter().filter(|(_, told)| **told == frames).map(|(key, _)| key).collect();
        for key in &found {
            *self.exact.entry((*key).clone()).or_default() += sample.count;
        }
        if found.is_empty() {
            let shown: Vec<_> = frames.iter().map(|place| format!("{}:{}", place.function, place.line)).collect();
            *self.other.entry(shown.join(" < ")).or_default() += sample.count;
        }
    }

    fn is_enough(&self) -> bool {
        self.exact.values().all(|count| *count >= SAMPLES) && self.waiting > 0
    }

    fn check(&self) -> Result<()> {
        let silent: Vec<_> = self.exact.iter().filter(|(_, count)| **count == 0).map(|(key, _)| key).collect();
        let other: u64 = self.other.values().sum();
        ensure!(silent.is_empty(), "no samples of {silent:?} on the stacks that were told:\n{self}");
        ensure!(self.waiting > 0, "no wait within a task was sampled");
        ensure!(
            (self.working - other) as f64 >= EXACT * self.working as f64,
            "{other} of {} samples differ from what was told:\n{self}",
            self.working
        );
        Ok(())
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("  {} samples of working tasks, {} in waits:", self.working, self.waiting);
        for (key, count) in &self.exact {
            let _ = write!(text, " {key} {count}");
        }
        for (stack, count) in self.other.iter().take(3) {
            let _ = write!(text, "\n  {count} as nobody told: {stack}");
        }
        f.write_str(&text)
    }
}
