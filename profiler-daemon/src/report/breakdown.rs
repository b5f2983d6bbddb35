//! Per process: exactly how long its threads computed, queued and waited, and for what.
//!
//! Every number but `cpu_by` is exact. `cpu_by` is sampled and always sums up to `cpu_ns`: CPU time that no sample covers is
//! spread over the kinds of code in proportion to the samples there are, and `cpu_unsampled_ns` says how much that was. Without
//! any CPU sample of a process it stands in `kernel` for kernel threads, else in `native`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use super::amounts::{Amounts, CpuNs, WaitNs, apportion};
use super::calibrate::calibrate;
use super::cpu_leaf::CpuLeafNs;
use super::span::Span;
use super::table::{Table, counted, duration, loss_counts, loss_line, percent, percent_in_words};
use super::wait_period::WaitPeriod;
use super::{Filter, ReportError, WaitLengthStats, WaitLengthsByClass, escape_untrusted};
use crate::profile::{CodeKind, Leaf, ProcessId, Profile, State, TaskTotals, ThreadId};

/// What to break down, in which order, and how many rows.
#[derive(Debug, Clone, Default)]
pub struct BreakdownQuery {
    /// Which processes, threads and states. Paths and idle time play no role here.
    pub filter: Filter,
    /// The order of the rows.
    pub sort: BreakdownSort,
    /// The most rows to give; all if absent.
    pub limit: Option<usize>,
}

/// The order of the rows; the longest time first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakdownSort {
    /// Computing, queueing and waiting, but not idling.
    #[default]
    Busy,
    /// All time.
    Wall,
    /// Computing.
    Cpu,
    /// Waiting, idle or not.
    Wait,
    /// Waiting for a CPU.
    Runq,
    /// The name of the process, alphabetically.
    Name,
}

impl FromStr for BreakdownSort {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "busy" => Ok(Self::Busy),
            "wall" => Ok(Self::Wall),
            "cpu" => Ok(Self::Cpu),
            "wait" => Ok(Self::Wait),
            "runq" => Ok(Self::Runq),
            "name" => Ok(Self::Name),
            _ => Err(ReportError::unknown_word("sort", text, "busy, wall, cpu, wait, runq or name")),
        }
    }
}

/// Where the time of each process went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Breakdown {
    /// The time covered.
    pub window: Span,
    /// One row per process.
    pub rows: Vec<BreakdownRow>,
    /// How many rows were cut by the limit or the least percentage.
    pub rows_cut: usize,
    /// The sums over all processes selected, rows that were cut included.
    pub total: Books,
    /// By which T waits were chosen for a stack.
    pub wait_period: WaitPeriod,
    /// What could not be recorded, by reason, as counts.
    pub loss: BTreeMap<String, u64>,
}

/// Where the time of one process went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BreakdownRow {
    /// The pid in the initial PID namespace.
    pub pid: u32,
    /// The name of the process. Untrusted text.
    pub comm: String,
    /// Its books.
    #[serde(flatten)]
    pub books: Books,
}

/// Thread-nanoseconds by state: `wall_ns` = `cpu_ns` + `runq_ns` + `throttled_ns` + `steal_ns` + the sum of `wait_ns`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct Books {
    /// How many threads were accounted, ended ones included.
    pub threads: usize,
    /// The time the threads existed, summed over threads.
    pub wall_ns: u64,
    /// On a CPU.
    pub cpu_ns: u64,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Held back by a CPU quota.
    pub throttled_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// Blocked, by reason.
    pub wait_ns: WaitNs,
    /// How long single waits were, by reason: those that ended, and by what the kernel knows of the reason.
    #[schema(value_type = BTreeMap<String, WaitLengthStats>)]
    pub wait_lengths: WaitLengthsByClass,
    /// The part of `wait_ns` that is idle.
    pub idle_ns: u64,
    /// `cpu_ns` by the kind of code; sampled, scaled to `cpu_ns`.
    pub cpu_by: CpuNs,
    /// The sampled part of `cpu_by`, finer.
    pub cpu_leaf_ns: CpuLeafNs,
    /// The part of `cpu_by` that no sample backs.
    pub cpu_unsampled_ns: u64,
    /// Waits chosen for a stack that the cap on walks refused.
    pub unattributed_ns: u64,
    /// The part of `wait_ns` whose waits began before the attach.
    pub began_before_attach_ns: u64,
}

impl Books {
    fn add_totals(&mut self, totals: &TaskTotals) {
        self.wall_ns += totals.wall_ns();
        self.cpu_ns += totals.cpu_ns;
        self.runq_ns += totals.runq_ns;
        self.throttled_ns += totals.throttled_ns;
        self.steal_ns += totals.steal_ns;
        let wait = WaitNs::from(totals);
        wait.longest_first().into_iter().for_each(|(class, ns)| self.wait_ns.add(class, ns));
        self.idle_ns += totals.idle_ns;
        self.unattributed_ns += totals.unattributed_ns;
        self.began_before_attach_ns += totals.began_before_attach_ns;
    }

    fn add_books(&mut self, other: &Self) {
        self.threads += other.threads;
        self.wall_ns += other.wall_ns;
        self.cpu_ns += other.cpu_ns;
        self.runq_ns += other.runq_ns;
        self.throttled_ns += other.throttled_ns;
        self.steal_ns += other.steal_ns;
        other.wait_ns.longest_first().into_iter().for_each(|(class, ns)| self.wait_ns.add(class, ns));
        self.wait_lengths.merge(&other.wait_lengths);
        self.idle_ns += other.idle_ns;
        CodeKind::ALL.iter().for_each(|kind| self.cpu_by.add(*kind, other.cpu_by.of(*kind)));
        self.cpu_leaf_ns.merge(&other.cpu_leaf_ns);
        self.cpu_unsampled_ns += other.cpu_unsampled_ns;
        self.unattributed_ns += other.unattributed_ns;
        self.began_before_attach_ns += other.began_before_attach_ns;
    }

    fn add_sampled(&mut self, kind: CodeKind, leaf: Leaf<'_>, ns: u64) {
        self.cpu_by.add(kind, ns);
        self.cpu_leaf_ns.add(kind, leaf, ns);
    }

    fn sort_key(&self, sort: BreakdownSort) -> u64 {
        match sort {
            BreakdownSort::Busy => self.wall_ns.saturating_sub(self.idle_ns),
            BreakdownSort::Wall => self.wall_ns,
            BreakdownSort::Cpu => self.cpu_ns,
            BreakdownSort::Wait => self.wait_ns.sum(),
            BreakdownSort::Runq => self.starved_ns(),
            BreakdownSort::Name => 0,
        }
    }

    fn starved_ns(&self) -> u64 {
        self.runq_ns + self.throttled_ns + self.steal_ns
    }

    fn amounts(&self) -> Amounts {
        Amounts {
            cpu: self.cpu_by,
            runq_ns: self.runq_ns,
            throttled_ns: self.throttled_ns,
            steal_ns: self.steal_ns,
            wait: self.wait_ns,
        }
    }
}

/// CPU time no sample tells the kind of, added in proportion to the time that is known; to `guess` if none is.
pub(super) fn spread_unsampled(known: &mut CpuNs, unsampled_ns: u64, guess: CodeKind) {
    if known.sum() == 0 {
        known.add(guess, unsampled_ns);
        return;
    }
    let parts = apportion(&CodeKind::ALL.map(|kind| known.of(kind)), unsampled_ns);
    CodeKind::ALL.iter().zip(parts).for_each(|(kind, ns)| known.add(*kind, ns));
}

/// Breaks the time of the selected processes down.
pub fn breakdown(profile: &Profile, query: &BreakdownQuery) -> Breakdown {
    let mut rows = collect_rows(profile, &query.filter);
    let mut total = Books::default();
    rows.iter().for_each(|row| total.add_books(&row.books));
    let found = rows.len();
    rows.retain(|row| query.filter.keeps_row(row.books.wall_ns, total.wall_ns));
    sort_rows(&mut rows, query.sort);
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    let (rows_cut, loss) = (found - rows.len(), loss_counts(&profile.loss));
    Breakdown { window: profile.range.into(), rows, rows_cut, total, wait_period: profile.wait_periods.into(), loss }
}

/// A row in the making.
#[derive(Default)]
struct Draft<'a> {
    name: &'a str,
    threads: BTreeSet<ThreadId>,
    books: Books,
    kernel: bool,
}

fn collect_rows(profile: &Profile, filter: &Filter) -> Vec<BreakdownRow> {
    let everything = Filter { show_idle: true, ..filter.clone() };
    let calibrated = calibrate(profile).select(&everything);
    let mut drafts: BTreeMap<ProcessId, Draft<'_>> = BTreeMap::new();
    for totals in calibrated.totals.iter().filter(|totals| totals.wall_ns() > 0) {
        let task = &profile.tasks[totals.task as usize];
        let draft = drafts.entry(task.process).or_default();
        (draft.name, draft.kernel) = (&task.process_name, task.kernel);
        draft.threads.insert(task.thread);
        draft.books.add_totals(totals);
    }
    let selected: BTreeSet<u32> = calibrated.totals.iter().map(|totals| totals.task).collect();
    for waits in profile.wait_lengths.iter().filter(|waits| selected.contains(&waits.task)) {
        let Some(draft) = drafts.get_mut(&profile.tasks[waits.task as usize].process) else { continue };
        draft.books.wait_lengths.add(waits.class, &waits.lengths);
    }
    for entry in &calibrated.entries {
        let State::OnCpu(kind) = entry.state else { continue };
        let Some(draft) = drafts.get_mut(&profile.tasks[entry.task as usize].process) else { continue };
        match entry.stack {
            Some(stack) => draft.books.add_sampled(kind, Leaf::of(&profile.stacks[stack as usize].frames), entry.ns),
            None => draft.books.cpu_unsampled_ns += entry.ns,
        }
    }
    drafts.into_iter().map(|(process, draft)| draft.finish(process)).collect()
}

impl Draft<'_> {
    fn finish(mut self, process: ProcessId) -> BreakdownRow {
        let guess = if self.kernel { CodeKind::Kernel } else { CodeKind::Native };
        spread_unsampled(&mut self.books.cpu_by, self.books.cpu_unsampled_ns, guess);
        self.books.threads = self.threads.len();
        BreakdownRow { pid: process.pid, comm: self.name.to_owned(), books: self.books }
    }
}

fn sort_rows(rows: &mut [BreakdownRow], sort: BreakdownSort) {
    rows.sort_by(|a, b| {
        let by_time = Reverse(a.books.sort_key(sort)).cmp(&Reverse(b.books.sort_key(sort)));
        by_time.then_with(|| a.comm.cmp(&b.comm)).then_with(|| a.pid.cmp(&b.pid))
    });
}

impl Breakdown {
    /// A summary sentence, the table, and what was lost. Names are escaped.
    pub fn text(&self) -> String {
        let mut text = self.headline();
        if !self.rows.is_empty() {
            text += &self.table();
        }
        if self.rows_cut > 0 {
            writeln!(text, "{} not shown.", counted(self.rows_cut, "more row")).expect("writing to a string succeeds");
        }
        text + &self.notes() + &loss_line(&self.loss)
    }

    fn headline(&self) -> String {
        let subject = match self.rows.as_slice() {
            [row] if self.rows_cut == 0 => format!("{} (pid {})", escape_untrusted(&row.comm), row.pid),
            rows => counted(rows.len() + self.rows_cut, "process"),
        };
        let threads = counted(self.total.threads, "thread");
        let time = duration(self.window.duration_ns);
        if self.total.wall_ns == 0 {
            return format!("No thread of the selection was accounted in {time}.\n");
        }
        let idle = match self.total.idle_ns {
            0 => String::new(),
            ns => format!(", {} of it idle", percent_in_words(ns, self.total.wall_ns)),
        };
        let states = states_in_words(&self.total.amounts(), &idle);
        format!("{subject}, {threads}, {time}: {states}\n\n")
    }

    fn table(&self) -> String {
        let mut table = Table::default().right("PID").left("Name").right("Threads").right("Wall").right("CPU");
        for kind in CodeKind::ALL.into_iter().filter(|kind| self.total.cpu_by.of(*kind) > 0) {
            table = table.right(cpu_title(kind));
        }
        table =
            table.right("Run queue").right("Throttled").right("Steal").right("Waiting").right("Idle").left("Waits for");
        for row in &self.rows {
            table.row(self.cells(row));
        }
        table.render()
    }

    fn cells(&self, row: &BreakdownRow) -> Vec<String> {
        let books = &row.books;
        let of_wall = |ns| percent(ns, books.wall_ns);
        let mut cells = vec![row.pid.to_string(), escape_untrusted(&row.comm).into_owned(), books.threads.to_string()];
        cells.extend([duration(books.wall_ns), of_wall(books.cpu_ns)]);
        let kinds = CodeKind::ALL.into_iter().filter(|kind| self.total.cpu_by.of(*kind) > 0);
        cells.extend(kinds.map(|kind| of_wall(books.cpu_by.of(kind))));
        cells.extend([books.runq_ns, books.throttled_ns, books.steal_ns].map(of_wall));
        cells.extend([of_wall(books.wait_ns.sum()), of_wall(books.idle_ns), reasons(books)]);
        cells
    }

    fn notes(&self) -> String {
        let mut notes = String::new();
        let mut note = |ns, words| {
            if ns > 0 {
                writeln!(notes, "{} {words}.", duration(ns)).expect("writing to a string succeeds");
            }
        };
        note(self.total.began_before_attach_ns, "of waiting belongs to waits that began before the attach");
        note(self.total.unattributed_ns, "of waiting has no stack because of the cap on walks");
        note(self.total.cpu_unsampled_ns, "of CPU time has no sample; its kind of code is extrapolated");
        notes
    }
}

/// The title of a column of CPU time.
pub(super) fn cpu_title(kind: CodeKind) -> &'static str {
    match kind {
        CodeKind::Python => "CPU(Py)",
        CodeKind::Jvm => "CPU(JVM)",
        CodeKind::Native => "CPU(C)",
        CodeKind::Kernel => "Kernel",
    }
}

/// The three longest reasons: `net 74.1%, lock 5.0%`.
fn reasons(books: &Books) -> String {
    let longest = books.wait_ns.longest_first();
    let words: Vec<_> =
        longest.iter().take(3).map(|(class, ns)| format!("{} {}", class.name(), percent(*ns, books.wall_ns))).collect();
    words.join(", ")
}

/// `12 % computing (8 % python, 4 % native), 81 % waiting (74 % net, 7 % disk), 7 % waiting for a CPU`.
pub(super) fn states_in_words(amounts: &Amounts, after_waiting: &str) -> String {
    let total = amounts.sum();
    let words = |ns| percent_in_words(ns, total);
    let kinds = CodeKind::ALL.iter().map(|kind| (kind.name(), amounts.cpu.of(*kind)));
    let waits = amounts.wait.longest_first();
    let waits = waits.into_iter().map(|(class, ns)| (class.name(), ns));
    let starved = [("throttled", amounts.throttled_ns), ("taken by the hypervisor", amounts.steal_ns)];
    format!(
        "{} computing{}, {} waiting{}{after_waiting}, {} waiting for a CPU{}",
        words(amounts.cpu.sum()),
        list_of_parts(kinds, total),
        words(amounts.wait.sum()),
        list_of_parts(waits, total),
        words(amounts.starved_ns()),
        list_of_parts(starved.into_iter(), total),
    )
}

fn list_of_parts<'a>(parts: impl Iterator<Item = (&'a str, u64)>, total: u64) -> String {
    let mut parts: Vec<(&str, u64)> = parts.filter(|(_, ns)| *ns > 0).collect();
    parts.sort_by_key(|(_, ns)| Reverse(*ns));
    let words: Vec<_> = parts.iter().map(|(name, ns)| format!("{} {name}", percent_in_words(*ns, total))).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{Sample, Stack, Task, WaitClass};

    fn profile() -> Profile {
        let task = |pid, tid, name: &str| {
            Arc::new(Task {
                process: ProcessId { pid, start_ns: 1 },
                thread: ThreadId { tid, start_ns: 1 },
                process_name: name.into(),
                thread_name: name.into(),
                kernel: false,
            })
        };
        let mut totals: Vec<TaskTotals> =
            (0..3).map(|task| TaskTotals { task, cpu_ns: 100, runq_ns: 10, ..TaskTotals::default() }).collect();
        totals[1].wait_ns[WaitClass::Net as usize] = 890;
        totals[2].wait_ns[WaitClass::Sleep as usize] = 5_000;
        totals[2].idle_ns = 4_900;
        let state = |kind| State::OnCpu(kind);
        let sample = |kind, weight_ns| Sample {
            task: 0,
            state: state(kind),
            idle: false,
            stack: 0,
            weight_ns,
            count: 1,
            variance_ns2: 0.0,
            lengths: None,
        };
        Profile {
            tasks: vec![task(7, 7, "web"), task(7, 8, "web"), task(9, 9, "cron")],
            stacks: vec![Stack::default()],
            samples: vec![sample(CodeKind::Python, 30), sample(CodeKind::Kernel, 10)],
            totals,
            ..Profile::default()
        }
    }

    #[test]
    fn rows_sum_up_threads_and_cpu_kinds_sum_up_to_cpu() {
        let report = breakdown(&profile(), &BreakdownQuery::default());
        let web = report.rows.iter().find(|row| row.pid == 7).unwrap();
        assert_eq!((web.books.threads, web.books.wall_ns, web.books.cpu_ns), (2, 1110, 200));
        assert_eq!(web.books.cpu_by, CpuNs { python: 150, kernel: 50, ..CpuNs::default() });
        assert_eq!(web.books.cpu_unsampled_ns, 160);
        assert_eq!(report.rows[1].books.cpu_by.native, 100);
        assert_eq!(report.total.wall_ns, 1110 + 5110);
    }

    #[test]
    fn the_default_order_discounts_idle_time_and_others_do_not() {
        for (sort, first) in [("busy", 7), ("wall", 9), ("wait", 9), ("cpu", 7), ("runq", 7), ("name", 9)] {
            let query = BreakdownQuery { sort: sort.parse().unwrap(), ..BreakdownQuery::default() };
            assert_eq!(breakdown(&profile(), &query).rows[0].pid, first, "{sort}");
        }
    }

    #[test]
    fn the_selection_restricts_totals_and_the_limit_does_not() {
        let filter = Filter { pids: Some([9].into()), ..Filter::default() };
        let report = breakdown(&profile(), &BreakdownQuery { filter, ..BreakdownQuery::default() });
        assert_eq!((report.rows.len(), report.total.wall_ns), (1, 5110));
        let report = breakdown(&profile(), &BreakdownQuery { limit: Some(1), ..BreakdownQuery::default() });
        assert_eq!((report.rows.len(), report.rows_cut, report.total.wall_ns), (1, 1, 6220));
    }

    #[test]
    fn idle_hide_changes_nothing_and_every_json_key_is_there() {
        let json = serde_json::to_value(breakdown(&profile(), &BreakdownQuery::default())).unwrap();
        let row = &json["rows"][1];
        let keys = ["pid", "comm", "threads", "wall_ns", "cpu_ns", "runq_ns", "throttled_ns", "steal_ns", "wait_ns"];
        assert!(keys.iter().all(|key| row.get(key).is_some()), "{row}");
        assert!(["idle_ns", "cpu_by", "unattributed_ns"].iter().all(|key| row.get(key).is_some()), "{row}");
        assert_eq!((row["idle_ns"].as_u64(), row["wait_ns"]["sleep"].as_u64()), (Some(4900), Some(5000)));
        assert_eq!(json["window"]["from"], "1970-01-01T00:00:00Z");
    }
}
