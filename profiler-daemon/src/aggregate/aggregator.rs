//! The state between windows: open accounts, window edges, and what every process spent since the start.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use profiler_common::record;

use super::edges::{Edges, Part};
use super::lengths::{LifetimeLengths, ReportedLengths};
use super::limits::AMENDING_STACKS;
use super::loops::{Look, LoopWait, Loops};
use super::reconcile::Reported;
use super::window::{Addition, BorrowedStack, TaskKey, Window};
use super::{RawSample, RawStack, RawState, RawWindow};
use crate::profile::{
    AsyncEntry, Awaited, Ending, Loss, LossReason, ProcessId, Subject, Task, TaskTotals, ThreadId, TimeRange,
    Timestamp, WaitClass, WaitPeriods, Waker,
};
use crate::wire::{Account, AccountId, Ended, OffCpuCause, StackEvent, StackKind};

/// Names of processes whose lifetime totals are kept; those beyond share the name `other`.
const LIFETIME_NAMES: usize = 4096;

/// How long an account may stay out of sight before its end counts as lost, if more than one pass missed it.
const LOST_NS: u64 = 60_000_000_000;

/// Turns events into windows.
#[derive(Debug)]
pub struct Aggregator {
    window: Window,
    /// Parts of waits that lie in windows already closed, by the monotonic start of the window.
    amendments: BTreeMap<u64, Window>,
    /// The distinct stacks of all amendments.
    amending_stacks: usize,
    /// How long a closed window is kept, and so may be amended.
    history_ns: u64,
    edges: Edges,
    /// The wall-clock start of each window that may still be amended, by its monotonic start.
    began: BTreeMap<u64, Timestamp>,
    opened: Timestamp,
    opened_ns: u64,
    accounts: HashMap<AccountId, OpenAccount>,
    lifetime: BTreeMap<String, TaskTotals>,
    lifetime_lengths: LifetimeLengths,
    counters: [u64; record::COUNTERS as usize],
    /// Waits that have not ended, as they were looked at last.
    waits: Vec<OpenWait>,
    loops: Loops,
    /// Of each thread, what closed windows tell of its last wait that had not ended.
    told: HashMap<TaskKey, Told>,
    cpu_period_ns: u64,
}

/// The part of a wait that closed windows tell of, while it had not ended.
#[derive(Debug, Clone, Copy)]
struct Told {
    since_ns: u64,
    ns: u64,
}

/// A wait that has not ended, with a stack that was read from outside.
#[derive(Debug, Clone)]
pub struct OpenWait {
    /// The process.
    pub process: ProcessId,
    /// The thread.
    pub thread: ThreadId,
    /// Why it waits.
    pub class: WaitClass,
    /// When the wait began, on the monotonic clock.
    pub since_ns: u64,
    /// When it was looked at.
    pub at_ns: u64,
    /// Where it waits.
    pub stack: RawStack,
    /// What it waits for is called, if that was asked for.
    pub subject_name: Option<Arc<str>>,
}

#[derive(Debug)]
struct OpenAccount {
    task: Arc<Task>,
    reported: Reported,
    reported_lengths: ReportedLengths,
    seen_ns: u64,
    /// Passes in a row that did not meet it.
    missed: u32,
    ended: bool,
}

impl OpenAccount {
    fn is_lost(&self, now_ns: u64) -> bool {
        !self.ended && self.missed >= 2 && now_ns.saturating_sub(self.seen_ns) > LOST_NS
    }
}

/// A window, closed or still open, and what it adds to earlier ones.
#[derive(Debug)]
pub struct Closed {
    /// The window.
    pub window: RawWindow,
    /// Parts of waits that ended in this window and began in earlier ones; each has the range of the window it amends.
    pub amendments: Vec<RawWindow>,
}

impl Aggregator {
    /// Opens the first window, at the given wall-clock and monotonic time.
    pub fn new(now: Timestamp, monotonic_ns: u64, cpu_period_ns: u64) -> Self {
        let mut aggregator = Self {
            window: Window::default(),
            amendments: BTreeMap::new(),
            amending_stacks: 0,
            history_ns: u64::MAX,
            edges: Edges::default(),
            began: BTreeMap::new(),
            opened: now,
            opened_ns: monotonic_ns,
            accounts: HashMap::new(),
            lifetime: BTreeMap::new(),
            lifetime_lengths: LifetimeLengths::default(),
            counters: [0; record::COUNTERS as usize],
            waits: Vec::new(),
            loops: Loops::default(),
            told: HashMap::new(),
            cpu_period_ns,
        };
        aggregator.begin_window(now, monotonic_ns);
        aggregator
    }

    /// Amends no window that was closed longer ago than this.
    pub fn with_history(self, history: Duration) -> Self {
        Self { history_ns: u64::try_from(history.as_nanos()).unwrap_or(u64::MAX), ..self }
    }

    /// Adds a captured stack. Returns whether the stack is new in this window: then its addresses are worth a look.
    pub fn add_stack(&mut self, event: &StackEvent<'_>) -> bool {
        let key = (event.process, event.thread);
        self.count_ending(event);
        let Some((index, is_new)) = self.window.intern_stack(BorrowedStack::of(event)) else { return false };
        let task = self.window.intern_task(key);
        if let StackKind::OffCpu { duration_ns, runq_ns, cause, .. } = event.kind {
            self.window.note_period(task, event.period_ns);
            if let OffCpuCause::Blocked(class) = cause {
                self.window.note_length(task, class, duration_ns.saturating_sub(runq_ns));
            }
        }
        match event.kind {
            StackKind::OnCpu => self.window.add_sample(task, index, on_cpu_addition(event)),
            StackKind::OffCpu { duration_ns, .. }
                if self.edges.is_within_open(event.at_ns.saturating_sub(duration_ns)) =>
            {
                add_off_cpu((&mut self.window, task), index, event, event.weight_ns, true);
            }
            StackKind::OffCpu { duration_ns, .. } => self.add_spanning(key, index, event, duration_ns),
        }
        self.add_loop_wait(key, event);
        is_new
    }

    /// Adds a look at the tasks of an event loop: to the window it was made in, when the wait it fell into is known.
    pub fn add_look(&mut self, look: Look) {
        if let Some((look, wait)) = self.loops.add_look(look) {
            self.book_look(&look, &wait);
        }
    }

    /// Brings a wait of a thread that is looked at together with the looks that fell into it.
    fn add_loop_wait(&mut self, key: TaskKey, event: &StackEvent<'_>) {
        let StackKind::OffCpu { duration_ns, cause: OffCpuCause::Blocked(class), idle, .. } = event.kind else {
            return;
        };
        if class != WaitClass::Poll || !self.loops.has(key) {
            return;
        }
        let detail = event.reason.detail.filter(|_| !idle).map_or("", |detail| detail.name);
        let charged = Awaited::charged(class, detail);
        let stack = (!charged.is_empty()).then(|| BorrowedStack::of(event).to_owned_stack());
        let wait = LoopWait {
            image: event.image,
            from_ns: event.at_ns.saturating_sub(duration_ns),
            to_ns: event.at_ns,
            weight_ns: event.weight_ns,
            detail,
            charged,
            stack,
        };
        for look in self.loops.add_wait(key, wait.clone()) {
            self.book_look(&look, &wait);
        }
    }

    fn book_look(&mut self, look: &Look, wait: &LoopWait) {
        if wait.charged.is_empty() {
            return;
        }
        if self.edges.is_within_open(look.at_ns) {
            return self.window.add_look(look, wait);
        }
        let start_ns = self.began.range(..=look.at_ns).next_back().map(|(start_ns, _)| *start_ns);
        // A window that the wait amends has its stack by now.
        if let Some(earlier) = start_ns.and_then(|start_ns| self.amendments.get_mut(&start_ns)) {
            earlier.add_look(look, wait);
        }
    }

    /// Whether the open window has a wait for this and does not know what it is called.
    pub fn lacks_name(&self, process: ProcessId, subject: Subject) -> bool {
        self.window.lacks_name(process, subject)
    }

    /// Tells what something is called that is waited for in the open window. Untrusted text.
    pub fn name_subject(&mut self, process: ProcessId, subject: Subject, name: Arc<str>) {
        self.window.name_subject(process, subject, name);
    }

    /// Whether the open window has a wait of the process that this waker ended, and its names were not asked for in this window.
    pub fn lacks_waker(&self, process: ProcessId, waker: Waker) -> bool {
        self.window.lacks_waker(process, waker)
    }

    /// The names of a waker were asked for.
    pub fn note_waker(&mut self, waker: Waker) {
        self.window.note_waker(waker);
    }

    /// Tells by which T the CPUs choose waits.
    pub fn note_periods(&mut self, periods: WaitPeriods) {
        self.window.note_periods(periods);
    }

    fn count_ending(&mut self, event: &StackEvent<'_>) {
        let reason = match event.user.addresses.is_empty() {
            true if event.user.ending == Ending::Complete => None,
            true => Some(LossReason::UserStackUnreadable),
            false => event.user.ending.loss(),
        };
        if let Some(reason) = reason {
            self.window.add_loss(reason, 1);
        }
        if let Some(reason) = event.python_ending.loss() {
            self.window.add_loss(reason, 1);
        }
        if event.tasks.last() == Some(&AsyncEntry::Cut) {
            self.window.add_loss(LossReason::PythonTasksCut, 1);
        }
        if event.user.has_gap && event.user.ending != Ending::TooDeep {
            self.window.add_loss(LossReason::StackTruncated, 1);
        }
    }

    /// A wait that began in an earlier window is cut at the edges. One shorter than the period stands for a whole period
    /// of waiting, wherever it lies, and stays whole; unless T has grown since a window closed that told of it while it went
    /// on, as of a wait that is certain to be captured: then it stands for the rest of it alone.
    fn add_spanning(&mut self, key: TaskKey, index: u32, event: &StackEvent<'_>, duration_ns: u64) {
        let task = self.window.intern_task(key);
        let from_ns = event.at_ns.saturating_sub(duration_ns);
        if duration_ns < event.period_ns {
            let told_ns = self.told.get(&key).filter(|told| told.since_ns == from_ns).map_or(0, |told| told.ns);
            let told_ns = share(event.weight_ns, told_ns, duration_ns);
            return add_off_cpu((&mut self.window, task), index, event, event.weight_ns - told_ns, true);
        }
        let oldest_ns = self.opened_ns.saturating_sub(self.history_ns);
        let mut window_ends_ns = u64::MAX;
        let is_kept = |part: &Part| std::mem::replace(&mut window_ends_ns, part.window_start_ns) > oldest_ns;
        let kept = self.edges.cut(from_ns, event.at_ns).take_while(is_kept);
        // Of a wait that ended just before the open window began, nothing lies in it.
        let parts: Vec<Part> = kept.filter(|part| part.length_ns > 0).collect();
        for (at, part) in parts.into_iter().enumerate() {
            let ends = at == 0;
            match part.window_start_ns == self.opened_ns {
                true => add_off_cpu((&mut self.window, task), index, event, part.length_ns, ends),
                false => self.add_amendment(key, event, part, ends),
            }
        }
    }

    /// Adds the part of a wait that lies in an earlier window, if there is room for its stack; `ends` if it ended there.
    fn add_amendment(&mut self, key: TaskKey, event: &StackEvent<'_>, part: Part, ends: bool) {
        let stack = BorrowedStack::of(event);
        let known = self.amendments.get(&part.window_start_ns).is_some_and(|earlier| earlier.has_stack(stack));
        if !known && self.amending_stacks >= AMENDING_STACKS {
            return self.window.add_loss(LossReason::WindowFull, 1);
        }
        let earlier = self.amendments.entry(part.window_start_ns).or_default();
        if let Some((index, is_new)) = earlier.intern_stack(stack) {
            self.amending_stacks += usize::from(is_new);
            let task = earlier.intern_task(key);
            add_off_cpu((earlier, task), index, event, part.length_ns, ends);
        }
    }

    /// Adds the last books of an account.
    pub fn add_end(&mut self, ended: &Ended) {
        self.report(&ended.account);
        if let Some(account) = self.accounts.get_mut(&ended.account.id) {
            account.ended = true;
        }
        self.loops.forget((ended.account.process, ended.account.id.thread));
    }

    /// Adds the books of a living account, met by a pass over all tasks.
    pub fn add_account(&mut self, account: &Account) {
        self.report(account);
    }

    /// Ends the pass. Accounts whose end must have been lost are forgotten.
    ///
    /// Not at once, because a dying thread is out of the pass's sight before its last books come.
    pub fn end_pass(&mut self, monotonic_ns: u64) {
        self.accounts.retain(|_, account| {
            account.missed += 1;
            !account.is_lost(monotonic_ns)
        });
    }

    /// Counts what the kernel half lost since it was last asked.
    pub fn add_counters(&mut self, counters: [u64; record::COUNTERS as usize]) {
        for (counter, reason) in COUNTED_LOSSES {
            let index = *counter as usize;
            self.window.add_loss(*reason, counters[index].saturating_sub(self.counters[index]));
        }
        self.counters = counters;
    }

    /// Counts one loss in the user half.
    pub fn add_loss(&mut self, reason: LossReason) {
        self.window.add_loss(reason, 1);
    }

    /// What was lost in the open window.
    pub fn loss(&self) -> Loss {
        self.window.loss().clone()
    }

    /// The open window so far.
    pub fn peek(&self, now: Timestamp) -> RawWindow {
        let names = LazyCell::new(|| self.names());
        let mut window = self.window.to_raw(TimeRange { from: self.opened, to: now }, |key| name(&names, key));
        window.subjects = self.window.names_of(&window.stacks);
        self.add_waits(&mut window);
        window.cpu_period_ns = self.cpu_period_ns;
        window
    }

    /// Tells of the waits that have not ended, instead of those told of before.
    pub fn set_waits(&mut self, waits: Vec<OpenWait>) {
        self.waits = waits;
    }

    /// Their parts within the window. No capture stands behind them: when the wait ends, its own capture takes their place.
    fn add_waits(&self, window: &mut RawWindow) {
        let tasks: HashMap<TaskKey, u32> =
            window.tasks.iter().zip(0..).map(|(task, at)| ((task.process, task.thread), at)).collect();
        for wait in &self.waits {
            let Some(task) = tasks.get(&(wait.process, wait.thread)) else { continue };
            let stack = window.stacks.len() as u32;
            window.stacks.push(wait.stack.clone());
            if let (Some(subject), Some(name)) = (wait.stack.reason.subject, &wait.subject_name) {
                window.subjects.entry((wait.process, subject)).or_insert_with(|| name.clone());
            }
            window.samples.push(RawSample {
                task: *task,
                state: RawState::Wait(wait.class),
                idle: false,
                stack,
                weight_ns: self.part_in_window(wait),
                count: 0,
                variance_ns2: 0.0,
                lengths: None,
            });
        }
    }

    fn part_in_window(&self, wait: &OpenWait) -> u64 {
        wait.at_ns.saturating_sub(wait.since_ns.max(self.opened_ns))
    }

    /// Remembers what the window that closes tells of waits that go on.
    fn note_told(&mut self) {
        for wait in &self.waits {
            let ns = self.part_in_window(wait);
            let new = Told { since_ns: wait.since_ns, ns: 0 };
            let told = self.told.entry((wait.process, wait.thread)).or_insert(new);
            if told.since_ns != wait.since_ns {
                *told = new;
            }
            told.ns += ns;
        }
    }

    /// What the open window adds to earlier ones so far.
    pub fn peek_amendments(&self) -> Vec<RawWindow> {
        if self.amendments.is_empty() {
            return Vec::new();
        }
        let names = self.names();
        self.amendments.iter().filter_map(|(start, amended)| self.amend(*start, amended, &names)).collect()
    }

    /// Closes the window and opens the next.
    pub fn close(&mut self, now: Timestamp, monotonic_ns: u64) -> Closed {
        let closed = Closed { window: self.peek(now), amendments: self.peek_amendments() };
        self.note_told();
        self.forget_ended();
        self.amendments.clear();
        self.amending_stacks = 0;
        self.waits.clear();
        self.window = Window::default();
        self.begin_window(now, monotonic_ns);
        closed
    }

    /// Forgets who ended before the window that closes began: stacks and snapshots may come a moment after the end, and
    /// windows are named when they close.
    fn forget_ended(&mut self) {
        let began_ns = self.opened_ns;
        self.accounts.retain(|_, account| !account.ended || account.seen_ns >= began_ns);
        // Not every end is told of.
        let living: HashSet<ThreadId> = self.accounts.keys().map(|id| id.thread).collect();
        self.told.retain(|(_, thread), _| living.contains(thread));
        self.loops.retain(|(_, thread)| living.contains(thread));
    }

    fn amend(&self, start_ns: u64, amended: &Window, names: &Names<'_>) -> Option<RawWindow> {
        let from = *self.began.get(&start_ns)?;
        let to = self.began.range(start_ns + 1..).next().map_or(self.opened, |(_, at)| *at);
        let mut amended = amended.to_raw(TimeRange { from, to }, |key| name(names, key));
        // The wait ended in the open window.
        amended.subjects = self.window.names_of(&amended.stacks);
        Some(amended)
    }

    fn begin_window(&mut self, now: Timestamp, monotonic_ns: u64) {
        self.opened = now;
        self.opened_ns = monotonic_ns;
        self.edges.begin_window(monotonic_ns);
        self.began.insert(monotonic_ns, now);
        if self.began.len() > super::limits::EDGES {
            self.began.pop_first();
        }
    }

    fn report(&mut self, account: &Account) {
        let open = self.accounts.entry(account.id).or_insert_with(|| OpenAccount {
            task: Arc::new(to_task(account)),
            reported: Reported::default(),
            reported_lengths: ReportedLengths::default(),
            seen_ns: 0,
            missed: 0,
            ended: false,
        });
        (open.seen_ns, open.missed) = (account.at_ns, 0);
        if *open.task.thread_name != account.thread_name || *open.task.process_name != account.process_name {
            open.task = Arc::new(to_task(account));
        }
        let gain = open.reported.advance(&account.totals);
        let lengths = open.reported_lengths.advance(&account.lengths);
        let task = self.window.name_task(&open.task);
        self.window.add_totals(task, &gain.totals);
        self.window.add_lengths(task, &lengths);
        self.lifetime_lengths.add(&lengths);
        self.window.add_loss(LossReason::RunDelayClamped, gain.clamped);
        self.add_lifetime(&account.process_name, &gain.totals);
    }

    fn add_lifetime(&mut self, name: &str, gain: &TaskTotals) {
        if let Some(totals) = self.lifetime.get_mut(name) {
            return totals.add(gain);
        }
        let name = if self.lifetime.len() < LIFETIME_NAMES { name } else { "other" };
        self.lifetime.entry(name.to_owned()).or_default().add(gain);
    }

    fn names(&self) -> Names<'_> {
        self.accounts.values().map(|account| ((account.task.process, account.task.thread), &account.task)).collect()
    }

    /// Exact totals since the start, by the name of the process.
    pub fn lifetime_totals(&self) -> Vec<(String, TaskTotals)> {
        self.lifetime.iter().map(|(name, totals)| (name.clone(), totals.clone())).collect()
    }

    /// How long waits were since the start, of all processes.
    pub fn lifetime_lengths(&self) -> &LifetimeLengths {
        &self.lifetime_lengths
    }

    /// The threads accounted now.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.accounts.values().filter(|account| !account.ended).map(|account| &account.task)
    }

    /// How many threads are accounted now.
    pub fn accounted(&self) -> usize {
        self.tasks().count()
    }
}

const COUNTED_LOSSES: &[(u32, LossReason)] = &[
    (record::COUNTER_STACK_RING_FULL, LossReason::StackRingFull),
    (record::COUNTER_LIFECYCLE_RING_FULL, LossReason::LifecycleRingFull),
    (record::COUNTER_THREAD_TABLE_FULL, LossReason::ThreadTableFull),
    (record::COUNTER_TARGET_TABLE_FULL, LossReason::ThreadTableFull),
    (record::COUNTER_WALK_REFUSED, LossReason::WalkRefused),
    (record::COUNTER_STACK_TRUNCATED, LossReason::StackTruncated),
];

/// Tasks by their key.
type Names<'a> = HashMap<TaskKey, &'a Arc<Task>>;

/// The task, by its account if it has one.
fn name(names: &Names<'_>, key: &TaskKey) -> Arc<Task> {
    match names.get(key) {
        Some(task) => Arc::clone(task),
        None => Arc::new(Task {
            process: key.0,
            thread: key.1,
            process_name: "?".into(),
            thread_name: "?".into(),
            kernel: false,
        }),
    }
}

fn to_task(account: &Account) -> Task {
    Task {
        process: account.process,
        thread: account.id.thread,
        process_name: account.process_name.as_str().into(),
        thread_name: account.thread_name.as_str().into(),
        kernel: account.kernel,
    }
}

/// Timer samples are independent points on the CPU axis: each contributes the square of its period.
fn on_cpu_addition(event: &StackEvent<'_>) -> Addition {
    let period = event.period_ns as f64;
    Addition {
        state: RawState::OnCpu,
        idle: false,
        weight_ns: event.weight_ns,
        variance_ns2: period * period,
        ended: None,
    }
}

/// Splits `weight_ns` of an off-CPU capture between the wait and the queueing that followed it. The wait itself counts in the
/// window it ends in.
fn add_off_cpu((window, task): (&mut Window, u32), stack: u32, event: &StackEvent<'_>, weight_ns: u64, ends: bool) {
    let StackKind::OffCpu { duration_ns, runq_ns, cause, idle } = event.kind else { return };
    let variance_ns2 = off_cpu_variance(event.weight_ns, duration_ns, event.period_ns);
    let state = match cause {
        OffCpuCause::Runnable => RawState::RunQueue,
        OffCpuCause::Throttled => RawState::Throttled,
        OffCpuCause::Blocked(class) => RawState::Wait(class),
    };
    let queued = match cause {
        OffCpuCause::Blocked(_) => share(weight_ns, runq_ns, duration_ns),
        _ => 0,
    };
    // All parts are the same draw times a constant.
    let part = |ns: u64| ns as f64 / event.weight_ns.max(1) as f64;
    let addition = |state, idle, ns, ended| Addition {
        state,
        idle,
        weight_ns: ns,
        variance_ns2: variance_ns2 * part(ns) * part(ns),
        ended,
    };
    let stands_for = event.weight_ns as f64 / duration_ns.max(1) as f64;
    let is_wait = ends && matches!(cause, OffCpuCause::Blocked(_));
    let ended = is_wait.then_some((duration_ns.saturating_sub(runq_ns), stands_for));
    window.add_sample(task, stack, addition(state, idle, weight_ns - queued, ended));
    window.add_sample(task, stack, addition(RawState::RunQueue, false, queued, None));
}

/// A wait shorter than the period T has the weight T with variance T(T - d); a longer one is certain.
fn off_cpu_variance(weight_ns: u64, duration_ns: u64, period_ns: u64) -> f64 {
    weight_ns as f64 * period_ns.saturating_sub(duration_ns) as f64
}

/// `weight * part / whole`, without overflow.
fn share(weight: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(weight) * u128::from(part.min(whole)) / u128::from(whole)) as u64 }
}

#[cfg(test)]
mod tests {
    use profiler_common::record::{Totals, account};
    use profiler_common::wait_lengths::Lengths;
    use profiler_common::{wait_class, wait_detail};

    use super::*;
    use crate::aggregate::Pending;
    use crate::profile::{ImageId, PythonEnding, PythonFrame, WaitDetail, WaitReason};
    use crate::wire::UserStack;

    const PROCESS: ProcessId = ProcessId { pid: 10, start_ns: 1 };
    const THREAD: ThreadId = ThreadId { tid: 11, start_ns: 2 };
    const SECOND: u64 = 1_000_000_000;

    fn aggregator() -> Aggregator {
        Aggregator::new(Timestamp(0), 0, 10_000_000)
    }

    fn off_cpu(at_ns: u64, duration_ns: u64, runq_ns: u64, weight_ns: u64) -> StackEvent<'static> {
        let cause = OffCpuCause::Blocked(WaitClass::Net);
        StackEvent {
            process: PROCESS,
            thread: THREAD,
            image: ImageId { process: PROCESS, exec_ns: 0 },
            at_ns,
            kind: StackKind::OffCpu { duration_ns, runq_ns, cause, idle: false },
            weight_ns,
            period_ns: 10_000_000,
            kernel: &[1],
            user: UserStack { addresses: &[2], ..UserStack::default() },
            java: &[],
            python: &[],
            python_ending: PythonEnding::NoInterpreter,
            tasks: &[],
            task_frames: 0,
            python_thread: None,
            lock_holder: None,
            code_ns: 0,
            collecting: false,
            reason: WaitReason::default(),
        }
    }

    /// The end of a wait of a loop, ended by a reply, or idle.
    fn looped(at_ns: u64, duration_ns: u64, idle: bool) -> StackEvent<'static> {
        let number = if idle { wait_detail::POLL_REQUEST } else { wait_detail::POLL_REPLY };
        let reason = WaitReason { detail: WaitDetail::from_number(number), ..WaitReason::default() };
        let cause = OffCpuCause::Blocked(WaitClass::Poll);
        let kind = StackKind::OffCpu { duration_ns, runq_ns: 0, cause, idle };
        StackEvent { kind, reason, ..off_cpu(at_ns, duration_ns, 0, duration_ns) }
    }

    fn look(at_ns: u64, pending: &[(Awaited, u64, u64)]) -> Look {
        let entry = |instruction| AsyncEntry::Frame(PythonFrame { code: 1, instruction, fingerprint: 2, place: None });
        let place = |(awaited, instruction, tasks): &(Awaited, u64, u64)| Pending {
            awaited: *awaited,
            entries: [entry(*instruction)].into(),
            tasks: *tasks,
        };
        let image = ImageId { process: PROCESS, exec_ns: 0 };
        let pending = pending.iter().map(place).collect();
        Look { image, thread: THREAD, at_ns, interval_ns: 100, pending }
    }

    #[test]
    fn looks_count_for_the_window_they_were_made_in_when_their_wait_has_ended() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(0, 0));
        let (client, replies) = ((Awaited::Client, 1, 5), [(Awaited::Reply, 7, 1), (Awaited::Reply, 8, 3)]);
        aggregator.add_look(look(SECOND, &[client]));
        aggregator.add_stack(&looped(SECOND + 1, SECOND, true));
        aggregator.add_look(look(2 * SECOND, &[client, replies[0], replies[1]]));
        assert!(aggregator.peek(Timestamp(1)).loops.is_empty(), "no wait that is not idle has ended");
        let first = aggregator.close(Timestamp(3 * SECOND), 3 * SECOND);
        assert!(first.window.loops.is_empty());
        aggregator.add_look(look(4 * SECOND, &[(Awaited::Timer, 9, 1)]));
        aggregator.add_stack(&looped(5 * SECOND, 4 * SECOND - 2, false));
        let second = aggregator.close(Timestamp(6 * SECOND), 6 * SECOND);
        let told = |windows: &[RawWindow]| -> Vec<(u64, u64, Vec<u64>)> {
            let loops = windows.iter().flat_map(|window| &window.loops);
            loops.map(|of| (of.looks, of.empty_ns, of.places.iter().map(|(_, ns)| *ns).collect())).collect()
        };
        assert_eq!(told(&second.amendments), [(1, 0, vec![25, 75])], "each task has the same part");
        assert_eq!(told(&[second.window]), [(1, 100, vec![])], "nobody awaited a reply");
    }

    #[test]
    fn looks_at_two_programs_of_one_thread_are_told_apart() {
        let mut aggregator = aggregator();
        let next = ImageId { process: PROCESS, exec_ns: 1500 };
        aggregator.add_look(look(1000, &[(Awaited::Reply, 7, 1)]));
        aggregator.add_stack(&looped(1100, 200, false));
        aggregator.add_look(Look { image: next, ..look(2000, &[(Awaited::Reply, 7, 1)]) });
        aggregator.add_stack(&StackEvent { image: next, ..looped(2100, 200, false) });
        let loops = aggregator.peek(Timestamp(1)).loops;
        let told: Vec<_> = loops.iter().map(|of| (of.task, of.image.exec_ns, of.looks)).collect();
        assert_eq!(told, [(0, 0, 1), (0, 1500, 1)]);
    }

    #[test]
    fn a_loop_whose_thread_has_no_account_any_more_is_forgotten() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(0, 0));
        aggregator.add_look(look(1000, &[]));
        aggregator.close(Timestamp(1), 2000);
        assert!(aggregator.loops.has((PROCESS, THREAD)));
        (0..3).for_each(|_| aggregator.end_pass(2 * LOST_NS));
        aggregator.close(Timestamp(2), 2 * LOST_NS);
        assert!(!aggregator.loops.has((PROCESS, THREAD)));
    }

    fn account(net_ns: u64, cpu_ns: u64) -> Account {
        let mut totals = Totals::ZERO;
        totals.times_ns[account::slot(account::CPU)] = cpu_ns;
        totals.times_ns[account::slot(wait_class::NET)] = net_ns;
        Account {
            id: AccountId { thread: THREAD, attach_ns: 5 },
            process: PROCESS,
            image: ImageId { process: PROCESS, exec_ns: 0 },
            at_ns: 0,
            totals,
            lengths: Box::new(Lengths::NONE),
            thread_name: "worker".into(),
            process_name: "service".into(),
            kernel: false,
            wait: None,
        }
    }

    #[test]
    fn a_captured_wait_is_split_between_the_wait_and_the_run_queue() {
        let mut aggregator = aggregator();
        assert!(aggregator.add_stack(&off_cpu(SECOND, 8_000_000, 2_000_000, 10_000_000)));
        assert!(!aggregator.add_stack(&off_cpu(SECOND, 8_000_000, 2_000_000, 10_000_000)));
        let window = aggregator.peek(Timestamp(2 * SECOND));
        let weights: Vec<(RawState, u64, u64)> =
            window.samples.iter().map(|sample| (sample.state, sample.weight_ns, sample.count)).collect();
        assert_eq!(weights, [(RawState::Wait(WaitClass::Net), 15_000_000, 2), (RawState::RunQueue, 5_000_000, 2)]);
    }

    #[test]
    fn every_capture_keeps_the_period_it_was_chosen_by() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(SECOND, 0));
        let with_period = |period_ns, weight_ns| StackEvent { period_ns, ..off_cpu(SECOND, 8_000_000, 0, weight_ns) };
        aggregator.add_stack(&with_period(20_000_000, 20_000_000));
        aggregator.add_stack(&with_period(1_000_000, 8_000_000));
        aggregator.note_periods(WaitPeriods::of(2_000_000));
        let window = aggregator.peek(Timestamp(2 * SECOND));
        assert_eq!(window.wait_periods, WaitPeriods { least_ns: 1_000_000, most_ns: 20_000_000 });
        assert_eq!(window.totals[0].wait_period_ns, 20_000_000);
        assert_eq!((window.samples[0].weight_ns, window.samples[0].variance_ns2), (28_000_000, 20e6 * 12e6));
    }

    #[test]
    fn a_wait_counts_once_where_it_ends_and_for_as_many_as_its_capture_stands_for() {
        let mut aggregator = aggregator();
        aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        aggregator.add_stack(&off_cpu(13 * SECOND, 5 * SECOND, SECOND, 5 * SECOND));
        aggregator.add_stack(&off_cpu(14 * SECOND, 100_000, 0, 10_000_000));
        let closed = aggregator.close(Timestamp(20 * SECOND), 20 * SECOND);
        let lengths =
            |window: &RawWindow| window.samples.iter().filter_map(|sample| sample.lengths.clone()).collect::<Vec<_>>();
        let [told] = &lengths(&closed.window)[..] else { panic!("{:?}", closed.window.samples) };
        let counts: Vec<f64> = told.counts().map(|(_, count)| count).collect();
        assert_eq!((counts, told.longest_ns), (vec![100.0, 1.0], 4 * SECOND));
        assert!(lengths(&closed.amendments[0]).is_empty());
    }

    #[test]
    fn a_wait_that_is_learnt_of_after_its_window_closed_counts_there() {
        let mut aggregator = aggregator();
        aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        aggregator.add_stack(&off_cpu(10 * SECOND - 1, 5 * SECOND, 0, 5 * SECOND));
        let closed = aggregator.close(Timestamp(20 * SECOND), 20 * SECOND);
        let [sample] = &closed.amendments[0].samples[..] else { panic!("{:?}", closed.amendments) };
        assert_eq!((sample.weight_ns, sample.lengths.as_ref().unwrap().longest_ns), (5 * SECOND, 5 * SECOND));
        assert!(closed.window.samples.is_empty());
    }

    #[test]
    fn a_million_lifetimes_leave_nothing_behind() {
        let mut aggregator = aggregator();
        let mut ended = Ended { account: account(2, 1), exited: true };
        for window in 1..=1000 {
            ended.account.at_ns = window * SECOND;
            for thread in 0..1000 {
                ended.account.id.thread = ThreadId { tid: thread, start_ns: window };
                aggregator.add_end(&ended);
            }
            aggregator.close(Timestamp(window * SECOND), window * SECOND);
            assert!(aggregator.accounts.len() <= 2000);
        }
        (1001..1003).for_each(|at| drop(aggregator.close(Timestamp(at * SECOND), at * SECOND)));
        assert!(aggregator.accounts.is_empty());
        assert_eq!(aggregator.lifetime_totals()[0].1.wall_ns(), 3_000_000);
    }

    #[test]
    fn a_wait_over_an_edge_is_cut_and_the_earlier_part_amends_the_earlier_window() {
        let mut aggregator = aggregator();
        aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        aggregator.add_stack(&off_cpu(13 * SECOND, 5 * SECOND, 0, 5 * SECOND));
        assert_eq!(aggregator.peek_amendments()[0].samples[0].weight_ns, 2 * SECOND);
        let closed = aggregator.close(Timestamp(20 * SECOND), 20 * SECOND);
        assert_eq!(closed.window.samples[0].weight_ns, 3 * SECOND);
        assert_eq!(closed.amendments[0].samples[0].weight_ns, 2 * SECOND);
        assert_eq!(closed.amendments[0].range, TimeRange { from: Timestamp(0), to: Timestamp(10 * SECOND) });
        assert!(aggregator.peek_amendments().is_empty());
    }

    #[test]
    fn no_window_older_than_the_history_is_amended() {
        let mut aggregator = aggregator().with_history(Duration::from_secs(15));
        [10, 20, 30].into_iter().for_each(|at| drop(aggregator.close(Timestamp(at * SECOND), at * SECOND)));
        aggregator.add_stack(&off_cpu(32 * SECOND, 32 * SECOND, 0, 32 * SECOND));
        let amended: Vec<_> =
            aggregator.peek_amendments().iter().map(|part| (part.range.from.0, part.samples[0].weight_ns)).collect();
        assert_eq!(amended, [(10 * SECOND, 10 * SECOND), (20 * SECOND, 10 * SECOND)]);
    }

    #[test]
    fn the_stacks_of_all_amendments_together_are_bounded() {
        let mut aggregator = aggregator();
        (1..=100).for_each(|at| drop(aggregator.close(Timestamp(at * SECOND), at * SECOND)));
        for address in 0..=AMENDING_STACKS as u64 / 100 {
            let user = [address];
            aggregator.add_stack(&StackEvent {
                user: UserStack { addresses: &user, ..UserStack::default() },
                ..off_cpu(101 * SECOND, 101 * SECOND, 0, 101 * SECOND)
            });
        }
        let stacks: usize = aggregator.peek_amendments().iter().map(|part| part.stacks.len()).sum();
        assert_eq!(stacks, AMENDING_STACKS);
        assert_eq!(aggregator.loss().iter().collect::<Vec<_>>(), [(LossReason::WindowFull, 100)]);
    }

    #[test]
    fn the_part_of_an_open_wait_within_the_window_is_a_sample_without_captures() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(0, 0));
        aggregator.close(Timestamp(SECOND), SECOND);
        aggregator.add_account(&account(SECOND, 0));
        let stack = BorrowedStack::of(&off_cpu(1, 1, 0, 1)).to_owned_stack();
        let (process, thread, class) = (PROCESS, THREAD, WaitClass::Sync);
        let wait =
            OpenWait { process, thread, class, since_ns: SECOND / 2, at_ns: 3 * SECOND, stack, subject_name: None };
        for _ in 0..2 {
            aggregator.set_waits(vec![wait.clone()]);
            let samples = aggregator.peek(Timestamp(3 * SECOND)).samples;
            let [sample] = &samples[..] else { panic!("{samples:?}") };
            assert_eq!((sample.state, sample.weight_ns, sample.count), (RawState::Wait(class), 2 * SECOND, 0));
        }
        assert_eq!(aggregator.close(Timestamp(3 * SECOND), 3 * SECOND).window.samples.len(), 1);
        assert!(aggregator.peek(Timestamp(4 * SECOND)).samples.is_empty());
    }

    /// T grows: a wait that was certain to be captured when a window closed is not any more when it ends.
    #[test]
    fn a_wait_that_was_told_while_it_went_on_is_not_told_twice_when_t_has_grown() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(SECOND, 0));
        let stack = BorrowedStack::of(&off_cpu(1, 1, 0, 1)).to_owned_stack();
        let (process, thread, class) = (PROCESS, THREAD, WaitClass::Net);
        let wait =
            OpenWait { process, thread, class, since_ns: 7 * SECOND, at_ns: 10 * SECOND, stack, subject_name: None };
        aggregator.set_waits(vec![wait]);
        let closed = aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        assert_eq!(closed.window.samples[0].weight_ns, 3 * SECOND);
        // Four seconds, a quarter of which is not told of yet; captured with a chance of four in eight.
        let mut event = off_cpu(11 * SECOND, 4 * SECOND, 0, 8 * SECOND);
        event.period_ns = 8 * SECOND;
        aggregator.add_stack(&event);
        let sample = &aggregator.peek(Timestamp(11 * SECOND)).samples[0];
        let quarter = off_cpu_variance(8 * SECOND, 4 * SECOND, 8 * SECOND) / 16.0;
        assert_eq!((sample.weight_ns, sample.variance_ns2), (2 * SECOND, quarter));
        // Another wait of the thread is told of by its capture alone.
        event.at_ns += 1;
        aggregator.add_stack(&event);
        assert_eq!(aggregator.peek(Timestamp(11 * SECOND)).samples[0].weight_ns, 10 * SECOND);
    }

    #[test]
    fn a_name_goes_with_the_window_in_which_it_was_asked_for_and_with_what_that_amends() {
        let mut aggregator = aggregator();
        aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        let subject = Subject::Process(7);
        let reason = WaitReason { subject: Some(subject), ..WaitReason::default() };
        for (second, name) in [(11, "first"), (21, "second")] {
            aggregator.add_stack(&StackEvent { reason, ..off_cpu(second * SECOND, 5 * SECOND, 0, 5 * SECOND) });
            assert!(aggregator.lacks_name(PROCESS, subject));
            aggregator.name_subject(PROCESS, subject, name.into());
            assert!(!aggregator.lacks_name(PROCESS, subject));
            let at = (second + 9) * SECOND;
            let closed = aggregator.close(Timestamp(at), at);
            for window in [&closed.window, &closed.amendments[0]] {
                assert_eq!(window.subjects[&(PROCESS, subject)].as_ref(), name);
            }
        }
    }

    #[test]
    fn totals_are_what_an_account_gained_within_the_window() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(4 * SECOND, SECOND));
        aggregator.end_pass(0);
        aggregator.close(Timestamp(5 * SECOND), 5 * SECOND);
        let ended = Ended { account: account(5 * SECOND, 3 * SECOND), exited: true };
        aggregator.add_end(&ended);
        let window = aggregator.close(Timestamp(10 * SECOND), 10 * SECOND).window;
        assert_eq!((window.totals[0].cpu_ns, window.totals[0].wait(WaitClass::Net)), (2 * SECOND, SECOND));
        assert_eq!(&*window.tasks[0].thread_name, "worker");
        assert_eq!(aggregator.accounted(), 0);
        assert_eq!(aggregator.lifetime_totals()[0].1.wall_ns(), 8 * SECOND);
    }

    #[test]
    fn an_account_whose_end_was_lost_is_forgotten_after_a_while() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(1, 1));
        aggregator.end_pass(LOST_NS);
        aggregator.end_pass(LOST_NS);
        assert_eq!(aggregator.accounted(), 1);
        aggregator.end_pass(LOST_NS + 2);
        assert_eq!(aggregator.accounted(), 0);
    }

    #[test]
    fn one_missed_pass_is_no_end_however_long_ago_the_last_one_was() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(1, SECOND));
        aggregator.end_pass(1000 * SECOND);
        assert_eq!(aggregator.accounted(), 1);
    }

    #[test]
    fn a_wait_that_is_learnt_of_after_its_thread_ended_has_a_name() {
        let mut aggregator = aggregator();
        aggregator.add_account(&account(1, SECOND));
        aggregator.close(Timestamp(10 * SECOND), 10 * SECOND);
        aggregator.add_end(&Ended { account: account(10 * SECOND + 5, 2 * SECOND), exited: true });
        aggregator.end_pass(11 * SECOND);
        aggregator.add_stack(&off_cpu(10 * SECOND + 4, 5 * SECOND, 0, 5 * SECOND));
        let closed = aggregator.close(Timestamp(20 * SECOND), 20 * SECOND);
        let names = closed.amendments[0].tasks.iter().map(|task| task.process_name.to_string());
        assert!(names.clone().all(|name| name != "?"), "{:?}", names.collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_that_comes_after_the_end_counts_nothing_twice() {
        let mut aggregator = aggregator();
        aggregator.add_end(&Ended { account: account(2, SECOND), exited: true });
        aggregator.end_pass(3);
        aggregator.add_account(&account(1, SECOND));
        let window = aggregator.close(Timestamp(4), 4).window;
        assert_eq!(window.totals.iter().map(|totals| totals.blocked_ns() + totals.cpu_ns).sum::<u64>(), SECOND + 2);
        assert_eq!(aggregator.accounted(), 0);
    }

    #[test]
    fn every_stack_that_lacks_frames_is_counted_by_its_reason() {
        let mut aggregator = aggregator();
        let mut add = |has_gap, ending| {
            let user = UserStack { addresses: &[2], has_gap, ending, ..UserStack::default() };
            aggregator.add_stack(&StackEvent { user, ..off_cpu(1, 1, 0, 1) });
        };
        [(false, Ending::Complete), (true, Ending::Complete), (true, Ending::TooDeep), (false, Ending::NoRule)]
            .into_iter()
            .for_each(|(has_gap, ending)| add(has_gap, ending));
        let counted: Vec<_> = aggregator.loss().iter().collect();
        assert_eq!(counted, [(LossReason::StackTruncated, 2), (LossReason::StackNoRule, 1)]);
    }

    #[test]
    fn losses_of_the_kernel_half_are_counted_once() {
        let mut aggregator = aggregator();
        let mut counters = [0; record::COUNTERS as usize];
        counters[record::COUNTER_STACK_RING_FULL as usize] = 7;
        aggregator.add_counters(counters);
        aggregator.add_counters(counters);
        let loss: Vec<_> = aggregator.peek(Timestamp(1)).loss.iter().collect();
        assert_eq!(loss, [(LossReason::StackRingFull, 7)]);
    }
}
