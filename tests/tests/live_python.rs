//! Stacks of running Pythons, of every version on this machine: thread by thread what the interpreter says itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::interpreter::{Interpreter, check_each};
use profiler_tests::python_truth::{MOVING, ThreadTruth, parse_threads, parse_truth};
use profiler_tests::stacks::{Sample, samples_of};
use profiler_tests::{Daemon, Workload, live_host, tell, workload};

const STEP: Duration = Duration::from_secs(60);
/// How long the threads are sampled.
const SAMPLED: Duration = Duration::from_secs(6);
/// Between two looks at where the interpreter says that its threads are.
const PAUSE: Duration = Duration::from_millis(300);
/// So many Python frames of a deeper stack must be there.
const DEEPEST: usize = 256;
/// The part of all samples of Python threads that must have a whole Python stack.
const COVERED: f64 = 0.995;
/// The part of a thread's samples that must be one of the stacks the interpreter told.
const EXACT: f64 = 0.98;
/// The same of threads that also pass through other lines, most of which no look meets.
const EXACT_OF_MOVING: f64 = 0.5;

#[test]
fn stacks_of_every_python_are_those_its_faulthandler_tells() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    check_each(Interpreter::all(), compare)
}

/// Runs the reference program, which was there before the daemon, and compares its threads' stacks with what it says.
fn compare(interpreter: &Interpreter) -> Result<()> {
    let script = interpreter.place(&workload::sources().join("python/reference.py"))?;
    let mut command = interpreter.command();
    command.arg("-u").arg(script);
    let mut workload = Workload::start_command(command)?;
    let daemon = Daemon::start_for(workload.pid(), &["--window", "1s"])?;
    let truth = looks(&mut workload, interpreter.is_free_threaded)?;
    let threads = tally(&truth, &samples_of(&daemon, workload.pid())?);
    tell(&format!("{interpreter}\n{}", table(&threads)));
    check(&threads)
}

/// Where each thread was, at several moments while it was sampled. A look that met a thread on its way is left out: two
/// ways of asking then say different things. Where threads run at once, only that thread is left out of the look.
fn looks(workload: &mut Workload, is_free_threaded: bool) -> Result<Vec<ThreadTruth>> {
    let begin = Instant::now();
    let (mut looks, mut left_out) = (Vec::new(), Vec::new());
    while begin.elapsed() < SAMPLED {
        workload.go()?;
        let printed = workload.await_json(STEP)?.context("the workload ended")?;
        let look = if is_free_threaded {
            parse_threads(&printed).map(|threads| threads.into_iter().filter_map(Result::ok).collect())
        } else {
            parse_truth(&printed)
        };
        match look {
            Ok(look) => looks.push(look),
            Err(why) => left_out.push(format!("{why:#}")),
        }
        thread::sleep(PAUSE);
    }
    ensure!(looks.len() > 3 * left_out.len(), "the interpreter contradicts itself:\n{}", left_out.join("\n"));
    Ok(looks.concat())
}

/// What became of one thread's samples.
#[derive(Debug, Default)]
struct Compared {
    samples: u64,
    /// With a Python stack down to the thread's first function, or as many frames as must be there.
    whole: u64,
    /// Equal to what the interpreter told at some moment.
    exact: u64,
    /// A stack that is not, for people.
    other: Option<String>,
}

impl Compared {
    fn add(&mut self, sample: &Sample, truth: &[&ThreadTruth]) {
        let found = sample.python();
        let is_whole = found.last().is_some_and(|place| place.function.ends_with("_bootstrap"));
        let is_exact = truth.iter().any(|one| one.agrees(&found, DEEPEST));
        self.samples += sample.count;
        self.whole += if is_whole || found.len() >= DEEPEST { sample.count } else { 0 };
        self.exact += if is_exact { sample.count } else { 0 };
        if !is_exact {
            let leaf: Vec<_> = found.iter().take(2).map(|one| format!("{}:{}", one.function, one.line)).collect();
            self.other = Some(format!("{} {} < … {} frames", sample.state, leaf.join(" < "), found.len()));
        }
    }

    fn part(&self, count: u64) -> f64 {
        count as f64 / self.samples.max(1) as f64
    }
}

fn tally(truth: &[ThreadTruth], samples: &[Sample]) -> BTreeMap<String, Compared> {
    let mut threads: BTreeMap<String, Compared> = BTreeMap::new();
    let names: BTreeMap<u32, &str> = truth.iter().map(|one| (one.tid, one.name.as_str())).collect();
    for (tid, name) in names {
        let told: Vec<_> = truth.iter().filter(|one| one.tid == tid).collect();
        let compared = threads.entry(name.to_owned()).or_default();
        for sample in samples.iter().filter(|sample| sample.tid == tid && sample.count > 0) {
            compared.add(sample, &told);
        }
    }
    threads
}

fn table(threads: &BTreeMap<String, Compared>) -> String {
    let mut text = String::new();
    for (name, one) in threads {
        let (whole, exact) = (100.0 * one.part(one.whole), 100.0 * one.part(one.exact));
        let other = one.other.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "  {name:<20} {:>5} samples {whole:>6.1} % whole {exact:>6.1} % exact  {other}",
            one.samples
        );
    }
    text
}

fn check(threads: &BTreeMap<String, Compared>) -> Result<()> {
    let sum = |count: fn(&Compared) -> u64| threads.values().map(count).sum::<u64>();
    let (samples, whole) = (sum(|one| one.samples), sum(|one| one.whole));
    let silent: Vec<_> = threads.iter().filter(|(_, one)| one.samples == 0).map(|(name, _)| name).collect();
    let least = |name: &str| if MOVING.contains(&name) { EXACT_OF_MOVING } else { EXACT };
    let wrong = threads.iter().filter(|(name, one)| one.part(one.exact) < least(name));
    let wrong: Vec<_> =
        wrong.map(|(name, one)| format!("{name}: {}", one.other.as_deref().unwrap_or_default())).collect();
    ensure!(silent.is_empty(), "no samples of {silent:?}");
    ensure!(whole as f64 >= COVERED * samples as f64, "only {whole} of {samples} samples have a whole Python stack");
    ensure!(wrong.is_empty(), "stacks differ from those the interpreter told:\n  {}", wrong.join("\n  "));
    Ok(())
}
