//! How long the collector was away from its rings: with anything but waiting for records and taking them.
//!
//! Whatever is heavy belongs to another thread, because the rings fill meanwhile. How well that is kept is told to whoever
//! asks for the status.

use std::time::{Duration, Instant};

/// The longest absence so far, and when the present one began.
#[derive(Debug)]
pub(super) struct Absence {
    since: Instant,
    longest: Duration,
}

impl Absence {
    /// None so far.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, longest: Duration::ZERO }
    }

    /// Takes a record, or finds that there is none.
    pub(super) fn end(&mut self, now: Instant) {
        self.longest = self.longest.max(now.saturating_duration_since(self.since));
        self.since = now;
    }

    /// Waits for records until then. Waking late is absence, too.
    pub(super) fn wait(&mut self, now: Instant, until: Instant) {
        self.end(now);
        self.since = until;
    }

    /// There were no records to miss until now: nothing was attached.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.since = now;
    }

    /// The longest so far.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_between_two_records_counts_but_for_waiting() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut absence = Absence::new(start);
        let mut longest = |step: &dyn Fn(&mut Absence)| {
            step(&mut absence);
            absence.longest().as_millis()
        };
        assert_eq!(longest(&|absence| absence.end(at(7))), 7, "work");
        assert_eq!(longest(&|absence| absence.end(at(10))), 7, "less work");
        assert_eq!(longest(&|absence| absence.wait(at(20), at(120))), 10, "work before waiting");
        assert_eq!(longest(&|absence| absence.end(at(50))), 10, "woken before the time");
        assert_eq!(longest(&|absence| absence.wait(at(51), at(151))), 10);
        assert_eq!(longest(&|absence| absence.end(at(181))), 30, "woken too late");
        absence.excuse(at(900));
        absence.end(at(901));
        assert_eq!(absence.longest().as_millis(), 30, "nothing was attached");
    }
}
