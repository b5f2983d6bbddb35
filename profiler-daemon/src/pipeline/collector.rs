//! The thread that owns the kernel half: reads its rings, closes windows, carries out commands.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::absence::Absence;
use super::absent::Absent;
use super::awaits::Awaits;
use super::executed::{Executed, LOOK_TIME};
use super::namer::{Peeked, Shared, Work};
use super::question::Unnamed;
use super::queue::Outbox;
use super::remapped::Remapped;
use super::selection::{SelectError, Selection};
use super::unwinder::{Job, Unwinding};
use super::waits::Waits;
use super::waker::Waker;
use super::{DaemonError, ProcessStatus, Status, Target, TargetId};
use crate::aggregate::{Aggregator, Closed};
use crate::bpf::reader::Ring;
use crate::bpf::{Kernel, LoadError, Rings, Runtime};
use crate::outside::Accounts;
use crate::process::{Image, ProcWorld, ProcessError, World, resolve};
use crate::profile::{AsyncEntry, Ending, ImageId, Loss, LossReason, Stack, TaskTotals, Timestamp};
use crate::settings::{SamplingSettings, Selector};
use crate::sys::{clock, usage};
use crate::wire::{
    Account, LifecycleEvent, Room, StackEvent, StackKind, decode_lifecycle, decode_snapshot, decode_stack,
};

/// The longest time records lie in the rings: a tenth of what fills them.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// How often CPUs, ended targets and live selectors are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long the processes of a target are prepared at most before they are sampled all the same. Stacks that need what is
/// not there yet are cut, and say so.
const PREPARE: Duration = Duration::from_secs(10);

/// The same for a target that selects everything: it need not be complete at once.
const PREPARE_ALL: Duration = Duration::from_millis(200);

/// When the unwinder is told again of an image that the kernel half still does not know.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// Images the unwinder was told of that are remembered; beyond it, it is told again.
const TOLD: usize = 65_536;

/// What the collector is asked to do. Each answers on its own channel.
pub(super) enum Command {
    AddTarget(Selector, Option<Duration>, SyncSender<Result<TargetId, AddError>>),
    RemoveTarget(TargetId, SyncSender<Result<(), DaemonError>>),
    Targets(SyncSender<Vec<Target>>),
    Processes(SyncSender<Vec<ProcessStatus>>),
    Status(SyncSender<Status>),
    Lifetime(SyncSender<Vec<(String, TaskTotals)>>),
    /// The open window so far.
    Peek(SyncSender<Peeked>),
    /// What the kernel half knows now of the threads of a process.
    Accounts(u32, SyncSender<Accounts>),
    /// Stacks are to be named.
    Name(Unnamed, SyncSender<Vec<Stack>>),
    Stop,
}

/// Is shown every stack as it was captured.
pub type Watch = Box<dyn FnMut(&StackEvent<'_>) + Send>;

/// Why a target could not be added.
#[derive(Debug)]
pub(super) enum AddError {
    Process(ProcessError),
    Kernel(LoadError),
    Daemon(DaemonError),
}

impl From<SelectError> for AddError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Process(error) => Self::Process(error),
            SelectError::Kernel(error) => Self::Kernel(error),
            SelectError::Full(error) => Self::Daemon(error),
        }
    }
}

/// The collector's state; it lives on its own thread.
pub(super) struct Collector {
    kernel: Kernel,
    rings: Rings,
    books: Books,
    selection: Selection,
    settings: SamplingSettings,
    commands: Receiver<Command>,
    waker: Waker,
    work: Outbox<Work>,
    /// Who asked for the open window and waits until the namer has room for it.
    peeks: VecDeque<SyncSender<Peeked>>,
    /// Stacks that wait for the same.
    to_name: VecDeque<(Unnamed, SyncSender<Vec<Stack>>)>,
    started: Timestamp,
    window_ends: Instant,
    upkeep_due: Instant,
    /// Targets whose processes are being prepared for unwinding.
    preparing: Vec<Preparing>,
}

/// A target that takes effect when its processes can be unwound, or when that takes too long.
struct Preparing {
    selector: Selector,
    /// The processes it meant when it was asked for.
    pids: Vec<u32>,
    lifetime: Option<Duration>,
    to: SyncSender<Result<TargetId, AddError>>,
    done: Arc<AtomicBool>,
    until: Instant,
}

/// What records are booked to.
struct Books {
    aggregator: Aggregator,
    shared: Arc<Shared>,
    /// Processes with a new program or name since the last look.
    executed: Executed,
    /// Images of which code was replaced since they were read.
    remapped: Remapped,
    /// Everything lost in closed windows.
    loss: Loss,
    windows: u64,
    absence: Absence,
    /// Where stacks are decoded.
    room: Room,
    unwinding: Unwinding,
    /// The images the unwinder was told of: which reading, and when.
    told: HashMap<ImageId, (u64, Instant)>,
    watch: Option<Watch>,
    waits: Waits,
    awaits: Awaits,
    absent: Absent,
}

impl Collector {
    /// Takes over the loaded kernel half. Nothing is selected yet.
    pub(super) fn new(
        (kernel, rings): (Kernel, Rings),
        settings: &SamplingSettings,
        shared: Arc<Shared>,
        (unwinding, waits, awaits, absent): (Unwinding, Waits, Awaits, Absent),
        (commands, waker, work): (Receiver<Command>, Waker, Outbox<Work>),
    ) -> Self {
        let now = shared.now();
        let cpu_period_ns = crate::bpf::kernel::cpu_period_ns(settings.frequency_hz);
        let aggregator = Aggregator::new(now, clock::monotonic_ns(), cpu_period_ns).with_history(settings.history);
        Self {
            kernel,
            rings,
            books: Books::new(aggregator, shared, unwinding, (waits, awaits, absent)),
            selection: Selection::default(),
            settings: settings.clone(),
            commands,
            waker,
            work,
            peeks: VecDeque::new(),
            to_name: VecDeque::new(),
            started: now,
            window_ends: Instant::now() + settings.window,
            upkeep_due: Instant::now() + UPKEEP_INTERVAL,
            preparing: Vec::new(),
        }
    }

    /// Shows every stack to `watch`.
    pub(super) fn watched(mut self, watch: Option<Watch>) -> Self {
        self.books.watch = watch;
        self
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            // While the waits in progress are read, their window does not close.
            let window_ends = self.books.waits.reading_until(now).unwrap_or(self.window_ends);
            let due = window_ends.min(self.upkeep_due).saturating_duration_since(now);
            let due = if self.books.executed.is_empty() { due.min(READ_INTERVAL) } else { Duration::ZERO };
            let due = self.books.remapped.due().map_or(due, |at| due.min(at.saturating_duration_since(now)));
            self.leave_for(now + due);
            self.rings.wait(std::os::fd::AsFd::as_fd(&self.waker), due);
            self.waker.reset();
            self.drain();
            self.books.follow_remapped(Instant::now() + LOOK_TIME);
            self.follow_executed();
            if !self.carry_out_commands() {
                return;
            }
            self.add_prepared();
            self.answer_peeks();
            self.keep_up(Instant::now());
        }
    }

    fn keep_up(&mut self, now: Instant) {
        if now >= self.window_ends {
            self.window_ends = now + self.close_window(now);
        }
        if now >= self.upkeep_due {
            self.upkeep(now);
            self.upkeep_due = now + UPKEEP_INTERVAL;
        }
    }

    /// Nothing but records will be waited for until then.
    fn leave_for(&mut self, until: Instant) {
        let now = Instant::now();
        if !self.kernel.is_attached() {
            self.books.absence.excuse(now);
        }
        self.books.absence.wait(now, until);
    }

    fn drain(&mut self) {
        let Self { rings, books, .. } = self;
        books.awaits.take().for_each(|look| books.aggregator.add_look(look));
        rings.drain(|ring, bytes| books.add_record(ring, bytes));
        books.absence.end(Instant::now());
    }

    /// Brings the totals up to date: a pass over all tasks, and what the kernel half lost.
    fn visit(&mut self) {
        self.visit_each(|_| {});
    }

    /// The same, and shows each account.
    fn visit_each(&mut self, mut each: impl FnMut(&Account)) {
        if self.kernel.is_attached() {
            let Books { aggregator, waits, .. } = &mut self.books;
            let periods = self.kernel.wait_periods(clock::monotonic_ns());
            aggregator.note_periods(periods);
            waits.begin_pass();
            let visited = self.kernel.visit_tasks(|snapshot, lengths| {
                let account = decode_snapshot(snapshot, lengths);
                waits.note(&account, periods.most_ns);
                aggregator.add_account(&account);
                each(&account);
            });
            warn_on(visited);
        }
        self.drain();
        self.books.aggregator.end_pass(clock::monotonic_ns());
        self.books.aggregator.add_counters(self.kernel.counters());
    }

    /// Whether the waits in progress were looked at, as far as there is time; if that has not begun, it begins now.
    fn waits_are_read(&mut self, now: Instant) -> bool {
        if !self.books.waits.has_begun() {
            self.visit();
            return !self.books.waits.begin_reading(now);
        }
        self.books.waits.reading_until(now).is_none()
    }

    /// Brings the totals up to date, and with them the waits in progress.
    fn finish_reading(&mut self) {
        if self.books.waits.has_begun() {
            self.visit();
        }
        let waits = self.books.waits.take();
        self.books.aggregator.set_waits(waits);
    }

    /// Closes the window, unless the namer is behind: then the window goes on. Returns how long to wait until the next try.
    fn close_window(&mut self, now: Instant) -> Duration {
        if self.work.room() == 0 {
            return READ_INTERVAL.min(self.settings.window);
        }
        if !self.waits_are_read(now) {
            return Duration::ZERO;
        }
        self.finish_reading();
        let closed = self.books.aggregator.close(self.books.shared.now(), clock::monotonic_ns());
        self.books.loss.merge(&closed.window.loss);
        self.books.windows += 1;
        self.work.send(Work::Store(Box::new(closed)));
        self.settings.window
    }

    fn upkeep(&mut self, now: Instant) {
        self.books.end_upkeep();
        warn_on(self.kernel.follow_cpus());
        for id in self.selection.expired(now) {
            let _ = self.remove_target(id);
        }
        if self.kernel.is_attached() {
            match self.selection.refresh(&mut self.kernel) {
                Ok(true) => self.settle(),
                Ok(false) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    /// Looks at processes with a new program or name. Those there is no time for wait for the next turn, which then comes
    /// at once.
    fn follow_executed(&mut self) {
        let Self { kernel, selection, books, .. } = self;
        let follow = |pid| match selection.follow(kernel, pid) {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!("{error}");
                false
            }
        };
        if books.executed.look_until(Instant::now() + LOOK_TIME, Instant::now, follow) {
            self.settle();
        }
    }

    /// Lets a change of the selection take effect: opens and closes books accordingly.
    fn settle(&mut self) {
        self.kernel.settle();
        self.visit();
    }

    /// Has the processes a target means prepared, so that their first stack is whole. They are not sampled until then, or
    /// until it takes too long.
    fn prepare_target(
        &mut self,
        selector: Selector,
        lifetime: Option<Duration>,
        to: SyncSender<Result<TargetId, AddError>>,
    ) {
        let pids = match resolve(&selector, &ProcWorld) {
            Ok(pids) => pids,
            Err(error) => return drop(to.send(Err(AddError::Process(error)))),
        };
        let longest = if selector == Selector::All { PREPARE_ALL } else { PREPARE };
        let done = Arc::<AtomicBool>::default();
        self.books.unwinding.give(Job::Prepare(pids.clone(), done.clone()));
        self.preparing.push(Preparing { selector, pids, lifetime, to, done, until: Instant::now() + longest });
    }

    fn add_prepared(&mut self) {
        let now = Instant::now();
        let is_ready = |target: &mut Preparing| target.done.load(Ordering::Acquire) || target.until <= now;
        let ready: Vec<Preparing> = self.preparing.extract_if(.., is_ready).collect();
        // Those that are ready are sampled with all their frames from the first stack on.
        if self.books.unwinding.report.has_python() {
            warn_on(self.kernel.walk_runtime(Runtime::Python));
        }
        if self.books.unwinding.report.has_java() {
            warn_on(self.kernel.walk_runtime(Runtime::Java));
        }
        for target in ready {
            let added = self.add_target(target.selector, target.lifetime);
            if added.is_err() {
                self.retain_selected();
            }
            // Whoever asked may have given up.
            let _ = target.to.send(added);
        }
    }

    /// Has the unwinder forget processes that are neither selected nor about to be.
    fn retain_selected(&mut self) {
        if !self.selection.selects_all() {
            let selected = self.kernel.targets().into_iter().map(|(pid, _)| pid);
            let preparing = self.preparing.iter().flat_map(|target| target.pids.iter().copied());
            self.books.unwinding.give(Job::Retain(selected.chain(preparing).collect()));
            self.books.told.clear();
        }
        self.books.awaits.forget_all();
    }

    fn add_target(&mut self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, AddError> {
        let was_attached = self.kernel.is_attached();
        let id = self.selection.add(&mut self.kernel, selector, lifetime);
        if !was_attached {
            self.books.absence.excuse(Instant::now());
        }
        if id.is_err() && self.selection.is_empty() {
            warn_on(self.kernel.detach());
        }
        let id = id?;
        self.settle();
        self.work.send(Work::Prepare);
        Ok(id)
    }

    fn remove_target(&mut self, id: TargetId) -> Result<(), DaemonError> {
        self.selection.remove(&mut self.kernel, id).map_err(|error| match error {
            SelectError::Full(error) => error,
            other => DaemonError::Kernel(other.to_string()),
        })?;
        self.settle();
        self.retain_selected();
        if self.selection.is_empty() {
            self.kernel.detach().map_err(|error| DaemonError::Kernel(error.to_string()))?;
        }
        Ok(())
    }

    /// Carries out every command that waits; returns whether to go on. Nobody may be waiting for an answer any more.
    fn carry_out_commands(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::AddTarget(selector, lifetime, to) => self.prepare_target(selector, lifetime, to),
                Command::RemoveTarget(id, to) => drop(to.send(self.remove_target(id))),
                Command::Targets(to) => drop(to.send(self.targets())),
                Command::Processes(to) => drop(to.send(self.processes())),
                Command::Status(to) => drop(to.send(self.status())),
                Command::Lifetime(to) => {
                    self.visit();
                    drop(to.send(self.books.aggregator.lifetime_totals()));
                }
                Command::Peek(to) => self.peeks.push_back(to),
                Command::Accounts(pid, to) => drop(to.send(self.accounts_of(pid))),
                Command::Name(unnamed, to) => self.to_name.push_back((unnamed, to)),
                Command::Stop => return false,
            }
        }
        true
    }

    /// Hands the open window so far to the namer for everybody who asked, as far as the namer has room. Every turn tries.
    /// One place is left for the window that closes next, so that many who ask cannot keep it open.
    fn answer_peeks(&mut self) {
        while self.work.room() > 1
            && let Some((unnamed, to)) = self.to_name.pop_front()
        {
            self.work.send(Work::Name(unnamed, to));
        }
        while !self.peeks.is_empty() && self.work.room() > 1 && self.waits_are_read(Instant::now()) {
            self.finish_reading();
            let aggregator = &self.books.aggregator;
            let window = aggregator.peek(self.books.shared.now());
            let open = Closed { window, amendments: aggregator.peek_amendments() };
            if let Some(to) = self.peeks.pop_front() {
                self.work.send(Work::Answer(Box::new(open), to));
            }
        }
    }

    fn accounts_of(&mut self, pid: u32) -> Accounts {
        let mut accounts = Accounts::new();
        self.visit_each(|account| {
            if account.process.pid == pid {
                accounts.insert(account.id.thread.tid, account.clone());
            }
        });
        accounts
    }

    fn targets(&self) -> Vec<Target> {
        self.selection.list(&self.kernel, self.threads_by_process().len())
    }

    fn threads_by_process(&self) -> BTreeMap<u32, (Arc<str>, u64)> {
        let mut processes: BTreeMap<u32, (Arc<str>, u64)> = BTreeMap::new();
        for task in self.books.aggregator.tasks() {
            let entry = processes.entry(task.process.pid).or_insert_with(|| (task.process_name.clone(), 0));
            entry.1 += 1;
        }
        processes
    }

    fn processes(&mut self) -> Vec<ProcessStatus> {
        self.visit();
        let masks: HashMap<u32, u64> = self.kernel.targets().into_iter().collect();
        let of = |pid: u32| masks.get(&pid).copied().unwrap_or(0);
        let processes = self.threads_by_process();
        processes
            .into_iter()
            .map(|(pid, (comm, threads))| ProcessStatus {
                pid,
                comm: comm.to_string(),
                exe: ProcWorld.executable_path(pid).ok().map(|path| path.to_string_lossy().into_owned()),
                threads,
                targets: self.selection.ids_of(of(pid)),
                unwind: self.books.unwinding.report.process(pid),
            })
            .collect()
    }

    fn status(&self) -> Status {
        let features = self.kernel.features();
        let counters = self.kernel.counters();
        let mut loss = self.books.loss.clone();
        loss.merge(&self.books.aggregator.loss());
        loss.add(LossReason::ProcessGone, self.books.shared.process_gone.load(Ordering::Relaxed));
        Status {
            started: self.started,
            attached: self.kernel.is_attached(),
            kernel: features.release.clone(),
            variant: features.variant.name().to_owned(),
            switch_in: features.switch_in.name().to_owned(),
            fallbacks: features.fallbacks.clone(),
            frequency_hz: self.settings.frequency_hz,
            wait_budget_hz: self.settings.wait_budget_hz,
            wait_periods: self.kernel.wait_periods(clock::monotonic_ns()),
            window_ns: u64::try_from(self.settings.window.as_nanos()).unwrap_or(u64::MAX),
            threads: self.books.aggregator.accounted() as u64,
            windows: self.books.shared.windows.load(Ordering::Relaxed) as u64,
            history_bytes: self.books.shared.history_bytes.load(Ordering::Relaxed) as u64,
            history_limit_bytes: self.settings.history_bytes as u64,
            unwind: self.books.unwinding.report.totals(),
            counters: vec![
                ("stack_walks", counters[profiler_common::record::COUNTER_STACK_WALKS as usize]),
                ("context_switches", counters[profiler_common::record::COUNTER_SWITCHES as usize]),
                ("windows", self.books.windows),
            ],
            wait_lengths: self.books.aggregator.lifetime_lengths().clone(),
            loss,
            longest_absence_ns: self.books.absence.longest().as_nanos() as u64,
            self_cpu_ns: usage::cpu_ns(),
            self_rss_bytes: usage::resident_bytes(),
        }
    }
}

impl Books {
    fn new(
        aggregator: Aggregator,
        shared: Arc<Shared>,
        unwinding: Unwinding,
        (waits, awaits, absent): (Waits, Awaits, Absent),
    ) -> Self {
        Self {
            aggregator,
            shared,
            executed: Executed::default(),
            remapped: Remapped::default(),
            loss: Loss::default(),
            windows: 0,
            absence: Absence::new(Instant::now()),
            room: Room::default(),
            unwinding,
            told: HashMap::new(),
            watch: None,
            waits,
            awaits,
            absent,
        }
    }

    /// Has what is known of processes that ended forgotten.
    fn end_upkeep(&mut self) {
        self.unwinding.give(Job::Sweep);
        if self.told.len() > TOLD {
            self.told.clear();
        }
    }

    fn add_record(&mut self, ring: Ring, bytes: &[u8]) {
        self.absence.end(Instant::now());
        let understood = match ring {
            Ring::Stacks => self.add_stack_record(bytes),
            Ring::Lifecycle => decode_lifecycle(bytes).map(|event| self.add_lifecycle(event)),
        };
        if understood.is_none() {
            self.aggregator.add_loss(LossReason::Undecodable);
        }
    }

    fn add_stack_record(&mut self, bytes: &[u8]) -> Option<()> {
        let mut room = std::mem::take(&mut self.room);
        let understood = decode_stack(bytes, &mut room).map(|event| self.add_stack(&event));
        self.room = room;
        understood
    }

    fn add_stack(&mut self, event: &StackEvent<'_>) {
        if let Some(watch) = &mut self.watch {
            watch(event);
        }
        let is_new = self.aggregator.add_stack(event);
        if is_new {
            self.ask_names(event);
        }
        if let Some(state) = event.python_thread {
            self.shared.runtimes.python.note_thread(event.image, state, event.thread);
        }
        self.observe(event, is_new);
        // Whoever is told of the thread finds its image known.
        self.awaits.note(event);
    }

    /// Asks what the thread waited for is called, and who ended that, where the window does not know yet.
    fn ask_names(&mut self, event: &StackEvent<'_>) {
        let (aggregator, registry, process) = (&mut self.aggregator, &self.shared.registry, event.image.process);
        if let Some(subject) = event.reason.subject
            && aggregator.lacks_name(process, subject)
            && let Some(name) = registry.subjects().ask(process, subject, &ProcWorld)
        {
            aggregator.name_subject(process, subject, name);
        }
        if let (Some(waker), StackKind::OffCpu { runq_ns, .. }) = (event.reason.waker, event.kind)
            && aggregator.lacks_waker(process, waker)
        {
            let woken_ns = clock::boot_of_monotonic_ns(event.at_ns.saturating_sub(runq_ns));
            if registry.wakers().observe(waker, woken_ns, &ProcWorld) {
                aggregator.note_waker(waker);
            }
        }
    }

    /// A stack that is new in this window may come from a process, a library or generated code not seen before, which
    /// must be read while the process lives. So may one that was cut because its code was not known.
    fn observe(&mut self, event: &StackEvent<'_>, is_new: bool) {
        let is_cut = matches!(event.user.ending, Ending::Unmapped | Ending::Unprepared);
        // What is not recorded of a name may be another by now, though the record is the same.
        let has_names = event.tasks.iter().any(AsyncEntry::has_more_name);
        if event.user.addresses.is_empty() || !is_new && !is_cut && !has_names {
            return;
        }
        let (now, registry) = (Instant::now(), &self.shared.registry);
        // A process that is gone already is counted when its stacks are named.
        let image = match event.user.ending {
            Ending::Unmapped => {
                registry.observe(event.image, &ProcWorld).and_then(|_| registry.refresh(event.image, now, &ProcWorld))
            }
            _ => registry.observe_addresses(event.image, event.user.addresses, now, &ProcWorld),
        };
        if let Some(image) = image {
            self.note_code(event, &image, now);
            self.tell_unwinder(&image, event.user.ending, now);
            self.shared.runtimes.observe(&image, now, &ProcWorld);
            let runtimes = &self.shared.runtimes;
            let python = runtimes.python.observe_present(&image, (event.python, event.tasks), &ProcWorld);
            let java = runtimes.java.observe_present(&image, event.java, &ProcWorld);
            self.absent.note(image.id, python, java);
        }
    }

    /// A stack tells of code that was replaced even if the record that did is lost: the image must be read again.
    fn note_code(&mut self, event: &StackEvent<'_>, image: &Image, now: Instant) {
        self.shared.registry.note_stack(image.id, event.code_ns, event.at_ns);
        if event.code_ns >= image.read_from_ns {
            self.remapped.add(image.id, now);
        }
    }

    /// Tells of each reading of an image once, and again if the kernel half still does not know it.
    fn tell_unwinder(&mut self, image: &Arc<Image>, ending: Ending, now: Instant) {
        let told = self.told.get(&image.id);
        let is_known = told.is_some_and(|(revision, at)| {
            *revision == image.revision && (ending != Ending::Unprepared || now - *at < TELL_AGAIN)
        });
        if !is_known && self.unwinding.observe(image) {
            self.told.insert(image.id, (image.revision, now));
        }
    }

    /// Reads images again of which code was replaced, as far as there is time; one at least.
    fn follow_remapped(&mut self, until: Instant) {
        while let Some(image) = self.remapped.take_due(Instant::now()) {
            if let Some(image) = self.shared.registry.reread(image, &ProcWorld) {
                self.tell_unwinder(&image, Ending::Complete, Instant::now());
            }
            if Instant::now() >= until {
                break;
            }
        }
    }

    fn add_lifecycle(&mut self, event: LifecycleEvent) {
        match event {
            LifecycleEvent::Executed(executed) => self.executed.add(executed.process.pid),
            LifecycleEvent::Mapped(code) => {
                if self.shared.registry.note_mapped(code) {
                    self.remapped.add(code.image, Instant::now());
                }
            }
            LifecycleEvent::Ended(ended) => {
                self.aggregator.add_end(&ended);
                self.awaits.forget(ended.account.id.thread);
                if ended.exited && ended.account.id.thread.tid == ended.account.process.pid {
                    self.shared.registry.end_image(ended.account.image);
                    self.told.remove(&ended.account.image);
                }
            }
        }
    }
}

/// Failures of upkeep do not end the daemon; they are logged.
fn warn_on(result: Result<(), LoadError>) {
    if let Err(error) = result {
        tracing::warn!("{error}");
    }
}
