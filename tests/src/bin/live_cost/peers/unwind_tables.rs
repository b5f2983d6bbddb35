//! What unwind tables cost: the time to make them and their bytes, for some executables of this machine.

use std::fmt::Write;
use std::fs::File;
use std::time::{Duration, Instant};

use profiler_daemon::unwind::{Source, Table};

/// Interpreter, C library and compiler of Debian, and this program.
const EXECUTABLES: [&str; 4] = [
    "/usr/bin/python3.11",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/gcc/x86_64-linux-gnu/12/cc1",
    "/proc/self/exe",
];

/// Times each table is made; the fastest counts.
const TIMES: usize = 5;

/// A table of tables in Markdown; executables that are not there are left out.
pub(super) fn of_this_machine() -> String {
    let mut text =
        "| executable | rows | made in, ms | ms per 100k rows | bytes per 100k rows |\n|---|---:|---:|---:|---:|\n"
            .to_owned();
    for path in EXECUTABLES {
        let Some((table, time)) = make(path) else { continue };
        let (rows, ms) = (table.rows.len() as f64, time.as_secs_f64() * 1e3);
        let bytes = table.bytes() as f64 / rows * 1e5;
        let _ = writeln!(text, "| {path} | {rows} | {ms:.1} | {:.1} | {bytes:.0} |", ms / rows * 1e5);
    }
    text
}

/// The table, and the time from the open file to it.
fn make(path: &str) -> Option<(Table, Duration)> {
    let file = File::open(path).ok()?;
    let one = || {
        let begin = Instant::now();
        let table = Source::open(&file).ok()?.build();
        Some((table, begin.elapsed()))
    };
    (0..TIMES).filter_map(|_| one()).min_by_key(|(_, time)| *time)
}
