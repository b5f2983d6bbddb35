//! The hotspot table: how long each function, line, file, thread or process computed, queued and waited; or what was waited for.
//!
//! Each stack is charged to one row by [`AttributionRule`], or with `inclusive` to every row that occurs in it, once. Time
//! without a stack is `unattributed_ns`, except in rows of threads and processes, which need no stack. Without `inclusive`,
//! the rows (those cut included) and `unattributed_ns` sum up to `total_ns`. A path shows the rows in matching files only;
//! percentages stay those of the whole selection.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::amounts::{Amounts, CpuNs, WaitNs};
use super::attribute::AttributionRule;
use super::awaits::AwaitSummary;
use super::breakdown::spread_unsampled;
use super::calibrate::{Calibrated, Entry, calibrate, residual_name};
use super::cpu_leaf::CpuLeafNs;
use super::span::Span;
use super::table::{duration, loss_counts};
use super::wait_details::{WaitDetails, label};
use super::wait_lengths::{Histogram, WaitLengthStats};
use super::wait_period::WaitPeriod;
use super::wakers::{Wakers, WokenBy};
use super::{Filter, ReportError};
use crate::profile::leaf::{JIT_MODULE, UNKNOWN_MODULE};
use crate::profile::{
    CodeKind, Frame, FrameKind, Leaf, Name, ProcessId, Profile, Reason, SourceLine, State, Task, ThreadId,
};

pub mod scalene;
pub(super) mod text;
mod waits;

pub use scalene::{Columns, ScaleneRow};

/// How many rows a report has unless it is asked for more.
pub const DEFAULT_LIMIT: usize = 30;

/// What to list, in which order, and how many rows.
#[derive(Debug, Clone)]
pub struct HotspotQuery {
    /// Which processes, threads, states and files.
    pub filter: Filter,
    /// What a row is.
    pub by: RowKind,
    /// Charge every function of a stack instead of one.
    pub inclusive: bool,
    /// Which frames may be charged besides those of the user.
    pub rule: AttributionRule,
    /// The order of the rows.
    pub sort: HotspotSort,
    /// The most rows to give; all if absent.
    pub limit: Option<usize>,
    /// Which columns they have.
    pub columns: Columns,
}

impl Default for HotspotQuery {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            by: RowKind::default(),
            inclusive: false,
            rule: AttributionRule::default(),
            sort: HotspotSort::default(),
            limit: Some(DEFAULT_LIMIT),
            columns: Columns::default(),
        }
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowKind {
    /// A function; its `line` is the one with the most time.
    #[default]
    Function,
    /// A line of a function.
    Line,
    /// A source file, or a module where the file is not known.
    File,
    /// A thread.
    Thread,
    /// A process.
    Process,
    /// What threads waited in, and for whom or what.
    Wait,
}

impl RowKind {
    /// The word in queries and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Line => "line",
            Self::File => "file",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Wait => "wait",
        }
    }

    fn is_code(self) -> bool {
        !matches!(self, Self::Thread | Self::Process | Self::Wait)
    }
}

impl FromStr for RowKind {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Function, Self::Line, Self::File, Self::Thread, Self::Process, Self::Wait]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ReportError::unknown_word("by", text, "function, line, file, thread, process or wait"))
    }
}

/// The order of the rows; the longest time first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HotspotSort {
    /// All time.
    #[default]
    Total,
    /// Computing.
    Cpu,
    /// Waiting.
    Wait,
    /// Waiting for a CPU.
    Runq,
    /// The name, alphabetically.
    Name,
}

impl FromStr for HotspotSort {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "total" => Ok(Self::Total),
            "cpu" => Ok(Self::Cpu),
            "wait" => Ok(Self::Wait),
            "runq" => Ok(Self::Runq),
            "name" => Ok(Self::Name),
            _ => Err(ReportError::unknown_word("sort", text, "total, cpu, wait, runq or name")),
        }
    }
}

/// Where the time of the selection went, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Hotspots {
    /// The time covered.
    pub window: Span,
    /// What a row is: `function`, `line`, `file`, `thread`, `process` or `wait`. Rows of waits are about waits only.
    pub by: &'static str,
    /// Whether a stack is charged to all its functions, so that row totals overlap.
    pub inclusive: bool,
    /// Whose time it is.
    pub selection: Selection,
    /// The time of all rows, those cut included, without overlap, and `unattributed_ns`.
    pub total_ns: u64,
    /// The rows.
    pub rows: Vec<HotspotRow>,
    /// How many rows were cut by the limit or the least percentage.
    pub rows_cut: usize,
    /// Time that no stack tells the place of.
    pub unattributed_ns: u64,
    /// `unattributed_ns` by its marker, such as `[steal]` or `[unsampled disk]`.
    pub unattributed_by: BTreeMap<String, u64>,
    /// Idle time left out of everything above.
    pub idle_hidden_ns: u64,
    /// Of the time listed, what event loops waited and is attributed to lines with an `await`; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits: Option<AwaitSummary>,
    /// By which T waits were chosen for a stack.
    pub wait_period: WaitPeriod,
    /// What could not be recorded, by reason, as counts.
    pub loss: BTreeMap<String, u64>,
}

/// Whose time a report is about, and how much there is by state. Percentages are of `total_ns` here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Selection {
    /// The name of the process if there is only one. Untrusted text.
    pub comm: Option<String>,
    /// The pid if there is only one process.
    pub pid: Option<u32>,
    /// How many processes.
    pub processes: usize,
    /// How many threads, ended ones included.
    pub threads: usize,
    /// The thread-time selected; hidden idle time is not part of it.
    pub total_ns: u64,
    /// On a CPU, by kind of code.
    pub cpu_ns: CpuNs,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Held back by a CPU quota.
    pub throttled_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// Blocked, by reason.
    pub wait_ns: WaitNs,
}

/// How long one function, line, file, thread or process computed, queued and waited, or one thing was waited for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HotspotRow {
    /// The function; for other rows the file, the thread's or the process's name, or the wait: `net/receive`. Untrusted text.
    pub function: String,
    /// The source file, if known. Untrusted text.
    pub file: Option<String>,
    /// The line: the row's own, or of a function the one with the most time.
    pub line: Option<u32>,
    /// The executable or library, or the kind of code in brackets; of a thread, its process's name. Untrusted text.
    pub module: String,
    /// The source text of the line, if it could be read. Untrusted text.
    pub code: Option<String>,
    /// Whether the file of `code` was changed after the process had started, so that another text may have been loaded.
    pub code_newer: bool,
    /// The pid of a thread or process.
    pub pid: Option<u32>,
    /// The tid of a thread.
    pub tid: Option<u32>,
    /// On a CPU, by the kind of code that ran.
    pub cpu_ns: CpuNs,
    /// The sampled part of `cpu_ns`, finer; time that no sample tells the kind of is in `cpu_ns` only.
    pub cpu_leaf_ns: CpuLeafNs,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Held back by a CPU quota.
    pub throttled_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// Blocked, by reason.
    pub wait_ns: WaitNs,
    /// The sum of all times above but `cpu_leaf_ns`.
    pub total_ns: u64,
    /// The part of `wait_ns` that is idle; not zero only if idle time is shown.
    pub idle_ns: u64,
    /// The standard error of `total_ns`.
    pub stderr_ns: u64,
    /// How many captures stand behind the row.
    pub samples: u64,
    /// The longest wait reason, if there is any.
    pub top_wait: Option<String>,
    /// Waits that are known better than by their class, by class and what they are: `lock/gil`.
    pub wait_detail_ns: BTreeMap<String, u64>,
    /// The part of `wait_ns` that is attributed by looks at suspended tasks and not measured: `await/reply` and so on.
    pub attributed_ns: u64,
    /// Of a row of waits, whom or what was waited for, if that is known. Untrusted text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Of a row of waits, who ended most of them, the longest time first; waits whose end was not seen are in none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub woken_by: Vec<WokenBy>,
    /// Of a row of waits, the function that waited longest; `file`, `line` and `code` are its own. Untrusted text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<String>,
    /// Of a row of waits, how long those were that ended: estimates, for which captures stand. A wait of at least T counts once,
    /// a shorter one for as many as its capture stands for. Waits that go on do not count. Those of an event loop that are
    /// attributed to `await`s count once all the same: in the `await` row, or the loop's own, that got the largest part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_lengths: Option<WaitLengthStats>,
    /// The time in the columns of Scalene, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scalene: Option<ScaleneRow>,
}

/// Lists the hotspots of the selection.
pub fn hotspots(profile: &Profile, query: &HotspotQuery) -> Hotspots {
    let calibrated = calibrate(profile).select(&query.filter);
    let selection = Selection::of(&calibrated);
    let sums = Charger::new(profile, query).charge(calibrated.entries.iter());
    let mut rows: Vec<HotspotRow> = sums.rows.into_iter().map(RowSum::finish).collect();
    let found = rows.len();
    rows.retain(|row| query.filter.keeps_row(row.total_ns, selection.total_ns));
    sort_rows(&mut rows, query.sort);
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    if query.columns == Columns::Scalene {
        rows.iter_mut().for_each(|row| row.scalene = Some(ScaleneRow::of(row, selection.total_ns)));
    }
    Hotspots {
        window: profile.range.into(),
        by: query.by.name(),
        inclusive: query.inclusive,
        total_ns: sums.total_ns,
        rows_cut: found - rows.len(),
        rows,
        unattributed_ns: sums.unattributed.values().sum(),
        unattributed_by: sums.unattributed,
        idle_hidden_ns: calibrated.idle_hidden_ns,
        awaits: AwaitSummary::of(&Calibrated { entries: sums.attributed, ..calibrated }, query.rule),
        wait_period: profile.wait_periods.into(),
        loss: loss_counts(&profile.loss),
        selection,
    }
}

/// Names a selection of a profile for people: whose time it is, and how long it was measured. Names are escaped.
pub fn title(calibrated: &Calibrated<'_>) -> String {
    let time = duration(calibrated.profile.range.duration_ns());
    format!("{}, {time}", Selection::of(calibrated).subject())
}

fn sort_rows(rows: &mut [HotspotRow], sort: HotspotSort) {
    let time = |row: &HotspotRow| match sort {
        HotspotSort::Total => row.total_ns,
        HotspotSort::Cpu => row.cpu_ns.sum(),
        HotspotSort::Wait => row.wait_ns.sum(),
        HotspotSort::Runq => row.runq_ns + row.throttled_ns + row.steal_ns,
        HotspotSort::Name => 0,
    };
    let name = |row: &HotspotRow| (row.function.clone(), row.file.clone(), row.line, row.module.clone(), row.tid);
    rows.sort_by(|a, b| Reverse(time(a)).cmp(&Reverse(time(b))).then_with(|| name(a).cmp(&name(b))));
}

impl Selection {
    fn of(calibrated: &Calibrated<'_>) -> Self {
        let tasks = || calibrated.totals.iter().map(|totals| &calibrated.profile.tasks[totals.task as usize]);
        let processes: BTreeSet<_> = tasks().map(|task| task.process).collect();
        let threads: BTreeSet<_> = tasks().map(|task| task.thread).collect();
        let only = if processes.len() == 1 { tasks().next_back() } else { None };
        let amounts = amounts_of(calibrated);
        Self {
            comm: only.map(|task| task.process_name.to_string()),
            pid: only.map(|task| task.process.pid),
            processes: processes.len(),
            threads: threads.len(),
            total_ns: amounts.sum(),
            cpu_ns: amounts.cpu,
            runq_ns: amounts.runq_ns,
            throttled_ns: amounts.throttled_ns,
            steal_ns: amounts.steal_ns,
            wait_ns: amounts.wait,
        }
    }

    fn amounts(&self) -> Amounts {
        Amounts {
            cpu: self.cpu_ns,
            runq_ns: self.runq_ns,
            throttled_ns: self.throttled_ns,
            steal_ns: self.steal_ns,
            wait: self.wait_ns,
        }
    }
}

/// The selection's time by state. CPU time of unknown kind is spread within its process, as in the breakdown.
fn amounts_of(calibrated: &Calibrated<'_>) -> Amounts {
    let mut processes: BTreeMap<ProcessId, StateSum> = BTreeMap::new();
    for entry in &calibrated.entries {
        let process = calibrated.profile.tasks[entry.task as usize].process;
        processes.entry(process).or_default().add(entry);
    }
    let mut amounts = Amounts::default();
    processes.into_values().for_each(|process| amounts.merge(&process.finish()));
    amounts
}

/// Time by state, with the CPU time of unknown kind kept apart until the known kinds are complete.
#[derive(Debug, Default)]
struct StateSum {
    amounts: Amounts,
    cpu_unsampled: BTreeMap<CodeKind, u64>,
}

impl StateSum {
    fn add(&mut self, entry: &Entry) {
        match (entry.state, entry.stack) {
            (State::OnCpu(guess), None) => *self.cpu_unsampled.entry(guess).or_default() += entry.ns,
            (state, _) => self.amounts.add(state, entry.ns),
        }
    }

    fn finish(mut self) -> Amounts {
        let known = self.amounts.cpu;
        for (guess, ns) in self.cpu_unsampled {
            let mut spread = known;
            spread_unsampled(&mut spread, ns, guess);
            CodeKind::ALL.iter().for_each(|kind| self.amounts.cpu.add(*kind, spread.of(*kind) - known.of(*kind)));
        }
        self.amounts
    }
}

/// What makes two frames one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
struct RowKey {
    function: Arc<str>,
    file: Option<Arc<str>>,
    line: Option<u32>,
    module: Arc<str>,
    process: Option<ProcessId>,
    thread: Option<ThreadId>,
    subject: Option<Arc<str>>,
}

/// A row in the making.
#[derive(Debug)]
struct RowSum<'a> {
    key: RowKey,
    states: StateSum,
    leaves: CpuLeafNs,
    waits: WaitDetails,
    lines: BTreeMap<u32, LineSum<'a>>,
    places: HashMap<RowKey, (u64, &'a Frame)>,
    wakers: Wakers,
    /// How long the waits were, in a row of waits.
    lengths: Option<Box<Histogram>>,
    idle_ns: u64,
    attributed_ns: u64,
    samples: u64,
    variance_ns2: f64,
}

/// One line of a row, and the texts it had in different processes.
#[derive(Debug, Default)]
struct LineSum<'a> {
    ns: u64,
    sources: Vec<(&'a SourceLine, u64)>,
}

impl<'a> LineSum<'a> {
    fn add(&mut self, ns: u64, source: Option<&'a SourceLine>) {
        self.ns += ns;
        let Some(source) = source else { return };
        match self.sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, known_ns)) => *known_ns += ns,
            None => self.sources.push((source, ns)),
        }
    }

    /// The text most of the time was spent at.
    fn source(&self) -> Option<&'a SourceLine> {
        self.sources.iter().min_by_key(|(_, ns)| Reverse(*ns)).map(|(source, _)| *source)
    }
}

impl<'a> RowSum<'a> {
    fn new(key: RowKey) -> Self {
        let (states, leaves, lines) = (StateSum::default(), CpuLeafNs::default(), BTreeMap::new());
        let (waits, places, wakers) = (WaitDetails::default(), HashMap::new(), Wakers::default());
        Self {
            key,
            states,
            leaves,
            waits,
            lines,
            places,
            wakers,
            lengths: None,
            idle_ns: 0,
            attributed_ns: 0,
            samples: 0,
            variance_ns2: 0.0,
        }
    }

    /// Adds an entry, with the class of its stack and the frame that has the line, if the row has lines.
    fn add(&mut self, entry: &Entry, leaf: Option<Leaf<'_>>, frame: Option<&'a Frame>) {
        self.states.add(entry);
        if let (State::OnCpu(kind), Some(leaf)) = (entry.state, leaf) {
            self.leaves.add(kind, leaf, entry.ns);
        }
        if let Some((line, frame)) = frame.and_then(|frame| Some((frame.line?, frame))) {
            self.lines.entry(line).or_default().add(entry.ns, frame.source.as_deref());
        }
        self.waits.add(entry);
        self.idle_ns += if entry.idle { entry.ns } else { 0 };
        self.attributed_ns += if entry.awaits.is_some() { entry.ns } else { 0 };
        self.samples += entry.count;
        self.variance_ns2 += entry.variance_ns2;
    }

    fn finish(self) -> HotspotRow {
        let hottest = self.lines.iter().max_by_key(|(line, sum)| (sum.ns, Reverse(**line)));
        let place = self.places.into_iter().max_by(|a, b| a.1.0.cmp(&b.1.0).then_with(|| b.0.cmp(&a.0)));
        let place = place.map(|(key, (_, frame))| (key, frame));
        let source = match &place {
            Some((_, frame)) => frame.source.as_deref(),
            None => hottest.and_then(|(_, sum)| sum.source()),
        };
        let file = place.as_ref().map_or(self.key.file.as_ref(), |(key, _)| key.file.as_ref());
        let line = place.as_ref().map_or(self.key.line, |(key, _)| key.line);
        let amounts = self.states.finish();
        HotspotRow {
            function: self.key.function.to_string(),
            file: file.map(ToString::to_string),
            line: line.or(hottest.map(|(line, _)| *line)),
            module: self.key.module.to_string(),
            code: source.map(|source| source.text.to_string()),
            code_newer: source.is_some_and(|source| source.is_newer),
            pid: self.key.process.map(|process| process.pid),
            tid: self.key.thread.map(|thread| thread.tid),
            cpu_ns: amounts.cpu,
            cpu_leaf_ns: self.leaves,
            runq_ns: amounts.runq_ns,
            throttled_ns: amounts.throttled_ns,
            steal_ns: amounts.steal_ns,
            wait_ns: amounts.wait,
            total_ns: amounts.sum(),
            idle_ns: self.idle_ns,
            stderr_ns: self.variance_ns2.sqrt().round() as u64,
            samples: self.samples,
            top_wait: self.waits.longest(&amounts.wait),
            wait_detail_ns: self.waits.by_label(),
            attributed_ns: self.attributed_ns,
            waits_for: self.key.subject.map(|subject| subject.to_string()),
            woken_by: self.wakers.longest(),
            waits_in: place.map(|(key, _)| key.function.to_string()),
            wait_lengths: self.lengths.and_then(|lengths| lengths.told()),
            scalene: None,
        }
    }
}

/// The rows a stack is charged to, each with the frame whose line was executing.
type ChargedRows<'a> = Box<[(usize, Option<&'a Frame>)]>;

/// Sums entries up into rows. What a stack is charged to, and what it computed in, is worked out once per stack.
struct Charger<'a> {
    profile: &'a Profile,
    query: &'a HotspotQuery,
    index: HashMap<RowKey, usize>,
    stacks: Vec<Option<ChargedRows<'a>>>,
    leaves: Vec<Option<Leaf<'a>>>,
    sums: Sums<'a>,
}

#[derive(Default)]
struct Sums<'a> {
    rows: Vec<RowSum<'a>>,
    total_ns: u64,
    unattributed: BTreeMap<String, u64>,
    /// What of `total_ns` is attributed by looks.
    attributed: Vec<Entry>,
}

impl<'a> Charger<'a> {
    fn new(profile: &'a Profile, query: &'a HotspotQuery) -> Self {
        let (stacks, leaves) = (vec![None; profile.stacks.len()], vec![None; profile.stacks.len()]);
        Self { profile, query, index: HashMap::new(), stacks, leaves, sums: Sums::default() }
    }

    fn charge<'e>(mut self, entries: impl Iterator<Item = &'e Entry>) -> Sums<'a> {
        for entry in entries {
            let listed_ns = self.sums.total_ns;
            match entry.place() {
                _ if self.query.by == RowKind::Wait => self.charge_wait(entry),
                _ if !self.query.by.is_code() => self.charge_task(entry),
                Some(stack) => self.charge_stack(entry, stack as usize),
                None => self.leave_unattributed(entry),
            }
            if entry.awaits.is_some() && self.sums.total_ns > listed_ns {
                self.sums.attributed.push(entry.clone());
            }
        }
        self.sums
    }

    /// The class of an entry's stack, if it computed.
    fn leaf(&mut self, entry: &Entry) -> Option<Leaf<'a>> {
        let stack = entry.stack.filter(|_| matches!(entry.state, State::OnCpu(_)))? as usize;
        let profile = self.profile;
        Some(*self.leaves[stack].get_or_insert_with(|| Leaf::of(&profile.stacks[stack].frames)))
    }

    fn leave_unattributed(&mut self, entry: &Entry) {
        self.sums.total_ns += entry.ns;
        *self.sums.unattributed.entry(residual_name(entry.state)).or_default() += entry.ns;
    }

    fn charge_task(&mut self, entry: &Entry) {
        if !self.path_allows(entry) {
            return;
        }
        let task = &self.profile.tasks[entry.task as usize];
        let row = self.row(task_key(task, self.query.by));
        let leaf = self.leaf(entry);
        self.sums.total_ns += entry.ns;
        self.sums.rows[row].add(entry, leaf, None);
    }

    /// Rows of waits are about waits only; those without a stack have their class.
    fn charge_wait(&mut self, entry: &Entry) {
        let State::Wait(class) = entry.state else { return };
        if !self.path_allows(entry) {
            return;
        }
        let profile = self.profile;
        let stack = entry.stack.map(|stack| &profile.stacks[stack as usize]);
        let is_attributed = entry.awaits.is_some();
        let detail = entry.detail.map_or_else(|| class.name().to_owned(), |detail| label(class, detail, is_attributed));
        let subject = stack.and_then(|stack| stack.subject.clone());
        let row = self.row(RowKey { function: detail.into(), subject, ..RowKey::default() });
        self.sums.total_ns += entry.ns;
        let row = &mut self.sums.rows[row];
        row.add(entry, None, None);
        row.wakers.add(entry, stack);
        let lengths = entry.captures_of.and_then(|at| profile.samples[at as usize].lengths.as_deref());
        if let Some(lengths) = lengths {
            row.lengths.get_or_insert_default().add(lengths);
        }
        let rule = self.query.rule;
        let place = match entry.awaits.map(|stack| &profile.stacks[stack as usize]) {
            Some(place) => rule.charge_await(place).ok(),
            None => stack.and_then(|stack| rule.charge(stack).ok()),
        };
        if let Some(frame) = place {
            row.places.entry(frame_key(frame, RowKind::Line)).or_insert((0, frame)).0 += entry.ns;
        }
    }

    fn path_allows(&self, entry: &Entry) -> bool {
        let Some(path) = &self.query.filter.path else { return true };
        let frames = |stack: u32| self.profile.stacks[stack as usize].leaf_first();
        entry.place().is_some_and(|stack| frames(stack).any(|frame| path.matches_frame(frame)))
    }

    fn charge_stack(&mut self, entry: &Entry, stack: usize) {
        let charged = match self.stacks[stack].take() {
            Some(charged) => charged,
            None => self.rows_of(stack, entry.awaits.is_some()),
        };
        if !charged.is_empty() {
            self.sums.total_ns += entry.ns;
        }
        let leaf = self.leaf(entry);
        for (row, frame) in &charged {
            self.sums.rows[*row].add(entry, leaf, *frame);
        }
        self.stacks[stack] = Some(charged);
    }

    /// The rows of a stack that match the path; with inclusive counting a recursive function is one row.
    fn rows_of(&mut self, stack: usize, awaits: bool) -> ChargedRows<'a> {
        let profile = self.profile;
        let (rule, stack) = (self.query.rule, &profile.stacks[stack]);
        let mut frames: Vec<&'a Frame> = Vec::new();
        if self.query.inclusive {
            frames.extend(rule.shown(stack));
        }
        if frames.is_empty() {
            match if awaits { rule.charge_await(stack) } else { rule.charge(stack) } {
                Ok(frame) => frames.push(frame),
                Err(reason) => return self.unknown_rows(reason),
            }
        }
        let mut charged: Vec<(usize, Option<&'a Frame>)> = Vec::new();
        let has_lines = matches!(self.query.by, RowKind::Function | RowKind::Line);
        frames.retain(|frame| self.shows_path(frame));
        for frame in frames {
            let row = self.row(frame_key(frame, self.query.by));
            if !charged.iter().any(|(known, _)| *known == row) {
                charged.push((row, has_lines.then_some(frame)));
            }
        }
        charged.into()
    }

    fn unknown_rows(&mut self, reason: Reason) -> ChargedRows<'a> {
        if self.query.filter.path.is_some() {
            return ChargedRows::default();
        }
        let function = format!("[{}]", reason.name()).into();
        let row = self.row(RowKey { function, module: UNKNOWN_MODULE.into(), ..RowKey::default() });
        Box::new([(row, None)])
    }

    fn shows_path(&self, frame: &Frame) -> bool {
        self.query.filter.path.as_ref().is_none_or(|path| path.matches_frame(frame))
    }

    fn row(&mut self, key: RowKey) -> usize {
        let rows = &mut self.sums.rows;
        *self.index.entry(key).or_insert_with_key(|key| {
            rows.push(RowSum::new(key.clone()));
            rows.len() - 1
        })
    }
}

/// The module of Python functions.
const PYTHON_MODULE: &str = "[python]";

fn frame_key(frame: &Frame, by: RowKind) -> RowKey {
    let module = frame.module.clone().unwrap_or_else(|| module_of_kind(frame.kind).into());
    let file = frame.file.clone();
    match by {
        RowKind::File => {
            let function = file.clone().unwrap_or_else(|| module.clone());
            RowKey { function, file, module, ..RowKey::default() }
        }
        RowKind::Line => RowKey { function: frame.function(), file, line: frame.line, module, ..RowKey::default() },
        _ => RowKey { function: function_of(frame), file, module, ..RowKey::default() },
    }
}

/// The name of a function; functions of a module that have none are one row, named by the reason.
fn function_of(frame: &Frame) -> Arc<str> {
    match &frame.name {
        Name::Known(name) => name.clone(),
        Name::Unknown(reason) => format!("[{}]", reason.name()).into(),
    }
}

fn module_of_kind(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Kernel => "[kernel]",
        FrameKind::Python => PYTHON_MODULE,
        FrameKind::Jvm => "[jvm]",
        FrameKind::Jit => JIT_MODULE,
        FrameKind::Native | FrameKind::Interpreter | FrameKind::Marker => UNKNOWN_MODULE,
    }
}

/// Threads and processes are told apart by their identity; a name may change.
fn task_key(task: &Task, by: RowKind) -> RowKey {
    let thread = (by == RowKind::Thread).then_some(task.thread);
    let name = if thread.is_some() { &task.thread_name } else { &task.process_name };
    let module = task.process_name.clone();
    RowKey { function: name.clone(), module, process: Some(task.process), thread, ..RowKey::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{LengthEstimate, NamedWaker, Sample, Stack, TaskTotals, WaitClass, WaitDetail, Waker};

    const NET: State = State::Wait(WaitClass::Net);
    const PYTHON: State = State::OnCpu(CodeKind::Python);
    const NATIVE: State = State::OnCpu(CodeKind::Native);

    fn python(name: &str, file: &str, line: u32) -> Arc<Frame> {
        let name = Name::Known(name.into());
        Arc::new(Frame {
            kind: FrameKind::Python,
            name,
            file: Some(file.into()),
            line: Some(line),
            ..Frame::marker("")
        })
    }

    fn native(name: &str, module: &str) -> Arc<Frame> {
        Arc::new(Frame { kind: FrameKind::Native, module: Some(module.into()), ..Frame::marker(name) })
    }

    fn sample(state: State, stack: u32, weight_ns: u64) -> Sample {
        Sample { task: 0, state, idle: false, stack, weight_ns, count: 1, variance_ns2: 9.0, lengths: None }
    }

    /// One thread: `outer` calls itself and `inner`, which calls into a library; 100 ns are unsampled, 7 are steal.
    fn profile() -> Profile {
        let task = Task {
            process: ProcessId { pid: 7, start_ns: 1 },
            thread: ThreadId { tid: 8, start_ns: 1 },
            process_name: "web".into(),
            thread_name: "worker".into(),
            kernel: false,
        };
        let outer = |line| python("outer", "/srv/app.py", line);
        let inner = python("inner", "/lib/inner.py", 3);
        let stacks = vec![
            Stack::new(vec![native("dot", "libblas.so"), inner.clone(), outer(10)]),
            Stack::new(vec![native("read", "libc.so.6"), outer(12), outer(11)]),
            Stack::new(vec![outer(10)]),
            Stack::default(),
        ];
        let samples = vec![
            sample(NATIVE, 0, 300),
            sample(NET, 1, 500),
            sample(PYTHON, 2, 200),
            Sample { idle: true, ..sample(NET, 1, 1000) },
            sample(NET, 3, 50),
        ];
        let mut totals = TaskTotals { cpu_ns: 500, steal_ns: 7, idle_ns: 1000, ..TaskTotals::default() };
        totals.wait_ns[WaitClass::Net as usize] = 1650;
        Profile { tasks: vec![Arc::new(task)], stacks, samples, totals: vec![totals], ..Profile::default() }
    }

    fn table(query: HotspotQuery) -> (Hotspots, Vec<(String, Option<u32>, u64)>) {
        let report = hotspots(&profile(), &query);
        let rows = report.rows.iter().map(|row| (row.function.clone(), row.line, row.total_ns)).collect();
        (report, rows)
    }

    #[test]
    fn rows_and_unattributed_time_sum_up_to_the_selection_without_its_idle_time() {
        let (report, rows) = table(HotspotQuery::default());
        let expected = [("outer", Some(12), 700), ("inner", Some(3), 300), ("[no user stack]", None, 50)];
        assert_eq!(rows, expected.map(|(name, line, ns)| (name.to_owned(), line, ns)));
        assert_eq!((report.total_ns, report.selection.total_ns, report.idle_hidden_ns), (1157, 1157, 1000));
        assert_eq!(report.unattributed_by, [("[steal]".to_owned(), 7), ("[unsampled net]".to_owned(), 100)].into());
        assert_eq!(report.rows[1].cpu_ns.native, 300);
        assert_eq!((report.rows[0].top_wait.clone(), report.rows[1].top_wait.clone()), (Some("net".to_owned()), None));
        assert_eq!((report.rows[0].stderr_ns, report.rows[0].samples), (4, 2));
    }

    #[test]
    fn lines_of_a_function_are_rows_of_their_own_and_files_sum_them_up() {
        let (_, rows) = table(HotspotQuery { by: RowKind::Line, ..HotspotQuery::default() });
        assert_eq!(rows[0], ("outer".to_owned(), Some(12), 500));
        assert_eq!(rows[2], ("outer".to_owned(), Some(10), 200));
        let (_, rows) = table(HotspotQuery { by: RowKind::File, ..HotspotQuery::default() });
        assert_eq!(rows[0], ("/srv/app.py".to_owned(), None, 700));
    }

    #[test]
    fn inclusive_counts_recursion_once_and_leaves_the_total_alone() {
        let (report, rows) = table(HotspotQuery { inclusive: true, ..HotspotQuery::default() });
        assert_eq!(rows[0], ("outer".to_owned(), Some(10), 1000));
        assert_eq!(rows[1], ("inner".to_owned(), Some(3), 300));
        assert_eq!(report.total_ns, 1157);
    }

    #[test]
    fn rows_of_threads_and_processes_need_no_stack() {
        for (by, name) in [(RowKind::Thread, "worker"), (RowKind::Process, "web")] {
            let (report, rows) = table(HotspotQuery { by, ..HotspotQuery::default() });
            assert_eq!(rows, [(name.to_owned(), None, 1157)]);
            assert_eq!(report.unattributed_ns, 0);
        }
    }

    #[test]
    fn rows_of_waits_are_told_apart_by_what_they_are_and_whom_they_are_for() {
        let mut profile = profile();
        let detail = |name, idle| Some(WaitDetail { class: WaitClass::Net, name, idle });
        let subject = Some("10.0.0.5:5432 (postgresql)".into());
        profile.stacks[1] = profile.stacks[1].clone().with_wait(detail("receive", false)).with_subject(subject);
        let waker = NamedWaker::nameless(Waker::Thread { pid: 9, tid: 10, over_network: true });
        profile.stacks[1] = profile.stacks[1].clone().with_waker(Some(waker.into()));
        profile.stacks[3] = profile.stacks[3].clone().with_wait(detail("request", true));
        for sample in profile.samples.iter_mut().filter(|sample| sample.stack == 1) {
            let count = if sample.idle { 99.0 } else { 1.0 };
            sample.lengths = Some(Box::new(LengthEstimate::of(if sample.idle { 5_000 } else { 2_000_000_000 }, count)));
        }
        let filter = Filter { show_idle: true, ..Filter::default() };
        let query = HotspotQuery { by: RowKind::Wait, filter, ..HotspotQuery::default() };
        let report = hotspots(&profile, &query);
        let row = |row: &HotspotRow| (row.function.clone(), row.waits_for.clone(), row.total_ns, row.idle_ns);
        let rows: Vec<_> = report.rows.iter().map(row).collect();
        let name = |name: &str| name.to_owned();
        let receive = (name("net/receive"), Some(name("10.0.0.5:5432 (postgresql)")), 1500, 1000);
        assert_eq!(rows, [receive, (name("net"), None, 100, 0), (name("net/request"), None, 50, 50)]);
        assert_eq!((report.rows[0].waits_in.as_deref(), report.rows[0].line), (Some("outer"), Some(12)));
        assert_eq!((report.total_ns, report.selection.total_ns), (1650, 2157));
        assert!(report.text().contains("net/request, idle"));
        let lengths = report.rows[0].wait_lengths.unwrap();
        assert_eq!((lengths.count, lengths.longest_ns), (100, 2_000_000_000));
        assert!((4_096..8_192).contains(&lengths.p50_ns) && lengths.p99_ns >= lengths.p90_ns, "{lengths:?}");
        assert_eq!((report.rows[1].wait_lengths, report.rows[2].wait_lengths), (None, None));
        let woken = &report.rows[0].woken_by;
        assert_eq!((woken.len(), woken[0].context, woken[0].tid, woken[0].ns), (1, "softirq", Some(10), 1500));
        assert!(report.rows[1].woken_by.is_empty() && report.text().contains("pid 9 tid 10"));
    }

    #[test]
    fn a_path_shows_matching_rows_only_and_shown_idle_time_counts() {
        let filter = Filter { path: Some("/lib/**".parse().unwrap()), ..Filter::default() };
        let (report, rows) = table(HotspotQuery { filter, ..HotspotQuery::default() });
        assert_eq!(rows, [("inner".to_owned(), Some(3), 300)]);
        assert_eq!((report.total_ns, report.selection.total_ns), (300 + 107, 1157));
        let filter = Filter { show_idle: true, ..Filter::default() };
        let (report, rows) = table(HotspotQuery { filter, ..HotspotQuery::default() });
        assert_eq!((rows[0].2, report.rows[0].idle_ns, report.idle_hidden_ns), (1700, 1000, 0));
    }

    #[test]
    fn rows_below_the_least_percentage_or_beyond_the_limit_are_cut_but_counted() {
        let filter = Filter { min_percent: 20.0, ..Filter::default() };
        let (report, rows) = table(HotspotQuery { filter, limit: Some(1), ..HotspotQuery::default() });
        assert_eq!((rows.len(), report.rows_cut, report.total_ns), (1, 2, 1157));
        assert!(report.text().contains("2 more rows not shown."));
    }

    #[test]
    fn native_code_is_charged_itself_when_asked_for() {
        let rule = AttributionRule { native: true, ..AttributionRule::default() };
        let (_, rows) = table(HotspotQuery { rule, ..HotspotQuery::default() });
        assert_eq!(rows[1], ("dot".to_owned(), None, 300));
    }

    /// A frame with the text of its line.
    fn with_text(frame: &Frame, text: &str, is_newer: bool) -> Arc<Frame> {
        let source = Some(Arc::new(SourceLine { text: text.into(), is_newer }));
        Arc::new(Frame { source, ..frame.clone() })
    }

    #[test]
    fn a_function_has_the_text_of_its_hottest_line_and_a_line_its_own() {
        let mut profile = profile();
        let [inner, outer] = [python("inner", "/lib/inner.py", 3), python("outer", "/srv/app.py", 12)];
        profile.stacks[0] = Stack::new(vec![with_text(&inner, "  seen_less()", false)]);
        profile.stacks[1] = Stack::new(vec![with_text(&outer, "  hottest()", true)]);
        profile.stacks[2] = Stack::new(vec![with_text(&python("outer", "/srv/app.py", 10), "  other()", false)]);
        for (by, texts) in [
            (RowKind::Function, [Some("  hottest()"), Some("  seen_less()")]),
            (RowKind::Line, [Some("  hottest()"), Some("  seen_less()")]),
            (RowKind::File, [None, None]),
        ] {
            let report = hotspots(&profile, &HotspotQuery { by, ..HotspotQuery::default() });
            assert_eq!([0, 1].map(|at| report.rows[at].code.as_deref()), texts, "{by:?}");
            assert_eq!(report.rows[0].code_newer, by != RowKind::File);
        }
    }

    #[test]
    fn of_several_texts_of_one_line_the_one_with_most_time_is_shown() {
        let mut profile = profile();
        let line = python("outer", "/srv/app.py", 12);
        profile.stacks[0] = Stack::new(vec![with_text(&line, "in_one_container()", false)]);
        profile.stacks[1] = Stack::new(vec![with_text(&line, "in_another()", false)]);
        profile.stacks[2] = Stack::new(vec![line]);
        let report = hotspots(&profile, &HotspotQuery::default());
        assert_eq!((report.rows[0].total_ns, report.rows[0].code.as_deref()), (1000, Some("in_another()")));
    }

    #[test]
    fn the_finer_classes_of_a_row_sum_up_to_its_kinds() {
        for by in [RowKind::Function, RowKind::Thread] {
            let report = hotspots(&profile(), &HotspotQuery { by, ..HotspotQuery::default() });
            let leaves = report.rows.iter().fold(CpuLeafNs::default(), |mut sum, row| {
                sum.merge(&row.cpu_leaf_ns);
                sum
            });
            let native = [("libblas.so".to_owned(), 300)].into();
            assert_eq!(leaves, CpuLeafNs { bytecode: 200, native, ..CpuLeafNs::default() }, "{by:?}");
        }
    }

    #[test]
    fn nothing_selected_says_so_instead_of_an_empty_table() {
        let filter = Filter { pids: Some([99].into()), ..Filter::default() };
        let (report, _) = table(HotspotQuery { filter, ..HotspotQuery::default() });
        assert_eq!(report.text(), "0 processes, 0 threads, -: no time to show.\n");
    }

    #[test]
    fn every_key_of_the_contract_is_in_the_json() {
        let json = serde_json::to_value(hotspots(&profile(), &HotspotQuery::default())).unwrap();
        let keys = ["window", "total_ns", "rows", "unattributed_ns", "loss"];
        assert!(keys.iter().all(|key| json.get(key).is_some()));
        let row = &json["rows"][0];
        let keys = [
            "function",
            "file",
            "line",
            "module",
            "code",
            "code_newer",
            "cpu_ns",
            "cpu_leaf_ns",
            "runq_ns",
            "wait_ns",
            "total_ns",
            "stderr_ns",
        ];
        assert!(keys.iter().chain(&["samples", "top_wait"]).all(|key| row.get(key).is_some()), "{row}");
    }
}
