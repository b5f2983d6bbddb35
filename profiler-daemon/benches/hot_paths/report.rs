//! A table of hotspots from a profile of 10,000 samples.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use profiler_daemon::profile::{
    Activity, CodeKind, Frame, FrameKind, Loss, Name, ProcessId, Profile, Sample, Stack, State, Task, TaskTotals,
    ThreadId, TimeRange, Timestamp, WaitClass, WaitPeriods,
};
use profiler_daemon::report::{HotspotQuery, hotspots};

const SAMPLES: u32 = 10_000;
const STACKS: u32 = 2_000;
const TASKS: u32 = 50;
const FUNCTIONS: u32 = 800;
const DEPTH: u32 = 24;
const WEIGHT_NS: u64 = 10_000_000;
const STATES: [State; 5] = [
    State::OnCpu(CodeKind::Native),
    State::OnCpu(CodeKind::Python),
    State::RunQueue,
    State::Wait(WaitClass::Net),
    State::Wait(WaitClass::Lock),
];

/// Times the default table and the inclusive one.
pub(crate) fn bench(criterion: &mut Criterion) {
    let profile = profile();
    for (name, inclusive) in [("report/hotspots_10k", false), ("report/hotspots_10k_inclusive", true)] {
        let query = HotspotQuery { inclusive, ..HotspotQuery::default() };
        assert!(!hotspots(&profile, &query).rows.is_empty(), "the profile has rows");
        criterion.bench_function(name, |bencher| bencher.iter(|| hotspots(black_box(&profile), &query)));
    }
}

fn profile() -> Profile {
    let functions: Vec<Arc<Frame>> = (0..FUNCTIONS).map(function).collect();
    Profile {
        range: TimeRange { from: Timestamp(0), to: Timestamp(60_000_000_000) },
        tasks: (0..TASKS).map(task).collect(),
        stacks: (0..STACKS).map(|at| stack(at, &functions)).collect(),
        samples: (0..SAMPLES).map(sample).collect(),
        totals: (0..TASKS).map(totals).collect(),
        cpu_period_ns: WEIGHT_NS,
        wait_periods: WaitPeriods::of(WEIGHT_NS),
        wait_lengths: Vec::new(),
        loop_waits: Vec::new(),
        loss: Loss::default(),
    }
}

fn function(at: u32) -> Arc<Frame> {
    Arc::new(Frame {
        kind: FrameKind::Native,
        name: Name::Known(format!("app::module_{}::function_{at}", at % 40).into()),
        file: Some(format!("/srv/app/src/module_{}.rs", at % 40).into()),
        line: Some(at),
        module: Some("app".into()),
        address: u64::from(at) * 0x100,
        inlined: false,
        activity: Activity::Running,
        source: None,
    })
}

fn stack(at: u32, functions: &[Arc<Frame>]) -> Stack {
    let frame = |depth: u32| functions[((at * 31 + depth * 17) % FUNCTIONS) as usize].clone();
    Stack::new((0..DEPTH).map(frame).collect::<Vec<_>>())
}

/// Each combination of task, state and stack occurs once.
fn sample(at: u32) -> Sample {
    Sample {
        task: at % TASKS,
        state: STATES[(at / STACKS) as usize],
        idle: false,
        stack: at % STACKS,
        weight_ns: WEIGHT_NS,
        count: 1,
        variance_ns2: 1e12,
        lengths: None,
    }
}

fn task(at: u32) -> Arc<Task> {
    Arc::new(Task {
        process: ProcessId { pid: 100, start_ns: 1 },
        thread: ThreadId { tid: 100 + at, start_ns: 1 },
        process_name: "app".into(),
        thread_name: format!("worker-{at}").into(),
        kernel: false,
    })
}

fn totals(task: u32) -> TaskTotals {
    let share = u64::from(SAMPLES / TASKS) * WEIGHT_NS / STATES.len() as u64;
    let mut totals = TaskTotals { task, cpu_ns: 2 * share, runq_ns: share, ..TaskTotals::default() };
    for class in [WaitClass::Net, WaitClass::Lock] {
        totals.wait_ns[class as usize] = share;
        totals.waits[class as usize] = share / 100_000;
    }
    totals
}
