//! Programs that wait in one known way each: what they say about their waits, and what the daemon says.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::books::{self, Books, ByName};
use crate::daemon::Daemon;
use crate::ground_truth::Check;
use crate::program::poll_until;
use crate::workload::{Workload, scratch};

const STEP: Duration = Duration::from_secs(60);

/// What the daemon must say about the waits of a case.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The name of the case, as the program knows it.
    pub case: &'static str,
    /// The account that has the time, to one per cent: a wait class, or `throttled`.
    pub class: &'static str,
    /// What kind of wait of this class it is.
    pub detail: &'static str,
    /// Whether what is waited for is told as well: the program says which address, port, path or pid it is.
    pub subject: bool,
    /// Whether the thread has nothing to do meanwhile.
    pub idle: bool,
    /// Whether the thread also computes within what it measures, so that what the hypervisor takes is in its books.
    pub computes: bool,
    /// How many waits the program has to count, at least.
    pub waits: u64,
}

/// What the thread of a case says about itself.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its tid.
    pub thread: u32,
    /// From the begin of the case to its end.
    pub life_ns: u64,
    /// The time in its waits that it neither computed nor queued.
    pub wait_ns: u64,
    /// How many there were.
    pub waits: u64,
    /// What it waited for; empty if there is no word for it.
    pub subject: String,
}

/// A case that has ended, and the daemon's books of its thread.
#[derive(Debug)]
pub struct Outcome {
    /// What should be.
    pub expected: Expected,
    /// The process.
    pub pid: u32,
    /// The program's books.
    pub told: Told,
    /// The daemon's.
    pub books: Books,
    /// The daemon's details of waits, as `class/detail`, in nanoseconds.
    pub details: ByName,
    /// Whom or what its waits of the expected detail were for, in nanoseconds.
    pub subjects: ByName,
}

/// A started case.
pub struct Case {
    expected: Expected,
    workload: Workload,
    /// Its files.
    _folder: TempDir,
}

impl Case {
    /// Starts the program with the name of the case and a folder of its own, on a disk; it prints `ready` before this returns.
    pub fn start(expected: Expected, mut command: Command) -> Result<Self> {
        let folder = tempfile::tempdir_in(scratch()?).context("failed to create a folder")?;
        command.arg(expected.case).arg(folder.path());
        let workload = Workload::start_command(command).with_context(|| format!("case {}", expected.case))?;
        Ok(Self { expected, workload, _folder: folder })
    }

    /// The process that has the thread.
    pub fn pid(&self) -> u32 {
        self.workload.pid()
    }

    /// Waits for the end of the case.
    fn await_end(&mut self) -> Result<Told> {
        let line = self.workload.await_json(STEP)?.context("the case was not reported")?;
        Told::parse(&line).with_context(|| line.to_string())
    }
}

/// Runs cases at once, each in a process that is selected by its pid.
pub fn run_together(daemon: &Daemon, mut cases: Vec<Case>) -> Result<Vec<Outcome>> {
    for case in &cases {
        daemon.select(&format!("pid:{}", case.pid()))?;
        daemon.await_selected(case.pid())?;
    }
    cases.iter_mut().try_for_each(|case| case.workload.go())?;
    let end = |case: &mut Case| case.await_end().with_context(|| format!("case {}", case.expected.case));
    let told = cases.iter_mut().map(end).collect::<Result<Vec<_>>>()?;
    await_windows(daemon)?;
    let outcome = |(case, told): (&Case, Told)| read_outcome(daemon, case, told);
    cases.iter().zip(told).map(outcome).collect()
}

/// Waits until what was captured up to now is in windows that are closed and named.
fn await_windows(daemon: &Daemon) -> Result<()> {
    let first = daemon.windows()?;
    poll_until(STEP, || Ok((daemon.windows()? >= first + 2).then_some(())))
}

/// The daemon's books of the thread of a case that has ended.
fn read_outcome(daemon: &Daemon, case: &Case, told: Told) -> Result<Outcome> {
    let pid = case.pid();
    let query = format!("&pid={pid}&thread={}", told.thread);
    let row = daemon.breakdown(&query)?.into_iter().find(|row| row.pid == pid);
    let books = row.with_context(|| format!("{}: the breakdown has no row for {told:?}", case.expected.case))?;
    let rows = daemon.json(&format!("/api/v1/hotspots?last=1h&by=thread&idle=show&limit=1000{query}"))?;
    let mut details = ByName::new();
    for row in books::rows(&rows)? {
        for (label, ns) in row["wait_detail_ns"].as_object().into_iter().flatten() {
            *details.entry(label.clone()).or_default() += ns.as_u64().context("a detail is a count")?;
        }
    }
    let subjects = read_subjects(daemon, &query, &case.expected.label())?;
    Ok(Outcome { expected: case.expected, pid, told, books, details, subjects })
}

fn read_subjects(daemon: &Daemon, query: &str, label: &str) -> Result<ByName> {
    let answer = daemon.json(&format!("/api/v1/hotspots?last=1h&by=wait&idle=show&limit=1000{query}"))?;
    let rows = books::rows(&answer)?;
    let of_label = rows.iter().filter(|row| row["function"] == label);
    Ok(of_label.filter_map(|row| Some((row["waits_for"].as_str()?.to_owned(), row["total_ns"].as_u64()?))).collect())
}

impl Expected {
    /// Class and detail, as the daemon names them.
    fn label(&self) -> String {
        format!("{}/{}", self.class, self.detail)
    }
}

impl Told {
    fn parse(line: &Value) -> Result<Self> {
        let number = |key: &str| line[key].as_u64().with_context(|| format!("no `{key}`"));
        Ok(Self {
            thread: number("thread")? as u32,
            life_ns: number("life_ns")?,
            wait_ns: number("wait_ns")?,
            waits: number("waits")?,
            subject: line["subject"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

impl Outcome {
    /// Everything that is told of the case, by what of it: `class`, `idle`, `detail` and `subject`.
    pub fn checks(&self, part: f64) -> Vec<(&'static str, Check)> {
        let mut checks = vec![("class", self.check_total(part)), ("idle", self.check_idle(part))];
        checks.extend(self.check_detail(part).map(|check| ("detail", check)));
        checks.extend(self.check_subject(part).map(|check| ("subject", check)));
        checks
    }

    /// What is wrong if the program waited less often than it has to.
    pub fn too_few_waits(&self) -> Option<String> {
        let (told, least) = (self.told.waits, self.expected.waits);
        (told < least || self.told.wait_ns == 0).then(|| format!("{told} waits, not {least}"))
    }

    /// The class's total against the program's own books; while the hypervisor holds a CPU the two may part.
    fn check_total(&self, part: f64) -> Check {
        let found = match self.expected.class {
            "throttled" => self.books.throttled + self.books.runq,
            class => self.books.waited(class),
        };
        let parted = (self.books.steal as f64 * part) as u64;
        let stolen = if self.expected.computes { self.books.steal } else { 0 };
        Check::new(self.expected.case, self.told.wait_ns.saturating_sub(stolen), found, part, parted)
    }

    /// The detail's time against the same; `None` if the class says all.
    fn check_detail(&self, part: f64) -> Option<Check> {
        let label = self.expected.label();
        let total = self.check_total(part);
        let found = self.details.get(&label).copied().unwrap_or(0);
        let check = Check { what: format!("  {label}"), found, ..total };
        (!self.expected.detail.is_empty()).then_some(check)
    }

    /// The time of the subject the program says against the same; `None` if there is none to tell. One that the program does
    /// not say is none that could be told.
    fn check_subject(&self, part: f64) -> Option<Check> {
        let subject = &self.told.subject;
        let total = self.check_total(part);
        let found = self
            .subjects
            .iter()
            .filter(|(name, _)| !subject.is_empty() && name.contains(subject))
            .map(|(_, ns)| ns)
            .sum();
        let check = Check { what: format!("  for {subject}"), found, ..total };
        self.expected.subject.then_some(check)
    }

    /// The idle time against the same, or against none.
    fn check_idle(&self, part: f64) -> Check {
        let total = self.check_total(part);
        let expected = if self.expected.idle { total.expected } else { 0 };
        Check { what: "  idle".into(), expected, found: self.books.idle, ..total }
    }

    /// Every class that has time, for the reader of a failure.
    pub fn describe(&self) -> String {
        let waits = self.books.wait.iter().filter(|(_, ns)| **ns > 0);
        let waits: Vec<_> = waits.map(|(class, ns)| format!("{class} {:.3}", *ns as f64 / 1e6)).collect();
        let ms = |ns: u64| ns as f64 / 1e6;
        let Books { cpu, runq, steal, .. } = self.books;
        let details: Vec<_> = self.details.iter().map(|(label, ns)| format!("{label} {:.3}", ms(*ns))).collect();
        let others = format!("cpu {:.3} runq {:.3} steal {:.3}", ms(cpu), ms(runq), ms(steal));
        format!("{} waits; {others} {} ms; {}", self.told.waits, waits.join(" "), details.join(", "))
            + &format!("; for {:?}", self.subjects.keys())
    }
}
