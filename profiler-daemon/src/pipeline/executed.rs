//! The processes that run a new program or have a new name, and are to be looked at for the targets in force.
//!
//! Any process of the host can change its name as fast as it likes. So a process counts once however often it did, looking
//! is limited in time for each turn of the collector, and what is left waits for the next turn.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// How long the collector may look at processes in one turn; commands wait no longer for it.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(10);

/// The processes that wait for a look, each once. At most as many as there are pids.
#[derive(Debug, Default)]
pub(super) struct Executed {
    waiting: BTreeSet<u32>,
    /// Where the last turn stopped, so that no process keeps others from their turn.
    last: u32,
}

impl Executed {
    /// A process has a new program or name.
    pub(super) fn add(&mut self, pid: u32) {
        self.waiting.insert(pid);
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands processes to `look` until nobody waits or the time `now` tells has reached `until`; at least one.
    /// Returns whether `look` did for any of them.
    pub(super) fn look_until(
        &mut self,
        until: Instant,
        now: impl Fn() -> Instant,
        mut look: impl FnMut(u32) -> bool,
    ) -> bool {
        let mut found = false;
        while let Some(pid) = self.take_next() {
            found |= look(pid);
            if now() >= until {
                break;
            }
        }
        found
    }

    fn take_next(&mut self) -> Option<u32> {
        let behind = (Bound::Excluded(self.last), Bound::Unbounded);
        let next = self.waiting.range(behind).next().or_else(|| self.waiting.first()).copied()?;
        self.waiting.remove(&next);
        self.last = next;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// One turn in which a look takes a millisecond and there is time for `looks` of them.
    fn turn(executed: &mut Executed, looks: u32) -> Vec<u32> {
        let (start, millisecond) = (Instant::now(), Duration::from_millis(1));
        let (now, mut seen) = (Cell::new(start), Vec::new());
        let look = |pid| {
            seen.push(pid);
            now.set(now.get() + millisecond);
            false
        };
        executed.look_until(start + looks * millisecond, || now.get(), look);
        seen
    }

    #[test]
    fn a_process_that_changes_its_name_in_a_loop_is_looked_at_once_a_turn() {
        let mut executed = Executed::default();
        (0..100_000).for_each(|_| executed.add(7));
        assert_eq!(turn(&mut executed, 10), [7]);
        assert!(executed.is_empty());
    }

    #[test]
    fn many_processes_are_looked_at_over_several_turns_and_each_has_its_turn() {
        let mut executed = Executed::default();
        (1..=5).for_each(|pid| executed.add(pid));
        assert_eq!(turn(&mut executed, 2), [1, 2]);
        (1..=2).for_each(|pid| executed.add(pid));
        assert_eq!(turn(&mut executed, 4), [3, 4, 5, 1]);
        assert_eq!(turn(&mut executed, 4), [2]);
    }

    #[test]
    fn there_is_time_for_one_look_in_each_turn() {
        let mut executed = Executed::default();
        (1..=2).for_each(|pid| executed.add(pid));
        assert_eq!((turn(&mut executed, 0), turn(&mut executed, 0)), (vec![1], vec![2]));
    }
}
