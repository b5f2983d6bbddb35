//! What the daemon is, and which processes it profiles.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::document::{FormatParams, Refusals};
use super::super::error::ApiError;
use super::super::negotiation::Form;
use super::super::query::Pairs;
use super::AppState;
use crate::pipeline::{ProcessStatus, Status, UnwindStatus, UnwindTotals};
use crate::report::escape_untrusted;
use crate::report::span::rfc3339;
use crate::report::table::Table;
use crate::report::wait_period::WaitPeriod;

/// What the daemon is and does
#[utoipa::path(get, path = "/api/v1/status", tag = "status", params(FormatParams), responses(
    (status = 200, description = "The daemon, its fallbacks, its counters and what it lost", content(
        (StatusAnswer = "application/json"), (String = "text/plain; charset=utf-8"))),
    Refusals,
))]
pub(super) async fn status(State(state): State<AppState>, form: Form, mut pairs: Pairs) -> Result<Response, ApiError> {
    pairs.take_format()?;
    pairs.end()?;
    let answer = StatusAnswer::from(state.ask(|daemon| Ok(daemon.status()?)).await?);
    Ok(form.answer(&answer, || answer.to_text()))
}

/// The processes selected now
#[utoipa::path(get, path = "/api/v1/processes", tag = "status", params(FormatParams), responses(
    (status = 200, description = "One row per process", content(
        (ProcessesAnswer = "application/json"), (String = "text/plain; charset=utf-8"))),
    Refusals,
))]
pub(super) async fn processes(
    State(state): State<AppState>,
    form: Form,
    mut pairs: Pairs,
) -> Result<Response, ApiError> {
    pairs.take_format()?;
    pairs.end()?;
    let answer = ProcessesAnswer::from(state.ask(|daemon| Ok(daemon.processes()?)).await?);
    Ok(form.answer(&answer, || answer.to_text()))
}

#[derive(Serialize, ToSchema)]
pub(super) struct StatusAnswer {
    /// The version of the daemon.
    version: &'static str,
    /// When it started, in RFC 3339.
    started: String,
    /// Whether the kernel half is loaded and attached.
    attached: bool,
    /// The kernel's release.
    kernel: String,
    /// Where the kernel half keeps the state of a thread: `storage` or `hash`.
    variant: String,
    /// Which hook sees a thread resume: `sched_exit_tp`, `kprobe` or `sched_switch`.
    switch_in: String,
    /// What this kernel lacks and what that costs, in words; empty if nothing is missing.
    fallbacks: Vec<String>,
    /// On-CPU samples per CPU and second.
    frequency_hz: u32,
    /// Stacks captured for waits per CPU and second, on average.
    wait_budget_hz: u32,
    /// Waits at least this long are always captured; CPUs differ, and change it to keep to the budget.
    wait_period: WaitPeriod,
    /// The length of a window.
    window_ns: u64,
    /// Threads accounted now.
    threads: u64,
    /// Windows in memory.
    windows: u64,
    /// Memory the windows take.
    history_bytes: u64,
    /// The most memory they may take.
    history_limit_bytes: u64,
    /// How the walking of user stacks is prepared.
    unwind: UnwindAnswer,
    /// Counts since the start.
    counters: BTreeMap<&'static str, u64>,
    /// What was lost since the start, by reason; empty if nothing was.
    loss: BTreeMap<&'static str, u64>,
    /// The longest time the daemon did not look at what the kernel half recorded; records are lost only when they fill
    /// their ring meanwhile, and counted.
    longest_absence_ns: u64,
    /// The daemon's own CPU time.
    self_cpu_ns: u64,
    /// The daemon's resident memory.
    self_rss_bytes: u64,
}

impl From<Status> for StatusAnswer {
    fn from(status: Status) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started: rfc3339(status.started),
            attached: status.attached,
            kernel: status.kernel,
            variant: status.variant,
            switch_in: status.switch_in,
            fallbacks: status.fallbacks,
            frequency_hz: status.frequency_hz,
            wait_budget_hz: status.wait_budget_hz,
            wait_period: status.wait_periods.into(),
            window_ns: status.window_ns,
            threads: status.threads,
            windows: status.windows,
            history_bytes: status.history_bytes,
            history_limit_bytes: status.history_limit_bytes,
            unwind: status.unwind.into(),
            counters: status.counters.into_iter().collect(),
            loss: status.loss.iter().map(|(reason, count)| (reason.name(), count)).collect(),
            longest_absence_ns: status.longest_absence_ns,
            self_cpu_ns: status.self_cpu_ns,
            self_rss_bytes: status.self_rss_bytes,
        }
    }
}

/// What the kernel half knows of the code of processes.
#[derive(Serialize, ToSchema)]
struct UnwindAnswer {
    /// Processes whose mappings are known; forked ones that have changed nothing count with their parent.
    spaces: u64,
    /// Tables of unwind rules, one per executable.
    tables: u64,
    /// The memory they take in the kernel.
    table_bytes: u64,
    /// Distinct unwind rules.
    rules: u64,
    /// Executables whose table is being built; their code is followed by frame pointers meanwhile.
    building: u64,
    /// Executables that have no unwind information; their code is followed by frame pointers.
    without_table: u64,
}

impl From<UnwindTotals> for UnwindAnswer {
    fn from(totals: UnwindTotals) -> Self {
        let UnwindTotals { spaces, tables, table_bytes, rules, building, without_table } = totals;
        Self { spaces, tables, table_bytes, rules, building, without_table }
    }
}

impl UnwindAnswer {
    fn to_text(&self) -> String {
        let Self { spaces, tables, table_bytes, rules, building, without_table } = self;
        format!(
            "{tables} tables ({} MiB, {rules} rules) for {spaces} processes, {building} being built, {without_table} without",
            table_bytes >> 20
        )
    }
}

impl StatusAnswer {
    fn to_text(&self) -> String {
        let mut rows = self.facts();
        rows.extend(self.fallbacks.iter().map(|fallback| ("fallback", escape_untrusted(fallback).into_owned())));
        rows.extend(self.counters.iter().map(|(name, count)| (*name, count.to_string())));
        rows.extend(self.loss.iter().map(|(reason, count)| ("lost", format!("{count} ({reason})"))));
        let mut text = String::new();
        for (name, value) in rows {
            writeln!(text, "{name:<18}  {value}").expect("writing to a string succeeds");
        }
        text
    }

    fn sampling(&self) -> String {
        let Self { frequency_hz, wait_budget_hz, wait_period, .. } = self;
        format!("{frequency_hz} Hz on CPU; {wait_budget_hz} Hz of waits, all from {}", wait_period.in_words())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let kernel_half = match self.attached {
            true => format!("attached ({}, {})", self.variant, self.switch_in),
            false => "not attached".to_owned(),
        };
        vec![
            ("version", self.version.to_owned()),
            ("started", self.started.clone()),
            ("kernel", self.kernel.clone()),
            ("kernel half", kernel_half),
            ("sampling", self.sampling()),
            ("threads", self.threads.to_string()),
            ("windows", format!("{} of {}", self.windows, seconds(self.window_ns))),
            ("history", format!("{} of {} MiB", self.history_bytes >> 20, self.history_limit_bytes >> 20)),
            ("unwinding", self.unwind.to_text()),
            ("longest absence", format!("{} ms", self.longest_absence_ns / 1_000_000)),
            ("own CPU time", seconds(self.self_cpu_ns)),
            ("own memory", format!("{} MiB", self.self_rss_bytes >> 20)),
        ]
    }
}

fn seconds(ns: u64) -> String {
    format!("{} s", ns as f64 / 1e9)
}

#[derive(Serialize, ToSchema)]
pub(super) struct ProcessesAnswer {
    processes: Vec<ProcessRow>,
}

#[derive(Serialize, ToSchema)]
struct ProcessRow {
    /// The pid in the host's initial PID namespace.
    pid: u32,
    /// The name of the thread-group leader.
    comm: String,
    /// The path of the executable in the process's own root; absent where it cannot be read.
    exe: Option<String>,
    /// Threads accounted now.
    threads: u64,
    /// The ids of the targets that select it.
    targets: Vec<u32>,
    /// How far the walking of its user stacks is prepared; absent where that has not begun.
    unwind: Option<UnwindRow>,
    /// Its Python interpreter; absent if it has none.
    python: Option<RuntimeRow>,
    /// Its Java virtual machine; absent if it has none, or none that has begun to run.
    java: Option<RuntimeRow>,
}

/// The language runtime of a process.
#[derive(Serialize, ToSchema)]
struct RuntimeRow {
    /// The version; absent if the runtime is not supported.
    version: Option<String>,
    /// Why its frames are not shown; absent if they are.
    refused: Option<String>,
}

impl<V: ToString, R: ToString> From<Result<V, R>> for RuntimeRow {
    fn from(found: Result<V, R>) -> Self {
        match found {
            Ok(version) => Self { version: Some(version.to_string()), refused: None },
            Err(refusal) => Self { version: None, refused: Some(refusal.to_string()) },
        }
    }
}

impl RuntimeRow {
    fn to_text(&self) -> &str {
        self.version.as_deref().or(self.refused.as_deref()).unwrap_or_default()
    }
}

/// The executables and libraries a process has mapped.
#[derive(Serialize, ToSchema)]
struct UnwindRow {
    /// `ready`, or `loading` while tables are being built.
    state: &'static str,
    /// How many there are.
    executables: u64,
    /// How many have their table of unwind rules ready.
    ready: u64,
    /// How many wait for it; the rest has none. Code without a table is followed by frame pointers.
    building: u64,
}

impl From<UnwindStatus> for UnwindRow {
    fn from(status: UnwindStatus) -> Self {
        let UnwindStatus { executables, ready, building, .. } = status;
        Self { state: if building == 0 { "ready" } else { "loading" }, executables, ready, building }
    }
}

impl UnwindRow {
    fn to_text(&self) -> String {
        format!("{} {}/{}", self.state, self.ready, self.executables)
    }
}

impl From<Vec<ProcessStatus>> for ProcessesAnswer {
    fn from(processes: Vec<ProcessStatus>) -> Self {
        let row = |process: ProcessStatus| ProcessRow {
            pid: process.pid,
            comm: process.comm,
            exe: process.exe,
            threads: process.threads,
            targets: process.targets.iter().map(|id| id.0).collect(),
            python: process.unwind.as_ref().and_then(|status| status.python).map(RuntimeRow::from),
            java: process.unwind.as_ref().and_then(|status| status.java.clone()).map(RuntimeRow::from),
            unwind: process.unwind.map(UnwindRow::from),
        };
        Self { processes: processes.into_iter().map(row).collect() }
    }
}

impl ProcessesAnswer {
    fn to_text(&self) -> String {
        if self.processes.is_empty() {
            return "no process is selected; POST /api/v1/targets {\"select\":\"pid:N\"} selects one\n".to_owned();
        }
        let row = |process: &ProcessRow| {
            let targets: Vec<_> = process.targets.iter().map(u32::to_string).collect();
            vec![
                process.pid.to_string(),
                process.threads.to_string(),
                targets.join(","),
                process.unwind.as_ref().map_or_else(|| "-".to_owned(), UnwindRow::to_text),
                process.python.as_ref().map_or("-", RuntimeRow::to_text).to_owned(),
                escape_untrusted(process.java.as_ref().map_or("-", RuntimeRow::to_text)).into_owned(),
                escape_untrusted(&process.comm).into_owned(),
                escape_untrusted(process.exe.as_deref().unwrap_or("-")).into_owned(),
            ]
        };
        let mut table = Table::default().right("PID").right("THREADS");
        for title in ["TARGETS", "UNWINDING", "PYTHON", "JAVA", "COMM", "EXE"] {
            table = table.left(title);
        }
        self.processes.iter().for_each(|process| table.row(row(process)));
        table.render()
    }
}
