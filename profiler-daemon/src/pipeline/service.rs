//! A running pipeline as a [`Daemon`]: sends commands to the collector and reads the store.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::absent;
use super::awaits;
use super::builder::{self, BuildQueue};
use super::collector::{AddError, Collector, Command, Watch};
use super::dump::with_names;
use super::namer::{self, Peeked, Shared};
use super::question::{Question, Unnamed};
use super::queue::queue;
use super::threads::Threads;
use super::unwinder::{Progress, UnwindReport, Unwinder, Unwinding};
use super::waits;
use super::waker::Waker;
use super::{Daemon, DaemonError, ProcessStatus, QueryRange, StartError, Status, Target, TargetId};
use crate::bpf::{CodeMaps, Kernel, LoadError, Rings};
use crate::outside::{Accounts, Host, Reader};
use crate::process::{ProcWorld, ProcessError, Registry, in_initial_pid_namespace, resolve};
use crate::profile::merge::{amend_profile, merge_profiles};
use crate::profile::{Place, ProcessNow, Profile, TaskTotals, TimeRange, Timestamp};
use crate::runtime::Runtimes;
use crate::settings::{SamplingSettings, Selector};
use crate::store::Ring;
use crate::symbolize::Debuginfod;
use crate::sys::clock::SteadyClock;
use crate::sys::descriptors;
use crate::sys::private_directory::PrivateDirectory;
use crate::unwind::TableCache;

/// How long threads that only read and name are waited for at the end.
const GRACE: Duration = Duration::from_secs(1);

/// A running pipeline. Dropping it detaches and unloads the kernel half.
pub struct Service {
    commands: Mutex<Option<Sender<Command>>>,
    waker: Waker,
    shared: Arc<Shared>,
    threads: Threads,
    /// Reads the threads of a process somebody asks about.
    reader: Mutex<Reader>,
}

impl Service {
    /// Loads the kernel half and selects. Returns when every selected thread is accounted.
    pub fn start(settings: &SamplingSettings, selectors: &[Selector]) -> Result<Arc<Self>, StartError> {
        Self::start_watched(settings, selectors, None)
    }

    /// The same, and shows `watch` every stack as it was captured, on the collector's thread.
    pub fn start_watched(
        settings: &SamplingSettings,
        selectors: &[Selector],
        watch: Option<Watch>,
    ) -> Result<Arc<Self>, StartError> {
        if !in_initial_pid_namespace() {
            return Err(LoadError::NotInInitialPidNamespace.into());
        }
        let kernel = Kernel::load(settings)?;
        let service = Self::launch(settings, kernel, Kept::open(settings)?, watch)?;
        for selector in selectors {
            service.select(selector.clone(), None).map_err(|error| match error {
                AddError::Process(error) => StartError::Select(error),
                AddError::Kernel(error) => StartError::Load(error),
                AddError::Daemon(error) => StartError::Target(error),
            })?;
        }
        Ok(service)
    }

    fn launch(
        settings: &SamplingSettings,
        (kernel, rings, code): (Kernel, Rings, CodeMaps),
        kept: Kept,
        watch: Option<Watch>,
    ) -> Result<Arc<Self>, StartError> {
        // The executables of processes are kept open; with the old limit, fewer are.
        if let Err(error) = descriptors::raise_limit() {
            tracing::warn!("failed to raise the limit on open files: {error}");
        }
        let shared = Arc::new(Shared {
            ring: Mutex::new(Ring::new(settings.history, settings.history_bytes)),
            registry: Registry::new(),
            runtimes: Arc::new(Runtimes::default()),
            asked: Arc::default(),
            stopping: Default::default(),
            clock: SteadyClock::start(),
            windows: Default::default(),
            history_bytes: Default::default(),
            process_gone: Default::default(),
        });
        let (commands, receiver) = channel();
        let (work, to_name) = queue();
        let waker = Waker::new()?;
        let threads = Threads::new();
        let tables = Arc::new(kept.tables);
        let unwinding = start_unwinding(&threads, tables.clone(), code, &shared, &waker)?;
        let reader_on_demand = Mutex::new(Reader::new(tables.clone()));
        let (waits, reader) = waits::waits(tables, waker.clone());
        let to_reader = shared.clone();
        threads.start("sleepers", move || reader.run(&to_reader))?;
        let (awaits, looker) = awaits::awaits(settings.awaits);
        if settings.awaits {
            let to_looker = shared.clone();
            threads.start("awaits", move || looker.run(&to_looker))?;
        }
        let (absent, fetcher) = absent::absent();
        let to_fetcher = shared.clone();
        threads.start("absent", move || fetcher.run(&to_fetcher))?;
        let pipes = (receiver, waker.clone(), work);
        let collector =
            Collector::new((kernel, rings), settings, shared.clone(), (unwinding, waits, awaits, absent), pipes)
                .watched(watch);
        threads.start("collector", move || collector.run())?;
        let to_store = shared.clone();
        let symbols = (kept.debuginfod, settings.source_text);
        threads.start("namer", move || namer::run(&to_store, to_name, symbols))?;
        Ok(Arc::new(Self { commands: Mutex::new(Some(commands)), waker, shared, threads, reader: reader_on_demand }))
    }

    /// The name of a thread that ended without being told to. Nothing is measured any more then.
    pub fn lost_thread(&self) -> Option<&'static str> {
        let told_to_end = lock(&self.commands).is_none();
        if told_to_end { None } else { *self.threads.first_ended().borrow() }
    }

    /// Becomes `Some` when the first thread ends, told to or not.
    pub fn first_ended(&self) -> watch::Receiver<Option<&'static str>> {
        self.threads.first_ended()
    }

    /// Detaches everything and ends the threads. Requests under way are answered with [`DaemonError::ShuttingDown`].
    pub fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(commands) = lock(&self.commands).take() {
            let _ = commands.send(Command::Stop);
            self.waker.wake();
        }
        self.threads.join(&["collector", "unwinder"], GRACE);
    }

    fn select(&self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, AddError> {
        self.ask(|to| Command::AddTarget(selector, lifetime, to)).map_err(AddError::Daemon)?
    }

    /// Sends a command and waits for its answer.
    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, DaemonError> {
        let (to, answer): (SyncSender<T>, Receiver<T>) = sync_channel(1);
        let sent = lock(&self.commands).as_ref().map(|commands| commands.send(command(to)));
        let sent = sent.ok_or(DaemonError::ShuttingDown)?;
        self.waker.wake();
        sent.ok().and_then(|()| answer.recv().ok()).ok_or_else(|| self.why_unanswered())
    }

    fn why_unanswered(&self) -> DaemonError {
        let told_to_end = lock(&self.commands).is_none();
        if told_to_end { DaemonError::ShuttingDown } else { DaemonError::ThreadLost }
    }

    /// The open window so far, named.
    pub(super) fn peek(&self) -> Result<Peeked, DaemonError> {
        self.ask(Command::Peek)
    }

    /// Stored windows that overlap the range and ended before the open one began, amended by it.
    fn stored(&self, range: TimeRange, peeked: &Peeked) -> Vec<Arc<Profile>> {
        let ring = self.shared.ring();
        let open_from = peeked.open.range.from;
        let closed_meanwhile = ring.span().is_some_and(|span| span.to > open_from);
        let mut windows = ring.overlapping(range);
        drop(ring);
        windows.retain(|window| window.range.from < open_from);
        if !closed_meanwhile {
            amend(&mut windows, &peeked.amendments);
        }
        windows
    }

    fn history_begins(&self, open: &Profile) -> String {
        let begins = self.shared.ring().span().map_or(open.range.from, |span| span.from);
        match jiff::Timestamp::from_nanosecond(i128::from(begins.0)) {
            Ok(time) => time.to_string(),
            Err(_) => "an unknown time".to_owned(),
        }
    }
}

/// Starts the unwinder and the builder.
fn start_unwinding(
    threads: &Threads,
    tables: Arc<TableCache>,
    code: CodeMaps,
    shared: &Arc<Shared>,
    waker: &Waker,
) -> Result<Unwinding, StartError> {
    let (jobs, to_do) = channel();
    let (queue, report) = (Arc::<BuildQueue>::default(), Arc::<UnwindReport>::default());
    let progress = Arc::<Progress>::default();
    let told = (progress.clone(), report.clone());
    let unwinder = Unwinder::new((code, Arc::new(ProcWorld)), shared.clone(), queue.clone(), told, waker.clone());
    threads.start("unwinder", move || unwinder.run(&to_do))?;
    let to_unwinder = jobs.clone();
    threads.start("builder", move || builder::run(&queue, &tables, &to_unwinder))?;
    Ok(Unwinding::new(jobs, progress, report))
}

impl Daemon for Service {
    fn now(&self) -> Timestamp {
        self.shared.now()
    }

    fn status(&self) -> Result<Status, DaemonError> {
        self.ask(Command::Status)
    }

    fn processes(&self) -> Result<Vec<ProcessStatus>, DaemonError> {
        self.ask(Command::Processes)
    }

    fn targets(&self) -> Result<Vec<Target>, DaemonError> {
        self.ask(Command::Targets)
    }

    fn add_target(&self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, DaemonError> {
        self.select(selector, lifetime).map_err(|error| match error {
            AddError::Process(ProcessError::NoSuchProcess(pid)) => DaemonError::NoSuchProcess(pid),
            AddError::Process(error) => DaemonError::Kernel(error.to_string()),
            AddError::Kernel(error) => DaemonError::Kernel(error.to_string()),
            AddError::Daemon(error) => error,
        })
    }

    fn remove_target(&self, id: TargetId) -> Result<(), DaemonError> {
        self.ask(|to| Command::RemoveTarget(id, to))?
    }

    fn profile(&self, range: QueryRange) -> Result<Profile, DaemonError> {
        // The open window first: one that closes in between is then in the store, and left out there.
        let peeked = self.peek()?;
        let open = &peeked.open;
        let range = match range {
            QueryRange::Between(range) => range,
            QueryRange::Last(length) => {
                let now = self.shared.now().0;
                let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
                TimeRange { from: Timestamp(now.saturating_sub(length)), to: Timestamp(now) }
            }
        };
        let stored = self.stored(range, &peeked);
        let open_part = open.range.overlaps(&range).then_some(open);
        if stored.is_empty() && open_part.is_none() {
            return Err(DaemonError::NoHistory(self.history_begins(open)));
        }
        Ok(merge_profiles(stored.iter().map(AsRef::as_ref).chain(open_part)))
    }

    fn resolve(&self, selector: &Selector) -> Result<BTreeSet<u32>, DaemonError> {
        match resolve(selector, &ProcWorld) {
            Ok(pids) => Ok(pids.into_iter().collect()),
            Err(ProcessError::NoSuchProcess(pid)) => Err(DaemonError::NoSuchProcess(pid)),
            Err(error) => Err(DaemonError::Kernel(error.to_string())),
        }
    }

    fn threads(&self, pid: u32) -> Result<ProcessNow<Place>, DaemonError> {
        let mut failure = None;
        let accounts = || {
            let told = self.ask(|to| Command::Accounts(pid, to));
            told.unwrap_or_else(|error| {
                failure = Some(error);
                Accounts::new()
            })
        };
        let profiled = Host { registry: &self.shared.registry, runtimes: &self.shared.runtimes, world: &ProcWorld };
        let question = Arc::new(Question::new(&self.shared.asked));
        let host = |is_profiled| if is_profiled { profiled } else { question.host() };
        let raw = lock(&self.reader).read_process(pid, accounts, host);
        match (failure, raw) {
            (Some(error), _) => Err(error),
            (None, Err(ProcessError::NoSuchProcess(pid) | ProcessError::Gone(pid))) => {
                Err(DaemonError::NoSuchProcess(pid))
            }
            (None, Err(error)) => Err(DaemonError::Kernel(error.to_string())),
            (None, Ok(raw)) => {
                let question = (!raw.selected).then_some(question);
                with_names(raw, |stacks| self.ask(|to| Command::Name(Unnamed { stacks, question }, to)))
            }
        }
    }

    fn lifetime_totals(&self) -> Result<Vec<(String, TaskTotals)>, DaemonError> {
        self.ask(Command::Lifetime)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Who keeps files from run to run, each in a directory of its own below the one the user named.
struct Kept {
    tables: TableCache,
    /// The servers the user named, if any.
    debuginfod: Option<Debuginfod>,
}

impl Kept {
    /// What servers send has to be kept; tables are made again where they cannot be.
    fn open(settings: &SamplingSettings) -> Result<Self, StartError> {
        let (servers, limit_bytes) = (&settings.debuginfod, settings.cache_limit);
        let Some(path) = &settings.cache_dir else { return Ok(Self::nothing()) };
        let failed = |error| StartError::Cache { path: path.clone(), error };
        let directory = match PrivateDirectory::open(path) {
            Err(error) if servers.is_empty() => {
                tracing::warn!("nothing is kept in `{}`: {error}", path.display());
                return Ok(Self::nothing());
            }
            opened => opened.map_err(failed)?,
        };
        let debuginfod = match servers.is_empty() {
            true => None,
            false => Some(Debuginfod::start(servers, &directory, limit_bytes).map_err(failed)?),
        };
        let tables = TableCache::open(&directory, limit_bytes).unwrap_or_else(|error| {
            tracing::warn!("unwind tables are not kept in `{}`: {error}", path.display());
            TableCache::disabled()
        });
        Ok(Self { tables, debuginfod })
    }

    fn nothing() -> Self {
        Self { tables: TableCache::disabled(), debuginfod: None }
    }
}

/// Adds each amendment to the window it belongs to.
fn amend(windows: &mut [Arc<Profile>], amendments: &[Profile]) {
    for part in amendments {
        if let Some(window) = windows.iter_mut().find(|window| window.range.from == part.range.from) {
            *window = Arc::new(amend_profile(window, part));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Service {
    /// A service without a kernel half, whose collector is `collect`.
    fn collecting_with(collect: impl FnOnce(Receiver<Command>) + Send + 'static) -> Arc<Self> {
        let ring = Mutex::new(Ring::new(Duration::from_secs(60), 1 << 20));
        let shared = Arc::new(Shared {
            ring,
            registry: Registry::new(),
            runtimes: Arc::default(),
            asked: Arc::default(),
            stopping: Default::default(),
            clock: SteadyClock::start(),
            windows: Default::default(),
            history_bytes: Default::default(),
            process_gone: Default::default(),
        });
        let (commands, receiver) = channel();
        let threads = Threads::new();
        threads.start("collector", move || collect(receiver)).unwrap();
        let reader = Mutex::new(Reader::new(Arc::new(TableCache::disabled())));
        Arc::new(Self { commands: Mutex::new(Some(commands)), waker: Waker::new().unwrap(), shared, threads, reader })
    }

    /// A service whose collector panics at the first command.
    pub(crate) fn with_broken_collector() -> Arc<Self> {
        Self::collecting_with(|commands| {
            let _command = commands.recv();
            std::panic::resume_unwind(Box::new("broken"));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Stack;

    #[test]
    fn a_lost_collector_is_an_error_to_every_question_and_no_empty_answer() {
        let service = Service::with_broken_collector();
        let lost = DaemonError::ThreadLost;
        assert_eq!(service.status(), Err(lost.clone()), "the question at which it panics");
        assert_eq!(service.processes(), Err(lost.clone()));
        assert_eq!(service.targets(), Err(lost.clone()));
        assert_eq!(service.lifetime_totals(), Err(lost.clone()));
        assert_eq!(service.profile(QueryRange::Last(Duration::from_secs(1))), Err(lost.clone()));
        assert_eq!(service.add_target(Selector::All, None), Err(lost));
    }

    #[test]
    fn a_question_about_a_process_that_is_not_profiled_leaves_nothing_behind() {
        let service = Service::collecting_with(|commands| {
            while let Ok(command) = commands.recv() {
                match command {
                    Command::Accounts(_, to) => to.send(Accounts::new()).unwrap(),
                    Command::Name(unnamed, to) => to.send(vec![Stack::default(); unnamed.stacks.len()]).unwrap(),
                    _ => return,
                }
            }
        });
        let (gate, open) = channel::<()>();
        let sleeper = std::thread::spawn(move || open.recv());
        for _ in 0..3 {
            let now = service.threads(std::process::id()).unwrap();
            assert!(!now.selected && now.threads.iter().any(|thread| thread.stack.is_ok()), "{now:?}");
        }
        drop(gate);
        assert!(sleeper.join().unwrap().is_err());
        let shared = &service.shared;
        assert!(shared.registry.is_empty() && shared.registry.executables().is_empty());
        assert!(format!("{:?}", shared.runtimes.python).ends_with("images: 0 }"), "{:?}", shared.runtimes.python);
        assert!(!shared.asked.is_empty(), "the next question opens nothing anew");
    }

    #[test]
    fn a_collector_that_was_told_to_end_is_not_lost() {
        let service = Service::collecting_with(|commands| while !matches!(commands.recv(), Ok(Command::Stop)) {});
        service.shutdown();
        assert_eq!(service.lost_thread(), None);
        assert_eq!(service.status(), Err(DaemonError::ShuttingDown));
    }
}
