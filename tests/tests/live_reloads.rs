//! A library takes the place of another at the same addresses: stacks through either are walked and named by the one that was there.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::stacks::{Sample, samples_of};
use profiler_tests::workload::{Build, build, compile};
use profiler_tests::{Daemon, Workload, live_host, tell};

const RUN: Duration = Duration::from_secs(60);

const FREQUENCY_HZ: u64 = 97;

/// How often both libraries are loaded and called.
const ROUNDS: u64 = 20;

/// The CPU time of each call.
const MILLISECONDS: u64 = 200;

/// One part in so many of a call's time passes until its library's mappings are read, 5 ms after a place was found for it, and told to the
/// kernel half: 20 of 200 ms, at most.
const UNTIL_KNOWN: u64 = 10;

/// What the functions of each library begin with, and the function of the program that calls it.
const LIBRARIES: [(&str, &str); 2] = [("first_", "call_first"), ("second_", "call_second")];

/// How the captures in libraries came out.
#[derive(Debug, Default)]
struct Tally {
    /// Every frame up to the program's own call has the name of its library.
    right: u64,
    /// A marker says that frames are missing, or some have no name.
    cut: u64,
    /// A frame belongs to the other library, or frames are missing and nothing says so.
    wrong: u64,
}

#[test]
fn a_library_in_the_place_of_another_has_its_own_frames_and_names() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let tally = reload(ROUNDS, MILLISECONDS)?;
    let expected = 2 * ROUNDS * MILLISECONDS * FREQUENCY_HZ / 1000;
    ensure!(tally.wrong == 0, "stacks of one library as the other's: {tally:?}");
    ensure!(tally.right * 2 >= expected, "half of {expected} samples at least should be whole: {tally:?}");
    ensure!(tally.cut * UNTIL_KNOWN <= tally.right, "most time should be known: {tally:?}");
    Ok(())
}

/// Has both libraries loaded and called in turn, so many times for so many milliseconds of CPU time.
fn reload(rounds: u64, milliseconds: u64) -> Result<Tally> {
    let (first, second) = (library("first", "400")?, library("second", "1600")?);
    let mut command = Command::new(compile("reloads")?);
    command.args([&first, &second]).args([rounds.to_string(), milliseconds.to_string()]);
    let mut workload = Workload::start_command(command)?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s", "--frequency", &FREQUENCY_HZ.to_string()])?;
    workload.go()?;
    let line = workload.await_json(RUN)?.context("the program printed no figures")?;
    ensure!(line["same"].as_u64() == Some(rounds), "the libraries lay apart: {line}");
    let mut tally = Tally::default();
    for sample in samples_of(&daemon, workload.pid())?.iter().filter(|sample| sample.state == "cpu") {
        tally.add(sample);
    }
    tell(&format!("{rounds} times {milliseconds} ms in either library: {tally:?}"));
    Ok(tally)
}

fn library(prefix: &str, room: &str) -> Result<PathBuf> {
    let (prefix, room) = (format!("-DPREFIX={prefix}"), format!("-DROOM={room}"));
    let flags = ["-O2", "-g", "-shared", "-fPIC", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"];
    let compiler = [&["gcc"][..], &flags, &[&prefix, &room]].concat();
    let output = format!("reloaded{prefix}.so");
    build(&Build { source: "reloaded.c", output: &output, compiler: &compiler, libraries: &[] })
}

impl Tally {
    fn add(&mut self, sample: &Sample) {
        let has = |wanted: &dyn Fn(&str) -> bool| sample.frames.iter().any(|frame| wanted(&frame.function));
        let is_marked = has(&|name| name.starts_with('['));
        let named = LIBRARIES.map(|(prefix, _)| has(&|name| name.starts_with(prefix)));
        let called = LIBRARIES.map(|(_, caller)| has(&|name| name == caller));
        let is_mixed = (0..2).any(|at| named[at] && (named[1 - at] || called[1 - at]));
        let is_whole = has(&|name| name == "entry") && (0..2).any(|at| called[at] && has(&|name| name == "main"));
        let is_library = named[0] || named[1] || has(&|name| name == "entry");
        let kind = match (is_mixed, is_whole, is_marked, is_library) {
            (true, ..) => &mut self.wrong,
            (_, true, false, _) => &mut self.right,
            (_, _, true, _) => &mut self.cut,
            (_, false, false, true) => &mut self.wrong,
            // The program itself, which loads and unloads.
            _ => return,
        };
        *kind += sample.count;
        if is_mixed || is_library && !is_whole && !is_marked {
            tell(&format!("wrong: {:?}", sample.frames.iter().map(|frame| &frame.function).collect::<Vec<_>>()));
        }
    }
}
