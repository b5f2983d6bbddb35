//! The bounded queue between the collector and the namer: whoever fills it sees beforehand whether there is room.
//!
//! A window is large, and the namer may fall behind. So the collector closes a window, or copies it for whoever asked, only
//! when there is room for it; until then nothing is lost, because the open window goes on growing within its own bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What may lie in the queue at once. Each may be as large as a window.
const CAPACITY: usize = 4;

/// The end that is filled, by one thread only.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    to: SyncSender<T>,
    waiting: Arc<AtomicUsize>,
    is_abandoned: Arc<AtomicBool>,
}

/// The end that is emptied.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    from: Receiver<T>,
    waiting: Arc<AtomicUsize>,
    is_abandoned: Arc<AtomicBool>,
}

/// An empty queue.
pub(super) fn queue<T>() -> (Outbox<T>, Inbox<T>) {
    let (to, from) = sync_channel(CAPACITY);
    let waiting = Arc::<AtomicUsize>::default();
    let is_abandoned = Arc::<AtomicBool>::default();
    let outbox = Outbox { to, waiting: waiting.clone(), is_abandoned: is_abandoned.clone() };
    (outbox, Inbox { from, waiting, is_abandoned })
}

impl<T> Outbox<T> {
    /// How many there is room for; it does not become less until something is sent. A queue nobody empties any more has
    /// room: what is sent is dropped, and whoever waits for an answer learns it.
    pub(super) fn room(&self) -> usize {
        if self.is_abandoned.load(Ordering::Acquire) {
            return CAPACITY;
        }
        CAPACITY.saturating_sub(self.waiting.load(Ordering::Acquire))
    }

    /// Queues `what` if there is room and the other end still exists. Never waits.
    pub(super) fn send(&self, what: T) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.to.try_send(what).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<T> Iterator for Inbox<T> {
    type Item = T;

    /// Waits for the next in the queue; ends when the other end is dropped and the queue is empty.
    fn next(&mut self) -> Option<T> {
        let next = self.from.recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(next)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.is_abandoned.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_has_room_again_when_one_was_taken() {
        let (outbox, mut inbox) = queue();
        (0..CAPACITY).for_each(|number| {
            assert_eq!(outbox.room(), CAPACITY - number);
            outbox.send(number);
        });
        assert_eq!(outbox.room(), 0);
        outbox.send(99);
        assert_eq!(inbox.next(), Some(0));
        assert_eq!(outbox.room(), 1);
        drop(outbox);
        assert_eq!(inbox.by_ref().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn nobody_waits_for_an_inbox_that_is_gone() {
        let (outbox, inbox) = queue();
        (0..CAPACITY).for_each(|number| outbox.send(number));
        drop(inbox);
        (0..2 * CAPACITY).for_each(|number| outbox.send(number));
        assert_eq!(outbox.room(), CAPACITY);
    }
}
