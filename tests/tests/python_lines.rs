//! Line tables of Python against the interpreters themselves: the same line at every code unit of their libraries.
//!
//! What this machine has no Python for is said and not run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, thread};

use anyhow::{Context, Result, ensure};
use profiler_daemon::runtime::python::Version;
use profiler_daemon::runtime::python::line_table::line_at;
use profiler_tests::interpreter::{Interpreter, run_script, tell_missing};
use profiler_tests::tell;

/// Fewer code objects than the smallest library has.
const FEWEST: usize = 5_000;

#[test]
fn every_code_unit_of_the_standard_library_is_on_the_line_the_interpreter_says() -> Result<()> {
    tell_missing();
    let interpreters: Vec<_> = Interpreter::all().iter().filter(|interpreter| interpreter.library.is_none()).collect();
    let next = AtomicUsize::new(0);
    let compare_some = || -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        while let Some(interpreter) = interpreters.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tally = compare(interpreter)?;
            tell(&format!("{interpreter}: {tally}"));
            ensure!(tally.objects >= FEWEST, "{interpreter} has only {} code objects", tally.objects);
            wrong.extend(tally.wrong);
        }
        Ok(wrong)
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(compare_some);
        (compare_some(), other.join().expect("comparing does not panic"))
    });
    let wrong = [one?, other?].concat();
    ensure!(wrong.is_empty(), "lines differ:\n{}", wrong.join("\n"));
    Ok(())
}

/// What was compared of one interpreter.
#[derive(Default)]
struct Tally {
    objects: usize,
    units: usize,
    mismatches: usize,
    /// A few of them, for people.
    wrong: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} code objects, {} code units, {} on another line", self.objects, self.units, self.mismatches)
    }
}

fn compare(interpreter: &Interpreter) -> Result<Tally> {
    let version = Version::of_minor(u8::try_from(interpreter.minor())?);
    let mut tally = Tally::default();
    for text in run_script(interpreter, "lines.py", &[])?.lines() {
        let object = CodeObject::parse(text).with_context(|| format!("failed to parse `{text}`"))?;
        tally.objects += 1;
        object.check(version, &mut tally);
    }
    Ok(tally)
}

/// One line of what `lines.py` prints.
struct CodeObject<'a> {
    name: &'a str,
    first_line: u32,
    table: Vec<u8>,
    runs: Vec<Run>,
}

/// Bytes of code that are on one line, or on none.
#[derive(Debug, PartialEq)]
struct Run {
    begin: u32,
    end: u32,
    line: Option<u32>,
}

impl<'a> CodeObject<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (head, runs) = text.split_once(" runs=")?;
        let [name, first, _length, table] = head.split(' ').collect::<Vec<_>>()[..] else { return None };
        Some(Self {
            name,
            first_line: first.strip_prefix("first=")?.parse().ok()?,
            table: parse_hex(table.strip_prefix("table=")?)?,
            runs: runs.split_whitespace().map(parse_run).collect::<Option<_>>()?,
        })
    }

    /// Code that belongs to no line is shown on the line before it.
    fn check(&self, version: Version, tally: &mut Tally) {
        let mut before = self.first_line;
        for run in &self.runs {
            before = run.line.unwrap_or(before);
            for offset in (run.begin..run.end).step_by(2) {
                let found = line_at(version, &self.table, self.first_line, offset);
                tally.units += 1;
                if found != Some(before) {
                    tally.miss(format!("{} at {offset}: {found:?} instead of {before}, {version}", self.name));
                }
            }
        }
    }
}

impl Tally {
    fn miss(&mut self, what: String) {
        const SHOWN: usize = 5;
        self.mismatches += 1;
        if self.wrong.len() < SHOWN {
            self.wrong.push(what);
        }
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    Some(digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn parse_run(text: &str) -> Option<Run> {
    let (range, line) = text.split_once(':')?;
    let (begin, end) = range.split_once('-')?;
    let line = if line == "none" { None } else { Some(line.parse().ok()?) };
    Some(Run { begin: begin.parse().ok()?, end: end.parse().ok()?, line })
}

#[test]
fn a_code_object_is_read_from_its_line_of_text() {
    let object = CodeObject::parse("a.py:f first=2 codelen=6 table=02ff runs=0-2:none 2-6:4").expect("well formed");
    assert_eq!((object.name, object.first_line, object.table), ("a.py:f", 2, vec![0x02, 0xff]));
    assert_eq!(object.runs[1], Run { begin: 2, end: 6, line: Some(4) });
    assert!(CodeObject::parse("a.py:f first=2 table=02ff runs=").is_none());
}
