//! The threads of the pipeline: started by name, and missed when one ends that was not told to.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::watch;

/// The threads. All of them are needed, so the end of the first is the end of the pipeline.
pub(super) struct Threads {
    running: Mutex<Vec<JoinHandle<()>>>,
    first_ended: watch::Sender<Option<&'static str>>,
}

impl Threads {
    /// No threads yet.
    pub(super) fn new() -> Self {
        Self { running: Mutex::default(), first_ended: watch::Sender::new(None) }
    }

    /// Starts a thread.
    pub(super) fn start(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let ending = Ending { name, first_ended: self.first_ended.clone() };
        let run = move || {
            let _ending = ending;
            run();
        };
        let thread = Builder::new().name(name.to_owned()).spawn(run)?;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// The name of the thread that ended first, for whatever reason: now, and as it changes.
    pub(super) fn first_ended(&self) -> watch::Receiver<Option<&'static str>> {
        self.first_ended.subscribe()
    }

    /// Waits until all have ended.
    pub(super) fn join(&self) {
        for thread in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A panic was logged when it happened.
            let _ = thread.join();
        }
    }
}

/// Tells of the end of its thread when it is dropped, as a panic does too.
struct Ending {
    name: &'static str,
    first_ended: watch::Sender<Option<&'static str>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.first_ended.send_if_modified(|first| first.is_none() && first.replace(self.name).is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_missed_by_name_and_later_ends_do_not_hide_it() {
        let threads = Threads::new();
        let (told, to_end) = std::sync::mpsc::channel::<()>();
        threads.start("patient", move || assert!(to_end.recv().is_err())).unwrap();
        let mut ended = threads.first_ended();
        assert_eq!(*ended.borrow(), None);
        threads.start("broken", || std::panic::resume_unwind(Box::new("broken"))).unwrap();
        let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
        executor.block_on(ended.changed()).unwrap();
        drop(told);
        threads.join();
        assert_eq!(*ended.borrow(), Some("broken"));
    }
}
