//! A Python service whose lines are known: each line has its time in the right column, by what the service measures of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::books::{self, FunctionRow};
use profiler_tests::interpreter::Interpreter;
use profiler_tests::{Daemon, Workload, live_host, tell, workload};
use serde_json::Value;

const STEP: Duration = Duration::from_secs(60);
const ROUNDS: usize = 2;
/// The part of a phase that may be outside of its line: reading the clocks.
const OUTSIDE: f64 = 0.02;
/// Standard errors a row may be off by chance; with some twenty rows, one in ten thousand runs has one further off.
const ERRORS: u64 = 5;

/// Where the time of a phase's line belongs.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// On a CPU, in this kind of code: as long as the thread's CPU clock says.
    Cpu(&'static str),
    /// On a CPU, in this part of the interpreter.
    Leaf(&'static str),
    /// In waits of this class, and of this detail if there is one: all that is neither computing nor queueing.
    Wait(&'static str, Option<&'static str>),
}

/// The column of each phase. What reads from a disk waits for it only if the disk is slow enough to be waited for.
const COLUMNS: &[(&str, Column)] = &[
    ("bytecode", Column::Cpu("python")),
    ("zlib", Column::Cpu("native")),
    ("sqlite", Column::Cpu("native")),
    ("numpy", Column::Cpu("native")),
    ("gc", Column::Leaf("gc")),
    ("sleep", Column::Wait("sleep", None)),
    ("http", Column::Wait("net", None)),
    ("http_timeout", Column::Wait("net", None)),
    ("disk", Column::Wait("disk", None)),
    ("hold", Column::Wait("sleep", None)),
    ("lock", Column::Wait("lock", Some("lock/threading lock"))),
    ("gil", Column::Wait("lock", Some("lock/gil"))),
    ("parked", Column::Wait("sync", Some("sync/idle worker"))),
];

/// What the service measured of all threads of a phase.
#[derive(Debug, Default)]
struct Measured {
    line: u64,
    cpu_ns: u64,
    wall_ns: u64,
}

#[test]
fn each_line_of_a_python_service_has_its_time_in_the_right_column() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    // Layouts by a table, published layouts, the newest; Debian 13's 3.13 comes with NumPy.
    let minors = [11, 13, 15];
    let is_chosen = |one: &Interpreter, minor| one.minor() == minor && !one.is_shared && !one.is_free_threaded;
    let chosen = minors.map(|minor| Interpreter::all().iter().rfind(|one| is_chosen(one, minor)));
    for (minor, interpreter) in minors.into_iter().zip(chosen) {
        let interpreter = interpreter.with_context(|| format!("no Python 3.{minor} is here"))?;
        tell(&interpreter.to_string());
        check_service(interpreter).with_context(|| interpreter.to_string())?;
    }
    Ok(())
}

fn check_service(interpreter: &Interpreter) -> Result<()> {
    let mut command = interpreter.command();
    command.arg("-u").arg(interpreter.place(&workload::sources().join("python/service.py"))?);
    let mut service = Workload::start_command(command)?;
    let daemon = Daemon::start_for(service.pid(), &["--window", "1s"])?;
    let measured = run_rounds(&mut service)?;
    let answer = daemon.json(&format!(
        "/api/v1/hotspots?last=1h&pid={}&by=line&inclusive=true&idle=show&limit=1000&path=**/service.py",
        service.pid()
    ))?;
    let rows = books::rows(&answer)?;
    let outcomes = measured.iter().map(|(phase, truth)| compare(phase, truth, rows));
    let (told, wrong): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
    told.into_iter().flatten().for_each(|line| tell(&line));
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Runs some rounds; what was measured in all of them, by phase.
fn run_rounds(service: &mut Workload) -> Result<BTreeMap<String, Measured>> {
    let mut measured: BTreeMap<String, Measured> = BTreeMap::new();
    for _ in 0..ROUNDS {
        service.go()?;
        let round = service.await_json(STEP)?.context("the service ended")?;
        tell(&format!("left out: {}", round["left_out"]));
        for row in books::rows(&round)? {
            let phase = row["phase"].as_str().context("a row has no phase")?;
            let sum = measured.entry(phase.to_owned()).or_default();
            sum.line = count(row, "line")?;
            sum.cpu_ns += count(row, "cpu_ns")?;
            sum.wall_ns += count(row, "wall_ns")?;
        }
    }
    Ok(measured)
}

/// Compares a phase with its line's row; what was found, for people.
fn compare(phase: &str, truth: &Measured, rows: &[Value]) -> Result<String> {
    let (_, column) = COLUMNS.iter().find(|(name, _)| *name == phase).with_context(|| format!("phase {phase}?"))?;
    let json = rows.iter().find(|row| row["line"].as_u64() == Some(truth.line));
    let json = json.with_context(|| format!("{phase}: no row for line {}", truth.line))?;
    let row = FunctionRow::parse(json)?;
    let (found_ns, true_ns) = match column {
        Column::Cpu(kind) => (row.cpu.get(*kind).copied().unwrap_or_default(), truth.cpu_ns),
        Column::Leaf(leaf) => (json["cpu_leaf_ns"][*leaf].as_u64().unwrap_or_default(), truth.cpu_ns),
        Column::Wait(class, None) => (row.waited(class), truth.wall_ns - truth.cpu_ns - row.runq),
        Column::Wait(_, Some(detail)) => {
            (json["wait_detail_ns"][*detail].as_u64().unwrap_or_default(), truth.wall_ns - truth.cpu_ns - row.runq)
        }
    };
    let most_off = ERRORS * row.stderr + (truth.wall_ns as f64 * OUTSIDE) as u64;
    let code = json["code"].as_str().unwrap_or_default();
    ensure!(code.contains(&format!("# LINE: {phase}")), "{phase}: the text of line {} is {code:?}", truth.line);
    ensure!(
        found_ns.abs_diff(true_ns) <= most_off,
        "{phase}: {found_ns} ns, not {true_ns} ± {most_off} in {column:?}: {json}"
    );
    let [found, wanted, error] = [found_ns, true_ns, row.stderr].map(|ns| ns as f64 / 1e6);
    Ok(format!("{phase:<14} {found:>8.1} ms of {wanted:>8.1} ms, standard error {error:.1} ms, in {column:?}"))
}

fn count(row: &Value, key: &str) -> Result<u64> {
    row[key].as_u64().with_context(|| format!("`{key}` is no count in {row}"))
}
