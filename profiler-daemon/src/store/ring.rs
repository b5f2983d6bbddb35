//! The recent windows in memory, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::footprint::Footprint;
use crate::profile::merge::amend_profile;
use crate::profile::{Profile, TimeRange};

/// The recent windows, bounded by age and by the heap they take.
///
/// The heap counts each window's own vectors by capacity, and everything windows share (stacks, frames, tasks,
/// strings) once for as long as one window in the ring uses it; see [`Ring::bytes`]. The newest window is always kept,
/// even if it alone takes more than the limit: an empty history would answer nothing.
#[derive(Debug)]
pub struct Ring {
    windows: VecDeque<Arc<Profile>>,
    footprint: Footprint,
    history_ns: u64,
    limit_bytes: usize,
}

impl Ring {
    /// An empty ring that keeps windows for `history` and takes at most `limit_bytes`.
    pub fn new(history: Duration, limit_bytes: usize) -> Self {
        let history_ns = u64::try_from(history.as_nanos()).unwrap_or(u64::MAX);
        Self { windows: VecDeque::new(), footprint: Footprint::default(), history_ns, limit_bytes }
    }

    /// Adds the window that just closed and drops the oldest ones until both bounds hold again.
    pub fn push(&mut self, window: Arc<Profile>) {
        self.footprint.add(&window);
        self.windows.push_back(window);
        self.shrink();
    }

    /// Adds what became known only later to the window that begins where `part` does, and drops the oldest windows
    /// until there is room for it. A window no longer kept is not missed.
    pub fn amend(&mut self, part: &Profile) {
        let Some(window) = self.windows.iter_mut().find(|window| window.range.from == part.range.from) else { return };
        let amended = Arc::new(amend_profile(window, part));
        self.footprint.add(&amended);
        self.footprint.remove(window);
        *window = amended;
        self.shrink();
    }

    /// The windows that share a moment with the range, oldest first: the range rounded outward to windows.
    pub fn overlapping(&self, range: TimeRange) -> Vec<Arc<Profile>> {
        self.windows.iter().filter(|window| window.range.overlaps(&range)).cloned().collect()
    }

    /// The time from the oldest window's start to the newest one's end; `None` while the ring is empty.
    pub fn span(&self) -> Option<TimeRange> {
        self.windows.iter().map(|window| window.range).reduce(TimeRange::cover)
    }

    /// How many windows are kept.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether no window is kept.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The heap the kept windows take, in bytes, this ring's own books included.
    pub fn bytes(&self) -> usize {
        self.footprint.bytes()
    }

    /// The most heap the windows may take, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Drops the oldest windows until both bounds hold, but never the newest.
    fn shrink(&mut self) {
        let newest_ends = self.windows.back().map_or(0, |newest| newest.range.to.0);
        let oldest_kept = newest_ends.saturating_sub(self.history_ns);
        while self.windows.len() > 1 && (self.oldest_ends_by(oldest_kept) || self.bytes() > self.limit_bytes) {
            self.drop_oldest();
        }
    }

    fn oldest_ends_by(&self, moment: u64) -> bool {
        self.windows.front().is_some_and(|oldest| oldest.range.to.0 <= moment)
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.windows.pop_front() {
            self.footprint.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Frame, Stack, Timestamp};

    const SECOND: u64 = 1_000_000_000;

    fn range(from: u64, to: u64) -> TimeRange {
        TimeRange { from: Timestamp(from * SECOND), to: Timestamp(to * SECOND) }
    }

    fn window(from: u64, stacks: usize) -> Arc<Profile> {
        let stacks = (0..stacks).map(|at| Stack::new(vec![Arc::new(Frame::marker(format!("{from}-{at}")))])).collect();
        Arc::new(Profile { range: range(from, from + 10), stacks, ..Profile::default() })
    }

    fn starts(windows: &[Arc<Profile>]) -> Vec<u64> {
        windows.iter().map(|window| window.range.from.0 / SECOND).collect()
    }

    fn ring_of(starts: &[u64]) -> Ring {
        let mut ring = Ring::new(Duration::from_secs(3600), 1 << 20);
        starts.iter().for_each(|from| ring.push(window(*from, 1)));
        ring
    }

    #[test]
    fn a_range_is_rounded_outward_to_windows() {
        let ring = ring_of(&[0, 10, 20, 30]);
        assert_eq!(starts(&ring.overlapping(range(15, 21))), [10, 20]);
        assert_eq!(starts(&ring.overlapping(range(10, 20))), [10]);
        assert!(ring.overlapping(range(40, 90)).is_empty());
    }

    #[test]
    fn windows_older_than_the_history_are_dropped() {
        let mut ring = Ring::new(Duration::from_secs(25), 1 << 20);
        [0, 10, 20, 30].iter().for_each(|from| ring.push(window(*from, 1)));
        assert_eq!(ring.span(), Some(range(10, 40)));
        assert_eq!(ring.len(), 3);
    }

    #[test]
    fn the_oldest_windows_make_room_when_memory_runs_out() {
        let one = {
            let mut ring = Ring::new(Duration::from_secs(3600), usize::MAX);
            ring.push(window(0, 100));
            ring.bytes()
        };
        let mut ring = Ring::new(Duration::from_secs(3600), 3 * one + one / 2);
        for from in (0..100).step_by(10) {
            ring.push(window(from, 100));
            assert!(ring.bytes() <= ring.limit_bytes());
        }
        assert_eq!(ring.span(), Some(range(70, 100)));
    }

    #[test]
    fn amended_windows_stay_within_the_memory_as_well() {
        let mut ring = ring_of(&[0, 10, 20]);
        ring.limit_bytes = 2 * ring.bytes();
        for part in 0..100 {
            let part = window(1000 + part, 10);
            ring.amend(&Profile { range: range(10, 20), ..Profile::clone(&part) });
            assert!(ring.bytes() <= ring.limit_bytes());
        }
        assert_eq!(ring.span(), Some(range(20, 30)));
    }

    #[test]
    fn a_window_larger_than_the_limit_is_kept_alone() {
        let mut ring = Ring::new(Duration::from_secs(3600), 4096);
        ring.push(window(0, 1));
        ring.push(window(10, 1000));
        assert_eq!(ring.span(), Some(range(10, 20)));
        assert!(ring.bytes() > ring.limit_bytes());
        ring.push(window(20, 1));
        assert_eq!(ring.span(), Some(range(20, 30)));
        assert!(ring.bytes() <= ring.limit_bytes());
    }

    #[test]
    fn an_empty_ring_has_no_span_and_takes_nothing() {
        let ring = ring_of(&[]);
        assert_eq!((ring.span(), ring.len(), ring.bytes()), (None, 0, 0));
        assert!(ring.overlapping(range(0, 1000)).is_empty());
    }

    #[test]
    fn a_window_handed_out_outlives_its_place_in_the_ring() {
        let mut ring = Ring::new(Duration::from_secs(5), 1 << 20);
        ring.push(window(0, 1));
        let held = ring.overlapping(range(0, 10));
        ring.push(window(100, 1));
        assert_eq!(starts(&held), [0]);
        assert_eq!(ring.len(), 1);
    }
}
