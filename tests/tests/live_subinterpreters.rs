//! Threads that run code of subinterpreters, on every Python on this machine: their stacks are what the threads say themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::interpreter::{Interpreter, check_each};
use profiler_tests::stacks::{Place, Sample, samples_of};
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell, workload};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);
/// How many captures of each thread there must be.
const CAPTURES: u64 = 20;
/// The part of a thread's captures whose stack must be the one it told.
const EXACT: f64 = 0.98;
/// The newest minor version with nothing on the C stack that tells in which order the states of a thread run.
const WITHOUT_MARKERS: u32 = 9;
/// From this minor version on each subinterpreter may have a lock of its own.
const OWN_LOCKS_FROM: u32 = 12;
/// How the names of the threads begin that share a subinterpreter.
const SHARING: &str = "threads";

/// What a thread told.
struct Told {
    name: String,
    tid: u32,
    frames: Vec<Place>,
}

#[test]
fn stacks_of_threads_in_subinterpreters_are_those_they_tell_themselves() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    check_each(Interpreter::one_of_each(), compare)
}

fn compare(interpreter: &Interpreter) -> Result<()> {
    let script = interpreter.place(&workload::sources().join("python/subinterpreters.py"))?;
    let mut command = interpreter.command();
    command.arg("-u").arg(script);
    let mut workload = Workload::start_command(command)?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    workload.go()?;
    let rows = workload.await_json(STEP)?.context("the workload ended")?;
    let told = parse(&rows, interpreter.minor())?;
    let has_own_locks = interpreter.minor() >= OWN_LOCKS_FROM && !interpreter.is_free_threaded;
    let samples = await_captures(&daemon, workload.pid(), &told, has_own_locks)?;
    tell(&interpreter.to_string());
    let wrong: Vec<_> = told.iter().filter_map(|one| check(one, &samples).err()).map(|why| why.to_string()).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (captures, ns) = lock_waits(&told, &samples);
    tell(&format!("  {captures} waits for the lock of a subinterpreter, {ns} ns"));
    Ok(())
}

fn parse(rows: &Value, minor: u32) -> Result<Vec<Told>> {
    let rows = rows.as_array().context("there are no rows")?;
    let told = rows.iter().map(|row| {
        let frames: Vec<_> = row["frames"].as_array()?.iter().map(parse_place).collect::<Option<_>>()?;
        Some(Told {
            name: row["name"].as_str()?.to_owned(),
            tid: row["tid"].as_u64()? as u32,
            frames: if minor <= WITHOUT_MARKERS { of_oldest(&frames) } else { frames },
        })
    });
    told.collect::<Option<_>>().context("a row is not whole")
}

/// The frames in the oldest interpreter, which alone are shown where nothing tells in which order states run. Each other
/// interpreter's begin with a module.
fn of_oldest(frames: &[Place]) -> Vec<Place> {
    frames.rsplit(|place| place.function == "<module>").next().unwrap_or_default().to_vec()
}

fn parse_place(frame: &Value) -> Option<Place> {
    let (file, function) = (frame[0].as_str()?.to_owned(), frame[2].as_str()?.to_owned());
    Some(Place { file, line: frame[1].as_u64()? as u32, function })
}

/// The samples, once there are enough of each thread, and one of a wait for the lock of a subinterpreter that has its own.
fn await_captures(daemon: &Daemon, pid: u32, told: &[Told], has_own_locks: bool) -> Result<Vec<Sample>> {
    poll_until(STEP, || {
        let samples = samples_of(daemon, pid)?;
        let count = |one: &Told| samples.iter().filter(|sample| sample.tid == one.tid).map(|sample| sample.count).sum();
        let are_enough = told.iter().map(count).all(|count: u64| count >= CAPTURES);
        let is_lock_told = !has_own_locks || lock_waits(told, &samples).0 > 0;
        Ok((are_enough && is_lock_told).then_some(samples))
    })
    .context("some threads have no captures, or no wait for the lock of a subinterpreter is told")
}

/// The frames of the workload itself, without those of the library that starts threads.
fn own_frames(sample: &Sample) -> Vec<Place> {
    sample.python().into_iter().filter(|place| !place.file.ends_with("threading.py")).collect()
}

fn check(told: &Told, samples: &[Sample]) -> Result<()> {
    let own: Vec<_> = samples.iter().filter(|sample| sample.tid == told.tid && sample.count > 0).collect();
    let count = |wanted: &dyn Fn(&Sample) -> bool| {
        own.iter().filter(|sample| wanted(sample)).map(|sample| sample.count).sum::<u64>()
    };
    let (all, exact) = (count(&|_| true), count(&|sample| own_frames(sample) == told.frames));
    tell(&format!("  {:<22} {exact} of {all} captures are what it told", told.name));
    let other = own.iter().map(|sample| own_frames(sample)).find(|frames| *frames != told.frames);
    let (name, frames) = (&told.name, &told.frames);
    ensure!(exact as f64 >= EXACT * all as f64, "`{name}`: {exact} of {all}; told {frames:?}, found {other:?}");
    Ok(())
}

/// Captures and nanoseconds of waits of threads that share a subinterpreter for its lock, which one of them holds.
fn lock_waits(told: &[Told], samples: &[Sample]) -> (u64, u64) {
    let tids: Vec<_> = told.iter().filter(|one| one.name.starts_with(SHARING)).map(|one| one.tid).collect();
    let markers: Vec<_> = tids.iter().map(|tid| format!("(tid {tid})]")).collect();
    let is_marker = |name: &str| {
        name.starts_with("[waits for the GIL, held by ") && markers.iter().any(|marker| name.ends_with(marker))
    };
    let waits = samples.iter().filter(|sample| tids.contains(&sample.tid));
    let waits = waits.filter(|sample| sample.frames.iter().any(|frame| is_marker(&frame.function)));
    waits.fold((0, 0), |sum, wait| (sum.0 + wait.count, sum.1 + wait.ns))
}
