//! Pythons that change while they are watched, that are not what they are called, and that are refused by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::interpreter::{Interpreter, roots};
use profiler_tests::stacks::{Place, Sample, samples_of};
use profiler_tests::{Daemon, Workload, live_host, poll_until, tell, workload};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);
/// How many captures of each stack there must be.
const CAPTURES: u64 = 20;
/// The part of the captures of a workload's own functions that must be one of the stacks they can have.
const EXACT: f64 = 0.98;
/// How many threads that came and went must have been seen in each worker.
const THREADS: usize = 5;
const SCRIPT: &str = "python/steps.py";

/// A stack: functions of the workload, leaf first.
type Expected<'a> = &'a [&'a str];

const STAYS: Expected<'_> = &["spin", "stay", "main", "<module>"];

#[test]
fn pythons_that_are_not_supported_are_refused_by_name_and_everything_else_goes_on() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    for (folder, program, reason) in [
        ("pypy", "/usr/bin/pypy3", "PyPy is not supported"),
        ("i386", "/usr/bin/python3.11", "Python in a 32-bit process is not supported"),
    ] {
        let interpreter = in_root(&roots().join("refused").join(folder), program)?;
        let mut workload = start(&interpreter, &["stay"])?;
        let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
        let python = await_python(&daemon, workload.pid(), |python| python["refused"].is_string())?;
        ensure!(python["refused"] == reason && python["version"].is_null(), "{program}: {python}");
        let rows = poll_until(STEP, || {
            let hotspots = daemon.functions(workload.pid())?;
            Ok((hotspots.total > 0 && !hotspots.rows.is_empty()).then_some(hotspots.rows.len()))
        })?;
        let doctor = profiler_tests::daemon::command(&["doctor", "--pid", &workload.pid().to_string()]).output()?;
        let text = String::from_utf8_lossy(&doctor.stdout);
        ensure!(text.contains(reason), "doctor says of {program}:\n{text}");
        tell(&format!("{program}: refused, {rows} functions"));
        ensure!(workload.program().is_running()?, "{program} ended");
    }
    Ok(())
}

#[test]
fn a_process_that_executes_another_python_has_the_lines_of_each() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let older = find(14, false)?;
    let newer = find(15, false)?;
    ensure!(older.root == newer.root, "3.14 and 3.15 lie in one root");
    let program = newer.program.display().to_string();
    let mut workload = start(older, &["change", &program])?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    let changes: Expected<'_> = &["spin", "change", "main", "<module>"];
    await_stacks(&daemon, older, workload.pid(), &[changes])?;
    workload.go()?;
    workload.program().await_line(STEP, |line| line.starts_with("ready ").then_some(()))?;
    await_stacks(&daemon, newer, workload.pid(), &[changes, STAYS])?;
    await_python(&daemon, workload.pid(), |python| {
        python["version"].as_str().is_some_and(|version| version.starts_with("3.15."))
    })?;
    Ok(())
}

#[test]
fn workers_that_were_forked_and_threads_that_come_and_go_have_their_lines() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    for interpreter in Interpreter::all().iter().filter(|one| one.root.is_some()) {
        follow_workers(interpreter).with_context(|| interpreter.to_string())?;
    }
    Ok(())
}

fn follow_workers(interpreter: &Interpreter) -> Result<()> {
    let mut workload = start(interpreter, &["fork"])?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    workload.go()?;
    let workers = workload.await_json(STEP)?.context("the workload ended")?;
    let workers = workers.as_array().context("the workers are no list")?;
    for worker in workers.iter().filter_map(Value::as_u64) {
        let stacks: [Expected<'_>; 2] = [&["passing"], &["run", "work", "fork", "main", "<module>"]];
        let samples = await_stacks(&daemon, interpreter, worker as u32, &stacks)?;
        let mut threads: Vec<_> = samples.iter().map(|sample| sample.tid).collect();
        threads.sort_unstable();
        threads.dedup();
        ensure!(threads.len() > THREADS, "worker {worker} has threads {threads:?}");
    }
    tell(&format!("{interpreter}: {} workers", workers.len()));
    Ok(())
}

#[test]
fn an_interpreter_replaced_on_disk_while_it_runs_has_its_lines() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let installed = find(13, true)?;
    let root = installed.root.as_ref().context("the library lies in a root")?;
    let library = installed.library.as_ref().context("there is a library")?;
    let [replaced, other] = [own_path("libpython-replaced"), own_path("libpython-other")];
    copy(root, library, &replaced)?;
    let interpreter = Interpreter { library: Some(replaced.clone()), ..installed.clone() };
    let workload = start(&interpreter, &["stay"])?;
    fs::write(inside(root, &other), b"another build")?;
    fs::rename(inside(root, &other), inside(root, &replaced))?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    await_stacks(&daemon, &interpreter, workload.pid(), &[STAYS])?;
    fs::remove_file(inside(root, &replaced))?;
    Ok(())
}

#[test]
fn a_program_that_has_an_interpreter_in_it_computes_in_python() -> Result<()> {
    /// The least part of the function's time on a CPU that is no native code's.
    const PYTHON: f64 = 0.98;
    let Some(_host) = live_host() else { return Ok(()) };
    let installed = find(11, false)?;
    let root = installed.root.as_ref().context("the program lies in a root")?;
    let program = own_path("reckoner");
    copy(root, &installed.program, &program)?;
    let interpreter = Interpreter { program, ..installed.clone() };
    let workload = start(&interpreter, &["stay"])?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    await_stacks(&daemon, &interpreter, workload.pid(), &[STAYS])?;
    let hotspots = daemon.functions(workload.pid())?;
    let spin = hotspots.rows.iter().find(|row| row.function == "spin").context("`spin` has no row")?;
    let (all, python) = (spin.cpu.values().sum::<u64>(), spin.cpu.get("python").copied().unwrap_or_default());
    tell(&format!("{interpreter}: {:?}", spin.cpu));
    ensure!(python as f64 >= PYTHON * all as f64, "`spin` computed {:?}", spin.cpu);
    fs::remove_file(inside(root, &interpreter.program))?;
    Ok(())
}

/// A file in a root that no other run of these tests has: roots are shared.
fn own_path(name: &str) -> PathBuf {
    Path::new("/tmp").join(format!("{name}-{}", std::process::id()))
}

/// An installed Python of a minor version, in a root.
fn find(minor: u32, is_shared: bool) -> Result<&'static Interpreter> {
    let mut all = Interpreter::all().iter();
    all.find(|one| one.minor() == minor && one.root.is_some() && one.is_shared == is_shared && !one.is_free_threaded)
        .with_context(|| format!("there is no Python 3.{minor} in a root; `cargo xtask setup --for live` unpacks one"))
}

/// A program in a root that is no supported Python.
fn in_root(root: &Path, program: &str) -> Result<Interpreter> {
    let program = PathBuf::from(program);
    ensure!(
        inside(root, &program).exists(),
        "`{}` is missing; `cargo xtask setup --for live` unpacks it",
        root.display()
    );
    let (version, root) = ((3, 0, 0), Some(root.to_owned()));
    Ok(Interpreter { version, root, program, library: None, is_shared: false, is_free_threaded: false })
}

fn inside(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

/// The copy appears whole, under a new inode.
fn copy(root: &Path, from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (inside(root, from), inside(root, to));
    let _ = fs::remove_file(&to);
    fs::copy(&from, &to).with_context(|| format!("failed to copy `{}`", from.display()))?;
    Ok(())
}

fn start(interpreter: &Interpreter, arguments: &[&str]) -> Result<Workload> {
    let script = interpreter.place(&workload::sources().join(SCRIPT))?;
    let mut command: Command = interpreter.command();
    command.arg("-u").arg(script).args(arguments);
    Workload::start_command(command)
}

/// What the daemon says about the Python of a process, once it says what is wanted.
fn await_python(daemon: &Daemon, pid: u32, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    poll_until(STEP, || {
        let answer = daemon.json("/api/v1/processes")?;
        let rows = answer["processes"].as_array().context("the answer has no processes")?;
        let row = rows.iter().find(|row| row["pid"] == pid);
        Ok(row.map(|row| row["python"].clone()).filter(&is_wanted))
    })
}

/// The samples of a process, once each of some stacks has enough captures. Fails if its own functions have other stacks.
fn await_stacks(
    daemon: &Daemon,
    interpreter: &Interpreter,
    pid: u32,
    expected: &[Expected<'_>],
) -> Result<Vec<Sample>> {
    let expected: Vec<_> = expected.iter().map(|stack| places(interpreter, stack)).collect::<Result<_>>()?;
    let count = |samples: &[Sample], wanted: &dyn Fn(&[Place]) -> bool| -> u64 {
        samples.iter().filter(|sample| wanted(&own_frames(sample))).map(|sample| sample.count).sum()
    };
    let samples = poll_until(STEP, || {
        let samples = samples_of(daemon, pid)?;
        let is_told = |stack: &Vec<Place>| count(&samples, &|frames| frames == stack) >= CAPTURES;
        Ok(expected.iter().all(is_told).then_some(samples))
    })
    .with_context(|| format!("process {pid} lacks stacks of {expected:?}"))?;
    let leaves: Vec<_> = expected.iter().filter_map(|stack| stack.first()).map(|leaf| leaf.function.clone()).collect();
    let is_own = |frames: &[Place]| frames.first().is_some_and(|leaf| leaves.contains(&leaf.function));
    let is_exact = |frames: &[Place]| expected.iter().any(|stack| stack == frames);
    let (own, exact) = (count(&samples, &is_own), count(&samples, &is_exact));
    tell(&format!("{interpreter}: {exact} of {own} captures of process {pid} have their lines"));
    let other = samples.iter().map(own_frames).find(|frames| is_own(frames) && !is_exact(frames));
    ensure!(exact as f64 >= EXACT * own as f64, "{exact} of {own} captures are right, others are {other:?}");
    Ok(samples)
}

/// The frames of the workload's file.
fn own_frames(sample: &Sample) -> Vec<Place> {
    sample.python().into_iter().filter(|place| place.file.ends_with("/steps.py")).collect()
}

/// Where functions of the workload stay.
fn places(interpreter: &Interpreter, functions: Expected<'_>) -> Result<Vec<Place>> {
    let source = workload::sources().join(SCRIPT);
    let file = interpreter.place(&source)?.display().to_string();
    let text = fs::read_to_string(&source)?;
    let line = |function: &str| {
        let mark = format!("# AT {function}");
        text.lines().position(|line| line.ends_with(&mark)).map(|at| at as u32 + 1)
    };
    let place = |function: &&str| {
        let line = line(function).with_context(|| format!("`{function}` has no mark"))?;
        Ok(Place { file: file.clone(), line, function: (*function).to_owned() })
    };
    functions.iter().map(place).collect()
}
