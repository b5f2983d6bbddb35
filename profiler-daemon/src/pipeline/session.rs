//! One window of the same pipeline, for one-shot commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{DaemonError, Service, StartError};
use crate::profile::Profile;
use crate::settings::{SamplingSettings, Selector};

/// How often progress is shown and the wish to stop is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// When debug information is first asked for; earlier in a sampling of less than twice this.
const NAMED_EARLY: Duration = Duration::from_secs(1);

/// A pipeline whose only window lasts until it is asked for.
pub struct Session {
    service: Arc<Service>,
    /// Whether to name what was seen before the end, too, so that what is missing can be fetched meanwhile.
    names_early: bool,
}

impl Session {
    /// Loads the kernel half and selects. Returns when every selected thread is accounted.
    pub fn start(settings: &SamplingSettings, selectors: &[Selector]) -> Result<Self, StartError> {
        const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
        let settings = SamplingSettings { window: NEVER, ..settings.clone() };
        let names_early = !settings.debuginfod.is_empty();
        Ok(Self { service: Service::start(&settings, selectors)?, names_early })
    }

    /// Samples for `duration`, or until `stop` is set. `progress` is told how much time has passed.
    pub fn wait(
        mut self,
        duration: Duration,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<Profile, DaemonError> {
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < duration && self.service.lost_thread().is_none() {
            progress(begun.elapsed());
            if begun.elapsed() >= NAMED_EARLY.min(duration / 2) {
                self.name_early();
            }
            std::thread::sleep(PROGRESS_INTERVAL.min(duration.saturating_sub(begun.elapsed())));
        }
        let peeked = self.service.peek();
        self.service.shutdown();
        peeked.map(|peeked| peeked.open)
    }

    /// Once, and without waiting for it.
    fn name_early(&mut self) {
        if std::mem::take(&mut self.names_early) {
            let service = self.service.clone();
            // If it cannot be started, lines may be missing where functions are known.
            let _ = std::thread::Builder::new().spawn(move || service.peek().map(drop));
        }
    }
}
