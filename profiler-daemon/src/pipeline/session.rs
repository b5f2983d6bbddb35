//! One window of the same pipeline, for one-shot commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{DaemonError, Service, StartError};
use crate::profile::Profile;
use crate::settings::{SamplingSettings, Selector};

/// How often progress is shown and the wish to stop is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// A pipeline whose only window lasts until it is asked for.
pub struct Session {
    service: Arc<Service>,
}

impl Session {
    /// Loads the kernel half and selects. Returns when every selected thread is accounted.
    pub fn start(settings: &SamplingSettings, selectors: &[Selector]) -> Result<Self, StartError> {
        const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
        let settings = SamplingSettings { window: NEVER, ..settings.clone() };
        Ok(Self { service: Service::start(&settings, selectors)? })
    }

    /// Samples for `duration`, or until `stop` is set. `progress` is told how much time has passed.
    pub fn wait(
        self,
        duration: Duration,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<Profile, DaemonError> {
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < duration && self.service.lost_thread().is_none() {
            progress(begun.elapsed());
            std::thread::sleep(PROGRESS_INTERVAL.min(duration.saturating_sub(begun.elapsed())));
        }
        let peeked = self.service.peek();
        self.service.shutdown();
        peeked.map(|peeked| peeked.open)
    }
}
