//! A running pipeline as a [`Daemon`]: sends commands to the collector and reads the store.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::collector::{AddError, Collector, Command};
use super::namer::{Peeked, Shared, start_namer};
use super::waker::Waker;
use super::{Daemon, DaemonError, ProcessStatus, QueryRange, StartError, Status, Target, TargetId};
use crate::bpf::{Kernel, LoadError};
use crate::process::{ProcWorld, ProcessError, Registry, in_initial_pid_namespace, resolve};
use crate::profile::merge::merge_profiles;
use crate::profile::{Profile, TaskTotals, TimeRange, Timestamp};
use crate::runtime::Runtimes;
use crate::settings::{SamplingSettings, Selector};
use crate::store::Ring;
use crate::sys::{clock, descriptors};

/// A running pipeline. Dropping it detaches and unloads the kernel half.
pub struct Service {
    commands: Mutex<Option<Sender<Command>>>,
    waker: Waker,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Service {
    /// Loads the kernel half and selects. Returns when every selected thread is accounted.
    pub fn start(settings: &SamplingSettings, selectors: &[Selector]) -> Result<Arc<Self>, StartError> {
        if !in_initial_pid_namespace() {
            return Err(LoadError::NotInInitialPidNamespace.into());
        }
        let service = Self::launch(settings, Kernel::load(settings)?)?;
        for selector in selectors {
            service.select(selector.clone(), None).map_err(|error| match error {
                AddError::Process(error) => StartError::Select(error),
                AddError::Kernel(error) => StartError::Load(error),
                AddError::Daemon(error) => StartError::Target(error),
            })?;
        }
        Ok(service)
    }

    fn launch(settings: &SamplingSettings, kernel: (Kernel, crate::bpf::Rings)) -> Result<Arc<Self>, StartError> {
        // The executables of processes are kept open; with the old limit, fewer are.
        if let Err(error) = descriptors::raise_limit() {
            tracing::warn!("failed to raise the limit on open files: {error}");
        }
        let shared = Arc::new(Shared {
            ring: Mutex::new(Ring::new(settings.history, settings.history_bytes)),
            registry: Registry::new(),
            runtimes: Arc::new(Runtimes::default()),
        });
        let (commands, receiver) = channel();
        let (work, to_name) = channel();
        let waker = Waker::new()?;
        let collector = Collector::new(kernel, settings, shared.clone(), (receiver, waker.clone(), work));
        let threads = vec![
            std::thread::Builder::new().name("collector".into()).spawn(move || collector.run())?,
            start_namer(shared.clone(), to_name)?,
        ];
        Ok(Arc::new(Self { commands: Mutex::new(Some(commands)), waker, shared, threads: Mutex::new(threads) }))
    }

    /// Detaches everything and ends the threads. Requests under way are answered with [`DaemonError::ShuttingDown`].
    pub fn shutdown(&self) {
        if let Some(commands) = lock(&self.commands).take() {
            let _ = commands.send(Command::Stop);
            self.waker.wake();
        }
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }

    fn select(&self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, AddError> {
        self.ask(|to| Command::AddTarget(selector, lifetime, to)).map_err(AddError::Daemon)?
    }

    /// Sends a command and waits for its answer.
    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, DaemonError> {
        let (to, answer): (SyncSender<T>, Receiver<T>) = sync_channel(1);
        let sent = lock(&self.commands).as_ref().map(|commands| commands.send(command(to)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(DaemonError::ShuttingDown);
        }
        self.waker.wake();
        answer.recv().map_err(|_| DaemonError::ShuttingDown)
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

impl Daemon for Service {
    fn status(&self) -> Status {
        self.ask(Command::Status).unwrap_or_default()
    }

    fn processes(&self) -> Vec<ProcessStatus> {
        self.ask(Command::Processes).unwrap_or_default()
    }

    fn targets(&self) -> Vec<Target> {
        self.ask(Command::Targets).unwrap_or_default()
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
                let now = clock::epoch_ns();
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

    fn lifetime_totals(&self) -> Vec<(String, TaskTotals)> {
        self.ask(Command::Lifetime).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Adds each amendment to the window it belongs to.
fn amend(windows: &mut [Arc<Profile>], amendments: &[Profile]) {
    for part in amendments {
        if let Some(window) = windows.iter_mut().find(|window| window.range.from == part.range.from) {
            *window = Arc::new(merge_profiles([&**window, part]));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
