//! `ci`: everything, in the order in which failures show soonest.
use super::build_ebpf::BuildEbpf;
use super::fuzz::Fuzz;
use super::lint::Lint;
use super::live::{Live, Objects, rebuilt_objects};
use super::setup::Setup;
use super::test::Test;
use super::vm::Vm;
use crate::vm::KERNELS;
use anyhow::{Context, Result};
use clap::Args;
use std::time::{Duration, Instant};

/// Run everything a change must pass.
///
/// Set-up, lint, the kernel half from source, every ring of tests on the committed objects, each fuzz target for some
/// seconds, the oldest and the newest kernel, and the live tests on the rebuilt objects: all of them, if their programs differ
/// from the committed ones. Stops at the first failure; prints how long each step took. With CI=true in the environment
/// nothing may be skipped.
#[derive(Args)]
pub(crate) struct Ci {}

type Action = fn() -> Result<()>;

/// Of each target: enough to run into what a change broke, and to look around a little.
const FUZZ_SECONDS: u64 = 15;

const STEPS: [(&str, Action); 9] = [
    ("set up", || Setup::for_rings(&[]).run()),
    ("lint", || Lint {}.run()),
    ("build the kernel half from source", || BuildEbpf::into(rebuilt_objects()).run()),
    ("unprivileged tests", || Test::unprivileged().run()),
    ("fuzz", || Fuzz::all(FUZZ_SECONDS).run()),
    ("live tests on the committed objects", || Live::new(Objects::Prebuilt, None).run()),
    ("oldest kernel", || Vm::on(&KERNELS[0]).run()),
    ("newest kernel", || Vm::on(&KERNELS[KERNELS.len() - 1]).run()),
    ("live tests on the rebuilt objects", live_on_rebuilt),
];

/// One live test that loads everything and holds every class of time against the kernel's books.
const GROUND_TRUTH: &str = "every_class_of_time_is_exact";

/// What was shown of the committed programs holds for the rebuilt ones if these are the same. Then all that is left to show
/// is that they load from where they were built. Other tools make other programs, which have to show everything.
fn live_on_rebuilt() -> Result<()> {
    let same = BuildEbpf::are_committed(&rebuilt_objects())?;
    Live::new(Objects::Source, same.then(|| GROUND_TRUTH.to_owned())).run()
}

impl Ci {
    /// Runs the steps until one fails.
    pub(crate) fn run(self) -> Result<()> {
        let begin = Instant::now();
        let mut summary = Vec::new();
        let result = STEPS.iter().try_for_each(|(name, action)| {
            eprintln!("\n=== {name}");
            let begin = Instant::now();
            let result = action().with_context(|| format!("ci failed at `{name}`"));
            summary.push((*name, begin.elapsed(), result.is_ok()));
            eprintln!("=== {name}: {}", shown(begin.elapsed()));
            result
        });
        print_summary(&summary, begin.elapsed());
        result
    }
}

fn print_summary(summary: &[(&str, Duration, bool)], total: Duration) {
    eprintln!("\n=== summary");
    for (name, elapsed, passed) in summary {
        eprintln!("{:<40} {:>9}  {}", name, shown(*elapsed), if *passed { "ok" } else { "FAILED" });
    }
    for (name, _) in &STEPS[summary.len()..] {
        eprintln!("{name:<40} {:>9}  not run", "");
    }
    eprintln!("{:<40} {:>9}", "total", shown(total));
}

fn shown(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{} m {:02} s", seconds / 60, seconds % 60)
}
