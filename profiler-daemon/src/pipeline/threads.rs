//! The threads of the pipeline: started by name, and missed when one ends that was not told to.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The threads. All of them are needed, so the end of the first is the end of the pipeline.
pub(super) struct Threads {
    running: Mutex<Vec<JoinHandle<()>>>,
    ended: Arc<Ended>,
    first_ended: watch::Sender<Option<&'static str>>,
}

impl Threads {
    /// No threads yet.
    pub(super) fn new() -> Self {
        Self { running: Mutex::default(), ended: Arc::default(), first_ended: watch::Sender::new(None) }
    }

    /// Starts a thread.
    pub(super) fn start(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let ending = Ending { name, first_ended: self.first_ended.clone(), ended: self.ended.clone() };
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

    /// Waits until all have ended, but for those that do not touch the kernel half only so long: whoever reads a large file, or
    /// names a window that nobody will ask for any more, is left behind.
    pub(super) fn join(&self, essential: &[&str], grace: Duration) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let (essential, others): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|thread| thread.thread().name().is_some_and(|name| essential.contains(&name)));
        let until = Instant::now() + grace;
        // A panic was logged when it happened.
        essential.into_iter().for_each(|thread| drop(thread.join()));
        let names = |threads: &[JoinHandle<()>]| -> Vec<String> {
            threads.iter().filter_map(|thread| thread.thread().name().map(ToOwned::to_owned)).collect()
        };
        let (ended, late): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|thread| self.ended.wait_for(thread.thread().id(), until));
        ended.into_iter().for_each(|thread| drop(thread.join()));
        if !late.is_empty() {
            tracing::warn!("left behind at the end: {}", names(&late).join(", "));
        }
    }
}

/// The threads that have ended.
#[derive(Default)]
struct Ended {
    threads: Mutex<Vec<ThreadId>>,
    changed: Condvar,
}

impl Ended {
    fn add(&self, thread: ThreadId) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        self.changed.notify_all();
    }

    /// Waits for the end of a thread; returns whether it came in time.
    fn wait_for(&self, thread: ThreadId, until: Instant) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        let is_missing = |threads: &mut Vec<ThreadId>| !threads.contains(&thread);
        let waited = self.changed.wait_timeout_while(threads, left, is_missing);
        let (threads, _) = waited.unwrap_or_else(PoisonError::into_inner);
        threads.contains(&thread)
    }
}

/// Tells of the end of its thread when it is dropped, as a panic does too.
struct Ending {
    name: &'static str,
    first_ended: watch::Sender<Option<&'static str>>,
    ended: Arc<Ended>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ended.add(std::thread::current().id());
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
        threads.join(&["patient"], Duration::ZERO);
        assert_eq!(*ended.borrow(), Some("broken"));
    }

    #[test]
    fn whoever_is_needed_is_waited_for_and_whoever_is_not_only_so_long() {
        let threads = Threads::new();
        let (gate, closed) = std::sync::mpsc::channel::<()>();
        let (told, is_over) = std::sync::mpsc::channel();
        threads.start("namer", move || assert!(closed.recv().is_err())).unwrap();
        threads.start("collector", move || told.send(()).unwrap()).unwrap();
        threads.join(&["collector"], Duration::from_millis(1));
        assert_eq!(is_over.try_recv(), Ok(()), "it has run");
        drop(gate);
    }
}
