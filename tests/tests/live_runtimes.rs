//! Programs in Python and Java that were running before the daemon came: their functions show with CPU and waits.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::java::{compile_java, jdk_tool};
use profiler_tests::python::Python;
use profiler_tests::{Daemon, FunctionRow, Hotspots, Workload, host, live_host, poll_until, tell, workload};

const LONG_ENOUGH: Duration = Duration::from_secs(60);
const SECOND_NS: u64 = 1_000_000_000;

/// What a function must show a second of.
struct Expected {
    function: &'static str,
    state: &'static str,
}

#[test]
fn functions_of_a_running_python_show_with_cpu_and_waits() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let python = match Python::with_frame_pointers() {
        Ok(python) => python,
        Err(why) => {
            host::skip(&format!("{why:#}"));
            return Ok(());
        }
    };
    let command = python.perf_command(&workload::sources().join("runtime.py"))?;
    let workload = Workload::start_command(command)?;
    let expected = [
        Expected { function: "compute_primes", state: "cpu" },
        Expected { function: "sleep_a_while", state: "sleep" },
        Expected { function: "read_reply", state: "net" },
    ];
    show_functions(workload.pid(), "python", Daemon::functions, &expected)
}

#[test]
fn methods_of_a_running_jvm_show_with_cpu_and_waits() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(classes) = compile_java("Runtime17.java")? else { return Ok(()) };
    let mut command = Command::new(jdk_tool("java"));
    command.args(["-Xmx128m", "-cp"]).arg(&classes).arg("Runtime17");
    let workload = Workload::start_command(command)?;
    let expected = [
        Expected { function: "computePrimes", state: "cpu" },
        Expected { function: "sleepAWhile", state: "sleep" },
        Expected { function: "readReply", state: "net" },
    ];
    // The wait's innermost Java frame is one of the class library's; the method that called it is found with its callees.
    show_functions(workload.pid(), "jvm", Daemon::functions_inclusive, &expected)
}

/// Asks until each function has a second of its state, or the time is over.
fn show_functions(
    pid: u32,
    code: &str,
    ask: fn(&Daemon, u32) -> Result<Hotspots>,
    expected: &[Expected],
) -> Result<()> {
    let daemon = Daemon::start_for(pid, &["--window", "1s"])?;
    let mut last = Hotspots::default();
    let done = poll_until(LONG_ENOUGH, || {
        last = ask(&daemon, pid)?;
        Ok(expected.iter().all(|one| shows(&last, code, one)).then_some(()))
    });
    print_rows(&last);
    done.with_context(|| format!("functions are missing among {:?}; loss {:?}", last.names(), last.loss))
}

fn shows(hotspots: &Hotspots, code: &str, expected: &Expected) -> bool {
    let time = |row: &FunctionRow| match expected.state {
        "cpu" => row.cpu.get(code).copied().unwrap_or(0),
        class => row.waited(class),
    };
    hotspots.row(expected.function).is_some_and(|row| time(row) >= SECOND_NS)
}

fn print_rows(hotspots: &Hotspots) {
    let mut rows: Vec<_> = hotspots.rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.total));
    for row in rows.iter().take(12) {
        let ms = |ns: u64| ns as f64 / 1e6;
        tell(&format!("{:<60} cpu {:?} wait {:.0} ms", row.function, row.cpu, ms(row.wait_sum())));
    }
}
