//! The pipeline of the daemon in this process, with the signal that stops each thread it samples: whole records of one
//! program's threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_daemon::pipeline::Service;
use profiler_daemon::profile::{Ending, WaitClass};
use profiler_daemon::settings::{SamplingSettings, Selector};
use profiler_daemon::wire::{OffCpuCause, StackEvent, StackKind};

use super::Plan;
use super::pairs::SIGSTOP;

/// One captured stack, as the record has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// Where the thread was.
    pub moment: Moment,
    /// User addresses, leaf first.
    pub user: Vec<u64>,
    /// Whether frames are missing in the middle.
    pub has_gap: bool,
    /// Why the user stack ends where it does.
    pub ending: Ending,
}

/// Where a sampled thread was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// On a CPU.
    #[default]
    OnCpu,
    /// Back from a wait.
    OffCpu,
    /// Back from a stop, such as that for the sample before.
    Stopped,
}

/// The running pipeline, with one process and its descendants selected.
pub struct Sampler {
    service: Arc<Service>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Sampler {
    /// Loads the kernel half and selects the process and its descendants; returns when their tables are there.
    pub fn start(pid: u32) -> Result<Self> {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let to = samples.clone();
        let watch = Box::new(move |event: &StackEvent<'_>| {
            // Threads of the kernel have no user stack.
            if !event.user.addresses.is_empty() || event.user.ending != Ending::Complete {
                lock(&to).push(sample(event));
            }
        });
        let service = Service::start_watched(&settings(), &[Selector::Pid(pid)], Some(watch));
        Ok(Self { service: service.context("failed to start sampling")?, samples })
    }

    /// Samples as planned, detaches, and returns every sample with a user stack.
    pub fn collect(self, plan: Plan) -> Result<Vec<Sample>> {
        let deadline = Instant::now() + plan.at_most;
        while lock(&self.samples).len() < plan.stacks && Instant::now() < deadline {
            ensure!(self.service.lost_thread().is_none(), "a thread of the pipeline ended");
            thread::sleep(Duration::from_millis(20));
        }
        self.service.shutdown();
        Ok(std::mem::take(&mut lock(&self.samples)))
    }
}

/// Fast samples, each of which stops its thread.
///
/// Being stopped is a wait, too, and when it is over it may be sampled, which stops the thread again where it is. So
/// short waits are sampled less often than they might be, or a thread whose walk takes long would never get on.
fn settings() -> SamplingSettings {
    SamplingSettings {
        frequency_hz: 997,
        wait_period: Some(Duration::from_millis(10)),
        window: Duration::from_secs(3600),
        object: std::env::var_os("PROFILERD_OBJECT_DIR").map(PathBuf::from),
        stop_signal: SIGSTOP,
        cache_dir: None,
        ..SamplingSettings::default()
    }
}

fn sample(event: &StackEvent) -> Sample {
    Sample {
        pid: event.process.pid,
        tid: event.thread.tid,
        at_ns: event.at_ns,
        moment: moment(event.kind),
        user: event.user.addresses.to_vec(),
        has_gap: event.user.has_gap,
        ending: event.user.ending,
    }
}

/// A stop is a wait of the class `other`.
fn moment(kind: StackKind) -> Moment {
    match kind {
        StackKind::OnCpu => Moment::OnCpu,
        StackKind::OffCpu { cause: OffCpuCause::Blocked(WaitClass::Other), .. } => Moment::Stopped,
        StackKind::OffCpu { .. } => Moment::OffCpu,
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
