//! User stacks against an oracle, on the very same stops: frame by frame the same.
//!
//! `PROFILERD_ORACLE_STACKS` asks for more stacks than the tests take by themselves.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::oracle::stop::{Why, parse_frame};
use profiler_tests::oracle::subject::build_c;
use profiler_tests::oracle::verdict::expected;
use profiler_tests::oracle::{Plan, Subject, Tally, Tracer, Verdict, compare};
use profiler_tests::{Program, live_host, tell};

/// The part of all stacks that must be identical.
const IDENTICAL: f64 = 0.999;
/// The part that may end early.
const TRUNCATED: f64 = 0.001;

const STEP: Duration = Duration::from_secs(60);

#[test]
fn stacks_of_a_c_program_are_those_of_the_oracle() -> Result<()> {
    agree(|| Subject::c().map(Some), 2_000, 5_000)
}

#[test]
fn stacks_of_a_cpp_program_are_those_of_the_oracle() -> Result<()> {
    // One in two thousand is taken where libgcc installs the context of a handler over its own frame.
    agree(|| Subject::cpp().map(Some), 10_000, 15_000)
}

#[test]
fn stacks_of_code_that_is_not_in_memory_yet_are_those_of_the_oracle() -> Result<()> {
    agree(|| Subject::absent().map(Some), 2_000, 5_000)
}

#[test]
fn stacks_of_a_rust_program_are_those_of_the_oracle() -> Result<()> {
    agree(|| Subject::rust().map(Some), 2_000, 5_000)
}

#[test]
fn stacks_of_a_python_are_those_of_the_oracle() -> Result<()> {
    agree(Subject::python, 1_000, 3_000)
}

#[test]
fn stacks_of_a_redis_server_are_those_of_the_oracle() -> Result<()> {
    agree(Subject::redis, 1_000, 3_000)
}

#[test]
fn stacks_of_a_postgres_server_are_those_of_the_oracle() -> Result<()> {
    agree(Subject::postgres, 1_000, 4_000)
}

#[test]
fn stacks_of_native_threads_of_a_jvm_are_those_of_the_oracle() -> Result<()> {
    agree(Subject::jvm, 1_000, 5_000)
}

#[test]
fn stacks_of_a_browser_are_those_of_the_oracle() -> Result<()> {
    agree(Subject::chromium, 1_000, 5_000)
}

/// Takes so many samples of the subject, and compares at least so many stacks: some are taken twice at one stop, some pass
/// through generated code.
fn agree(subject: impl FnOnce() -> Result<Option<Subject>>, stacks: usize, samples: usize) -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(subject) = subject()? else { return Ok(()) };
    let tally = compare(subject, Plan::of(samples, Duration::from_secs(60)))?;
    tell(&tally.to_string());
    check(&tally, stacks)
}

fn check(tally: &Tally, stacks: usize) -> Result<()> {
    let plain = &tally.plain;
    let (judged, identical, truncated) = (plain.judged(), plain.of(Verdict::Identical), plain.truncated());
    ensure!(judged >= stacks, "only {judged} stacks were compared");
    ensure!(plain.part(identical) >= IDENTICAL, "only {identical} of {judged} stacks are identical");
    ensure!(plain.part(truncated) <= TRUNCATED, "{truncated} of {judged} stacks are truncated");
    Ok(())
}

/// The oracle itself: the C library's unwinder, run by the thread at the same stop, finds the same frames.
#[test]
fn the_oracle_agrees_with_the_c_librarys_own_unwinder() -> Result<()> {
    const SIGUSR2: u32 = 12;
    let Some(_host) = live_host() else { return Ok(()) };
    let mut command = Command::new(build_c()?);
    command.arg("backtrace");
    let mut program = Program::start(command)?;
    program.await_line(STEP, |line| line.starts_with("ready ").then_some(()))?;
    let tracer = Tracer::start(program.pid())?;
    program.send_line()?;
    program.await_line(STEP, |line| (line == "enough").then_some(()))?;
    let own = program.finish(STEP)?.lines;
    let walks = tracer.finish()?;
    let threads: BTreeSet<u32> = walks.stops.iter().map(|stop| stop.tid).collect();
    let mut compared = 0;
    for tid in threads {
        let stops = walks.stops.iter().filter(|stop| stop.tid == tid && stop.why == Why::Signal(SIGUSR2));
        let own = own.iter().filter_map(|line| line.strip_prefix(&format!("backtrace {tid} ")));
        for (stop, own) in stops.zip(own) {
            let frames: Option<Vec<_>> = own.split(' ').map(parse_frame).collect();
            let (found, wanted) = (expected(&frames.context("no frames")?), expected(&stop.frames));
            ensure!(is_same(&found, &wanted), "the thread's own unwinder found {found:x?}, the oracle {wanted:x?}");
            compared += 1;
        }
    }
    tell(&format!("the oracle and the C library's own unwinder agree on {compared} stacks"));
    ensure!(compared >= 1_000, "only {compared} stacks were compared");
    Ok(())
}

/// A system call that is to be started again is wound back, by two bytes, before the thread walks its own stack.
fn is_same(own: &[u64], oracle: &[u64]) -> bool {
    let (Some((own_leaf, own)), Some((leaf, frames))) = (own.split_first(), oracle.split_first()) else { return false };
    (own_leaf == leaf || own_leaf + 2 == *leaf) && own == frames
}
