//! How long names may be asked for on the thread that reads events.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits;

/// The time for asking, which all who ask share.
#[derive(Debug, Default)]
pub struct AskingTime {
    spent: Mutex<Spent>,
}

/// What was spent since a moment.
#[derive(Debug, Default)]
struct Spent {
    since: Option<Instant>,
    time: Duration,
}

impl AskingTime {
    /// Asks, if there is time for it.
    pub(super) fn spend<T>(&self, ask: impl FnOnce() -> T) -> Option<T> {
        let begun = Instant::now();
        if !self.spent().has_room(begun) {
            return None;
        }
        let answer = ask();
        self.spent().time += begun.elapsed();
        Some(answer)
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    fn has_room(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= limits::ASKING_INTERVAL) {
            *self = Self { since: Some(now), time: Duration::ZERO };
        }
        self.time < limits::ASKING_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_time_again_in_the_next_interval() {
        let (begun, mut spent) = (Instant::now(), Spent::default());
        assert!(spent.has_room(begun));
        spent.time = limits::ASKING_TIME;
        assert!(!spent.has_room(begun + limits::ASKING_INTERVAL / 2));
        assert!(spent.has_room(begun + limits::ASKING_INTERVAL));
    }
}
