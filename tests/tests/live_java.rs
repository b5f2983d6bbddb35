//! Stacks of Java programs, on every virtual machine of this machine, compiled in several ways: thread by thread what the
//! program says itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::java::compile_java8;
use profiler_tests::java_truth::{Agreement, JavaStack, TELLING, ThreadTruth, is_java, parse_truth};
use profiler_tests::jvm::{Jvm, tell_missing};
use profiler_tests::stacks::{Place, Sample, samples_of};
use profiler_tests::{Daemon, Workload, live_host, tell};

const STEP: Duration = Duration::from_secs(60);
/// How long the threads are sampled.
const SAMPLED: Duration = Duration::from_secs(3);
/// Between two looks at where the program says that its threads are.
const PAUSE: Duration = Duration::from_millis(100);
/// A virtual machine that takes longer in one way of compiling is the last one of it; the rest is not run, and told.
const SLOW: Duration = Duration::from_secs(8);
/// So many virtual machines are run however long they take.
const ALWAYS: usize = 2;
/// The variable that has all of them run.
const ALL: &str = "PROFILERD_ALL_JVMS";
const OPTIONS: [&str; 2] = ["--frequency", "997"];

/// The part of all samples that must reach the start of their thread.
const COMPLETE: f64 = 0.995;
/// The same of code of the first compiler alone, some of whose stubs lie on frames of no known size.
const COMPLETE_OF_FIRST_COMPILER: f64 = 0.985;
/// The part of these that must be what the program told. A thread is on its way to its leaf for a thousandth of its time.
const RIGHT: f64 = 0.995;
/// The part that must be so to the innermost method, be it inlined or not.
const EXACT: f64 = 0.97;
/// The same of Java 8, whose compiled loops tell of no place at all.
const EXACT_OF_8: f64 = 0.3;
/// The part of samples of waits that must be, to the innermost frame, a stack that the program told while it was sampled.
const SEEN: f64 = 0.97;
/// The thread whose wait never ends: it is seen from outside alone.
const ETERNAL: &str = "forever";

/// What the last frame of a stack is called that is not complete.
const MARKERS: [&str; 2] = ["[truncated", "[no user stack]"];
/// What stands where frames of a virtual thread are not on the stack.
const FROZEN: &str = "[frozen frames]";
/// So many stacks are shown that are not as they should be.
const SHOWN: usize = 10;

/// How methods are compiled.
struct Mode {
    name: &'static str,
    options: &'static [&'static str],
    /// The first release that knows these options.
    oldest: u32,
    complete: f64,
    /// Whether a leaf may be part of its caller's code.
    inlines: bool,
    /// Whether threads are sampled while they start, before they run Java.
    starts: bool,
}

const DEFAULT: Mode =
    Mode { name: "default", options: &[], oldest: 8, complete: COMPLETE, inlines: true, starts: false };

#[test]
fn stacks_of_java_are_those_the_program_tells() -> Result<()> {
    compare_all(&DEFAULT)
}

#[test]
fn stacks_of_java_compiled_by_the_first_compiler_are_those_the_program_tells() -> Result<()> {
    let options = &["-XX:TieredStopAtLevel=1"];
    compare_all(&Mode { name: "first compiler", options, complete: COMPLETE_OF_FIRST_COMPILER, ..DEFAULT })
}

#[test]
fn stacks_of_interpreted_java_are_those_the_program_tells() -> Result<()> {
    compare_all(&Mode { name: "interpreter", options: &["-Xint"], inlines: false, ..DEFAULT })
}

#[test]
fn stacks_of_java_with_the_z_collector_are_those_the_program_tells() -> Result<()> {
    compare_all(&Mode { name: "Z collector", options: &["-XX:+UseZGC"], oldest: 15, ..DEFAULT })
}

#[test]
fn stacks_of_java_of_which_some_methods_are_interpreted_are_those_the_program_tells() -> Result<()> {
    let options = &["-XX:CompileCommand=quiet", "-XX:CompileCommand=exclude,Frames.interp*"];
    compare_all(&Mode { name: "some interpreted", options, ..DEFAULT })
}

#[test]
fn stacks_of_java_that_starts_under_the_daemon_are_those_the_program_tells() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java8("Frames.java")? else { return Ok(()) };
    check_each("started later", DEFAULT.oldest, |jvm| {
        let daemon = Daemon::start(&[&["--select", "comm:java"], &OPTIONS[..]].concat())?;
        let workload = start(jvm, DEFAULT.options, &classes, "Frames")?;
        daemon.await_selected(workload.pid())?;
        compare_with(jvm, &Mode { name: "started later", starts: true, ..DEFAULT }, workload, &daemon)
    })
}

/// The reference program on each virtual machine in turn.
fn compare_all(mode: &Mode) -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java8("Frames.java")? else { return Ok(()) };
    tell_missing();
    check_each(mode.name, mode.oldest, |jvm| compare(jvm, mode, &classes))
}

/// Checks the virtual machines from a release on, and says of all that fail why.
fn check_each(what: &str, oldest: u32, check: impl Fn(&Jvm) -> Result<()>) -> Result<()> {
    let mut failures = Vec::new();
    let mut slowest = Duration::ZERO;
    for (at, jvm) in Jvm::all().iter().filter(|jvm| jvm.release >= oldest).enumerate() {
        if at >= ALWAYS && slowest > SLOW && std::env::var_os(ALL).is_none() {
            tell(&format!("NOT RUN: {jvm}, {what}: another took {:.1} s; {ALL}=1 runs all", slowest.as_secs_f64()));
            continue;
        }
        let begin = Instant::now();
        failures.extend(check(jvm).err().map(|error| format!("{jvm}, {what}: {error:#}")));
        slowest = slowest.max(begin.elapsed());
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Runs the reference program, which was there before the daemon, and compares its threads' stacks with what it says.
fn compare(jvm: &Jvm, mode: &Mode, classes: &Path) -> Result<()> {
    let workload = start(jvm, mode.options, classes, "Frames")?;
    let daemon = Daemon::start_for(workload.pid(), &OPTIONS)?;
    compare_with(jvm, mode, workload, &daemon)
}

fn compare_with(jvm: &Jvm, mode: &Mode, mut workload: Workload, daemon: &Daemon) -> Result<()> {
    let begin = Instant::now();
    let looks = looks(&mut workload)?;
    let samples = samples_of(daemon, workload.pid())?;
    let is_wanted = |sample: &&Sample| !(mode.starts && is_before_java(sample));
    let samples: Vec<_> = samples.iter().filter(is_wanted).collect();
    let threads = tally(&looks, &samples);
    let seconds = begin.elapsed().as_secs_f64();
    tell(&format!("{:<20} {:<16} {seconds:>5.1} s {}", jvm.to_string(), mode.name, summary(&threads)));
    check(jvm, &threads, mode)
}

fn start(jvm: &Jvm, options: &[&str], classes: &Path, main: &str) -> Result<Workload> {
    let options = [&["-Xmx256m"], &TELLING[..], options].concat();
    let mut command = jvm.command(&options, classes, main)?;
    command.arg(jvm.scratch()?);
    Workload::start_command(command)
}

/// What the threads told, and where each was at several moments while it was sampled.
fn looks(workload: &mut Workload) -> Result<Vec<Vec<ThreadTruth>>> {
    let begin = Instant::now();
    let mut looks = Vec::new();
    while begin.elapsed() < SAMPLED {
        workload.go()?;
        let printed = workload.await_json(STEP)?.context("the workload ended")?;
        looks.push(parse_truth(&printed)?);
        thread::sleep(PAUSE);
    }
    Ok(looks)
}

/// What became of one thread's samples.
#[derive(Debug, Default)]
struct Compared {
    samples: u64,
    /// With a stack down to where the thread was started.
    complete: u64,
    /// Not complete, and nothing says so.
    unmarked: u64,
    /// Of the complete ones, as the program told.
    right: u64,
    /// Of the complete ones, another method counts as the leaf that is inlined into the same code.
    approximate: u64,
    /// Complete, in a wait whose stack must be one that was looked at.
    waits: u64,
    /// Of these, those that were.
    seen: u64,
    /// Stacks that are not complete or not right, for people, and how often.
    other: BTreeMap<String, u64>,
}

impl Compared {
    fn add(&mut self, sample: &Sample, truth: &ThreadTruth, looks: &[&ThreadTruth]) {
        let found = JavaStack::of(sample);
        let waits = sample.state == "wait" && truth.stays;
        let is_seen = looks.iter().any(|look| look.now == found.frames);
        // A worker of a pool has told nothing, but is seen while it has nothing to do.
        let is_right = truth.told.is_empty() && (is_seen || !waits);
        let agreement = if is_right { Agreement::Right } else { truth.agreement(&found, waits) };
        self.samples += sample.count;
        if !truth.is_reached(sample) {
            self.unmarked += if is_marked(sample) { 0 } else { sample.count };
            *self.other.entry(format!("not complete: {}", shown(&sample.frames))).or_default() += sample.count;
            return;
        }
        self.complete += sample.count;
        self.waits += if waits { sample.count } else { 0 };
        self.seen += if waits && is_seen { sample.count } else { 0 };
        match agreement {
            Agreement::Right => self.right += sample.count,
            Agreement::Approximate => self.approximate += sample.count,
            Agreement::Wrong => {
                *self.other.entry(format!("{}: {}", sample.state, shown(&found.frames))).or_default() += sample.count;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.complete += other.complete;
        self.unmarked += other.unmarked;
        self.right += other.right;
        self.approximate += other.approximate;
        self.waits += other.waits;
        self.seen += other.seen;
    }
}

/// The first frames of a stack and the last.
fn shown(frames: &[Place]) -> String {
    let names: Vec<_> = frames.iter().map(|place| format!("{}:{}", place.function, place.line)).collect();
    if names.len() <= 9 {
        return names.join(" < ");
    }
    format!("{} < … {} frames … < {}", names[..6].join(" < "), names.len(), names[names.len() - 3..].join(" < "))
}

fn part(count: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { count as f64 / of as f64 }
}

/// Whether a thread is on its way from where it began to its first method, and the stack says so to the end.
fn is_before_java(sample: &Sample) -> bool {
    JavaStack::of(sample).frames.is_empty() && !is_marked(sample)
}

/// Whether a stack says that it ends early.
fn is_marked(sample: &Sample) -> bool {
    sample.frames.last().is_some_and(|last| MARKERS.iter().any(|one| last.function.starts_with(one)))
}

fn tally(looks: &[Vec<ThreadTruth>], samples: &[&Sample]) -> BTreeMap<String, Compared> {
    let mut threads: BTreeMap<String, Compared> = BTreeMap::new();
    for truth in looks.last().into_iter().flatten() {
        let looks: Vec<_> = looks.iter().flatten().filter(|look| look.name == truth.name).collect();
        let compared = threads.entry(truth.name.clone()).or_default();
        for sample in samples.iter().filter(|sample| sample.thread == truth.name && sample.count > 0) {
            compared.add(sample, truth, &looks);
        }
    }
    threads
}

fn total(threads: &BTreeMap<String, Compared>) -> Compared {
    let mut total = Compared::default();
    threads.values().for_each(|one| total.merge(one));
    total
}

/// One line for all threads, and one for each of the commonest stacks that are not as they should be.
fn summary(threads: &BTreeMap<String, Compared>) -> String {
    let all = total(threads);
    let percent = |count, of| 100.0 * part(count, of);
    let mut text = format!(
        "{} threads {:>6} samples {:>6.2} % complete {:>6.2} % right {:>6.2} % approximate, of {:>5} in waits {:>6.2} % seen",
        threads.len(),
        all.samples,
        percent(all.complete, all.samples),
        percent(all.right, all.complete),
        percent(all.approximate, all.complete),
        all.waits,
        percent(all.seen, all.waits),
    );
    let others =
        threads.iter().flat_map(|(name, one)| one.other.iter().map(move |(stack, count)| (count, name, stack)));
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|(count, ..)| std::cmp::Reverse(**count));
    for (count, name, stack) in others.into_iter().take(SHOWN) {
        let _ = write!(text, "\n  {name}: {count} of {} {stack}", threads[name].samples);
    }
    text
}

fn check(jvm: &Jvm, threads: &BTreeMap<String, Compared>, mode: &Mode) -> Result<()> {
    let all = total(threads);
    let silent: Vec<_> =
        threads.iter().filter(|(name, one)| one.samples == 0 && *name != ETERNAL).map(|(name, _)| name).collect();
    let right = all.right + if mode.inlines { all.approximate } else { 0 };
    ensure!(silent.is_empty(), "no samples of {silent:?}");
    ensure!(
        part(all.complete, all.samples) >= mode.complete,
        "only {} of {} samples reach the start of their thread",
        all.complete,
        all.samples
    );
    ensure!(all.unmarked == 0, "{} stacks end early and do not say so", all.unmarked);
    let exact = if jvm.release == 8 && mode.inlines { EXACT_OF_8 } else { EXACT };
    ensure!(part(all.right, all.complete) >= exact, "only {} of {} stacks are right", all.right, all.complete);
    ensure!(part(right, all.complete) >= RIGHT, "only {right} of {} stacks are as the program told", all.complete);
    ensure!(part(all.seen, all.waits) >= SEEN, "only {} of {} waits are at a stack that was seen", all.seen, all.waits);
    Ok(())
}

/// The outermost method of the threads that carry virtual ones.
const OUTERMOST_OF_CARRIER: &str = "java.util.concurrent.ForkJoinWorkerThread.run";
/// The release from which on there are virtual threads.
const VIRTUAL_FROM: u32 = 21;

#[test]
fn stacks_of_virtual_threads_are_those_they_tell_or_say_that_frames_are_missing() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java8("VirtualThreads.java")? else { return Ok(()) };
    check_each("virtual threads", VIRTUAL_FROM, |jvm| compare_virtual(jvm, &classes))
}

fn compare_virtual(jvm: &Jvm, classes: &Path) -> Result<()> {
    let mut workload = start(jvm, &[], classes, "VirtualThreads")?;
    let daemon = Daemon::start_for(workload.pid(), &OPTIONS)?;
    let looks = looks(&mut workload)?;
    let truth = looks.last().context("the program told nothing")?;
    let samples = samples_of(&daemon, workload.pid())?;
    let tallies: Vec<_> = truth.iter().map(|thread| Virtual::of(thread, &samples)).collect();
    tell(&format!("{jvm}, virtual threads: {tallies:?}"));
    // The one that only sleeps is on no thread while it does.
    for (thread, tally) in truth.iter().zip(&tallies).filter(|(thread, _)| !thread.stays) {
        let told = tally.whole + tally.marked;
        ensure!(tally.samples > 0, "no samples of `{}`", thread.name);
        ensure!(part(told, tally.samples) >= RIGHT, "`{}`: {tally:?}", thread.name);
    }
    let never_unmounted = tallies.first().context("no thread was told")?;
    ensure!(part(never_unmounted.whole, never_unmounted.samples) >= RIGHT, "frames are missing: {never_unmounted:?}");
    Ok(())
}

/// What became of the samples of one virtual thread.
#[derive(Debug, Default)]
struct Virtual {
    samples: u64,
    /// All frames are there, as the thread told, and below them those of the thread that carries it.
    whole: u64,
    /// Some are, as the thread told, and a marker says that others are missing.
    marked: u64,
    other: Option<String>,
}

impl Virtual {
    fn of(truth: &ThreadTruth, samples: &[Sample]) -> Self {
        let mut tally = Self::default();
        let leaf = truth.told.first().map(|place| place.function.as_str()).unwrap_or_default();
        for sample in samples.iter().filter(|sample| sample.count > 0) {
            if let Some(at) = sample.frames.iter().position(|place| place.function == leaf) {
                tally.add(truth, sample, at);
            }
        }
        tally
    }

    fn add(&mut self, truth: &ThreadTruth, sample: &Sample, leaf: usize) {
        let callers: Vec<_> = sample.frames[leaf + 1..].iter().filter(|place| is_java(place)).collect();
        let told = &truth.told[1..];
        let common = told.iter().zip(&callers).take_while(|(told, found)| told == *found).count();
        let is_marked = sample.frames[leaf..].iter().any(|place| place.function == FROZEN);
        let goes_on = callers.get(common).is_some_and(|place| told.contains(place));
        self.samples += sample.count;
        let reaches_carrier = callers.last().is_some_and(|place| place.function == OUTERMOST_OF_CARRIER);
        if common == told.len() && reaches_carrier && !is_marked {
            self.whole += sample.count;
        } else if is_marked && !goes_on {
            self.marked += sample.count;
        } else {
            self.other = Some(shown(&sample.frames[leaf..]));
        }
    }
}
