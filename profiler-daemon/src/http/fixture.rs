//! A twin of the daemon for tests: canned answers, and the refusals that a real one can give.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::aggregate::LifetimeLengths;
use crate::pipeline::{
    Daemon, DaemonError, ProcessStatus, QueryRange, Status, Target, TargetId, UnwindStatus, UnwindTotals,
};
use crate::profile::{
    Activity, CodeKind, Doing, Frame, FrameKind, LengthEstimate, LoopWaits, Loss, LossReason, Name, NamedWaker, Place,
    ProcessId, ProcessNow, Profile, Sample, SourceLine, Stack, State, Task, TaskTotals, ThreadId, ThreadNow, TimeRange,
    Timestamp, WaitClass, WaitDetail, WaitNow, WaitPeriods, Waker,
};
use crate::runtime::python::Refusal;
use crate::settings::Selector;

/// The process the canned profile is about.
pub(super) const PROFILED: u32 = 4711;
/// A process that is selected but has no time in the canned profile.
pub(super) const SELECTED: u32 = 4712;
/// A process that exists and is not selected.
pub(super) const UNSELECTED: u32 = 4713;
/// A process that does not exist.
pub(super) const MISSING: u32 = 4714;
/// A name that tries to break whatever it is printed in.
pub(super) const HOSTILE: &str = "<b>\u{1b}[31m\"evil\"\n";

/// Now, and the time at which everything canned begins.
pub(super) const START: u64 = 1_800_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// Whether a process of the fixture exists.
fn process_exists(pid: u32) -> bool {
    (PROFILED..MISSING).contains(&pid)
}

/// The twin. Its fields steer what it answers.
pub(super) struct Twin {
    /// What runs.
    pub status: Status,
    /// The selections in force.
    pub targets: Mutex<Vec<Target>>,
    /// Whether an event loop waits in the profile.
    pub has_loop: bool,
    /// If set, every question fails like this.
    pub failure: Option<DaemonError>,
    /// The ranges asked for.
    pub asked: Mutex<Vec<QueryRange>>,
    /// If set, a profile, or a look at threads, takes until the sender is dropped.
    pub busy: Mutex<Option<Receiver<()>>>,
}

impl Twin {
    /// A daemon that works and profiles everything.
    pub(super) fn working() -> Self {
        let target = Target { id: TargetId(1), selector: Selector::All, until: None, processes: 2 };
        Self {
            status: status(),
            targets: Mutex::new(vec![target]),
            has_loop: false,
            failure: None,
            asked: Mutex::default(),
            busy: Mutex::default(),
        }
    }

    /// A daemon in which every question fails.
    pub(super) fn failing(failure: DaemonError) -> Self {
        Self { failure: Some(failure), ..Self::working() }
    }

    fn fail(&self) -> Result<(), DaemonError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn work(&self) {
        if let Some(busy) = &*self.busy.lock().unwrap() {
            assert!(busy.recv().is_err(), "the sender is dropped");
        }
    }
}

impl Daemon for Twin {
    fn now(&self) -> Timestamp {
        Timestamp(START)
    }

    fn status(&self) -> Result<Status, DaemonError> {
        self.fail()?;
        Ok(self.status.clone())
    }

    fn processes(&self) -> Result<Vec<ProcessStatus>, DaemonError> {
        self.fail()?;
        let process = |pid, comm: &str| ProcessStatus {
            pid,
            comm: comm.to_owned(),
            exe: Some("/srv/app".to_owned()),
            threads: 1,
            targets: vec![TargetId(1)],
            unwind: Some(UnwindStatus {
                executables: 5,
                ready: 3,
                building: 1,
                python: Some(Err(Refusal::PyPy)),
                java: None,
            }),
        };
        Ok(vec![process(PROFILED, HOSTILE), process(SELECTED, "静か")])
    }

    fn targets(&self) -> Result<Vec<Target>, DaemonError> {
        self.fail()?;
        Ok(self.targets.lock().unwrap().clone())
    }

    fn add_target(&self, selector: Selector, lifetime: Option<Duration>) -> Result<TargetId, DaemonError> {
        self.fail()?;
        if let Selector::Pid(pid) = selector
            && !process_exists(pid)
        {
            return Err(DaemonError::NoSuchProcess(pid));
        }
        let mut targets = self.targets.lock().unwrap();
        let id = TargetId(targets.len() as u32 + 1);
        let until = lifetime.map(|lifetime| Timestamp(START + lifetime.as_nanos() as u64));
        targets.push(Target { id, selector, until, processes: 1 });
        Ok(id)
    }

    fn remove_target(&self, id: TargetId) -> Result<(), DaemonError> {
        self.fail()?;
        let mut targets = self.targets.lock().unwrap();
        let at = targets.iter().position(|target| target.id == id).ok_or(DaemonError::NoSuchTarget(id.0))?;
        targets.remove(at);
        Ok(())
    }

    fn profile(&self, range: QueryRange) -> Result<Profile, DaemonError> {
        self.fail()?;
        self.asked.lock().unwrap().push(range);
        self.work();
        Ok(if self.has_loop { profile_of_loop() } else { profile() })
    }

    fn resolve(&self, selector: &Selector) -> Result<BTreeSet<u32>, DaemonError> {
        self.fail()?;
        if let Selector::Pid(pid) = *selector {
            return process_exists(pid).then(|| [pid].into()).ok_or(DaemonError::NoSuchProcess(pid));
        }
        let pids: &[u32] = match selector.to_string().as_str() {
            "exe:/usr/bin/python3" => &[PROFILED],
            "exe:/usr/bin/quiet" => &[SELECTED],
            "exe:/usr/bin/unselected" => &[UNSELECTED],
            "comm:nginx" => &[SELECTED, PROFILED],
            "comm:unselected" => &[UNSELECTED],
            "cgroup:/system.slice" => &[PROFILED, UNSELECTED],
            _ => &[],
        };
        Ok(pids.iter().copied().collect())
    }

    fn threads(&self, pid: u32) -> Result<ProcessNow<Place>, DaemonError> {
        self.fail()?;
        if !process_exists(pid) {
            return Err(DaemonError::NoSuchProcess(pid));
        }
        self.work();
        let wait = WaitNow { class: Some(WaitClass::Net), call: Some("recvfrom".to_owned()), ..WaitNow::default() };
        let stack = profile().stacks.into_iter().next().unwrap();
        let thread =
            |tid, doing, stack| ThreadNow { tid, name: HOSTILE.to_owned(), doing, cpu_ns: Some(SECOND), stack };
        Ok(ProcessNow {
            pid,
            comm: HOSTILE.to_owned(),
            executable: Some("/srv/app".into()),
            selected: pid != UNSELECTED,
            notes: Vec::new(),
            threads: vec![
                thread(pid, Doing::Waiting(wait), Ok(stack)),
                thread(pid + 1, Doing::Running, Err("it runs".to_owned())),
            ],
        })
    }

    fn lifetime_totals(&self) -> Result<Vec<(String, TaskTotals)>, DaemonError> {
        self.fail()?;
        Ok(vec![(HOSTILE.to_owned(), totals())])
    }
}

fn status() -> Status {
    let mut loss = Loss::default();
    loss.add(LossReason::StackRingFull, 3);
    Status {
        started: Timestamp(START),
        attached: true,
        kernel: "6.18.0".to_owned(),
        variant: "storage".to_owned(),
        switch_in: "kprobe".to_owned(),
        fallbacks: vec!["no sched_exit_tp: a kprobe costs more per switch".to_owned()],
        frequency_hz: 97,
        wait_budget_hz: 200,
        wait_periods: WaitPeriods { least_ns: 1_000_000, most_ns: 10_000_000 },
        window_ns: 10 * SECOND,
        threads: 2,
        windows: 6,
        history_bytes: 5 << 20,
        history_limit_bytes: 256 << 20,
        unwind: UnwindTotals { spaces: 2, tables: 5, table_bytes: 3 << 20, rules: 400, building: 1, without_table: 1 },
        counters: vec![("stack_walks", 123)],
        wait_lengths: LifetimeLengths::default(),
        loss,
        longest_absence_ns: 12_000_000,
        self_cpu_ns: SECOND / 2,
        self_rss_bytes: 30 << 20,
    }
}

fn totals() -> TaskTotals {
    let mut totals = TaskTotals { cpu_ns: 3 * SECOND, runq_ns: SECOND, ..TaskTotals::default() };
    totals.wait_ns[WaitClass::Disk as usize] = 6 * SECOND;
    totals.waits[WaitClass::Disk as usize] = 600;
    totals
}

/// The canned profile, with a captured wait of an event loop, part of which is attributed to an `await`.
fn profile_of_loop() -> Profile {
    let mut profile = profile();
    let waker = NamedWaker {
        process_name: Some(HOSTILE.into()),
        thread_name: Some(HOSTILE.into()),
        ..NamedWaker::nameless(Waker::Thread { pid: SELECTED, tid: SELECTED, over_network: true })
    };
    let waiting = Stack::new(vec![frame("select")])
        .with_wait(Some(WaitDetail { class: WaitClass::Poll, name: "reply", idle: false }))
        .with_subject(Some(HOSTILE.into()))
        .with_waker(Some(Arc::new(waker)));
    profile.stacks.extend([waiting, Stack::new(vec![frame("fetch")])]);
    profile.samples.push(Sample {
        state: State::Wait(WaitClass::Poll),
        stack: 1,
        weight_ns: SECOND,
        lengths: Some(Box::new(LengthEstimate::of(SECOND / 100, 100.0))),
        ..profile.samples[0].clone()
    });
    profile.totals[0].wait_ns[WaitClass::Poll as usize] = SECOND;
    profile.totals[0].waits[WaitClass::Poll as usize] = 100;
    profile.loop_waits.push(LoopWaits { task: 0, detail: "reply", looks: 25, empty_ns: 1, awaits: vec![(2, 9)] });
    profile
}

fn profile() -> Profile {
    let task = Task {
        process: ProcessId { pid: PROFILED, start_ns: 1 },
        thread: ThreadId { tid: PROFILED, start_ns: 1 },
        process_name: HOSTILE.into(),
        thread_name: HOSTILE.into(),
        kernel: false,
    };
    let sample = |state, weight_ns| Sample {
        task: 0,
        state,
        idle: false,
        stack: 0,
        weight_ns,
        count: 100,
        variance_ns2: 1e12,
        lengths: None,
    };
    Profile {
        range: TimeRange { from: Timestamp(START), to: Timestamp(START + 10 * SECOND) },
        tasks: vec![Arc::new(task)],
        stacks: vec![Stack::new(vec![frame("read_all"), frame("main")])],
        samples: vec![
            sample(State::OnCpu(CodeKind::Native), 3 * SECOND),
            sample(State::Wait(WaitClass::Disk), 6 * SECOND),
        ],
        totals: vec![totals()],
        wait_lengths: Vec::new(),
        loop_waits: Vec::new(),
        cpu_period_ns: 10_000_000,
        wait_periods: WaitPeriods::of(10_000_000),
        loss: Loss::default(),
    }
}

fn frame(name: &str) -> Arc<Frame> {
    let source = SourceLine { text: "\tread(fd, \u{1b}[31m);".into(), is_newer: true };
    Arc::new(Frame {
        kind: FrameKind::Native,
        name: Name::Known(name.into()),
        file: Some("/src/app.c".into()),
        line: Some(7),
        module: Some("app".into()),
        address: 0x1000,
        inlined: false,
        activity: Activity::Running,
        source: Some(source.into()),
    })
}
