//! Looks at the tasks of event loops, each brought together with the captured wait it fell into.
//!
//! A look does not know how the wait will end, and a capture does not know which tasks were suspended. So looks wait here for
//! captures, and captures for a moment for looks that come late. A look stands for the time since the one before; that a short
//! wait is captured with a chance only is made good for by the weight of its capture, as for stacks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::RawStack;
use super::limits::{LOOK_ENTRIES, LOOKS, LOOP_THREADS, LOOP_WAITS};
use super::window::TaskKey;
use crate::profile::{AsyncEntry, Awaited, ImageId, ProcessId, ThreadId};

/// A look at the suspended tasks of a thread that slept in its event loop.
#[derive(Debug, Clone)]
pub struct Look {
    /// The program image.
    pub image: ImageId,
    /// The thread.
    pub thread: ThreadId,
    /// When, on the monotonic clock.
    pub at_ns: u64,
    /// The time since the look before, which this one stands for.
    pub interval_ns: u64,
    /// Where tasks awaited something.
    pub pending: Vec<Pending>,
}

/// A place where tasks await something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What they await.
    pub awaited: Awaited,
    /// The coroutines, the task, and what awaits it; leaf first.
    pub entries: Arc<[AsyncEntry]>,
    /// How many tasks await there.
    pub tasks: u64,
}

impl Look {
    pub(super) fn key(&self) -> TaskKey {
        let process: ProcessId = self.image.process;
        (process, self.thread)
    }

    /// What it takes: the entries of its places, and itself.
    fn entries(&self) -> usize {
        1 + self.pending.iter().map(|pending| pending.entries.len()).sum::<usize>()
    }
}

/// A captured wait of a loop.
#[derive(Debug, Clone)]
pub(super) struct LoopWait {
    /// The program image.
    pub(super) image: ImageId,
    /// When it began and ended, on the monotonic clock.
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// What the capture stands for.
    pub(super) weight_ns: u64,
    /// What ended it, and what it is charged to; nothing if it is not charged.
    pub(super) detail: &'static str,
    pub(super) charged: &'static [Awaited],
    /// Where the loop waited, if it is charged.
    pub(super) stack: Option<RawStack>,
}

impl LoopWait {
    fn holds(&self, look: &Look) -> bool {
        self.image == look.image && (self.from_ns..self.to_ns).contains(&look.at_ns)
    }

    /// The weight of a look that fell into it.
    pub(super) fn weight_of(&self, look: &Look) -> u64 {
        let length_ns = self.to_ns - self.from_ns;
        let weight = u128::from(look.interval_ns) * u128::from(self.weight_ns) / u128::from(length_ns.max(1));
        u64::try_from(weight).unwrap_or(u64::MAX)
    }
}

/// The looks and waits of each thread that were not brought together yet.
#[derive(Debug, Default)]
pub(super) struct Loops {
    threads: HashMap<TaskKey, Loop>,
    /// What their looks take, in entries.
    entries: usize,
}

#[derive(Debug, Default)]
struct Loop {
    /// Those no wait was captured for yet, the oldest first.
    looks: VecDeque<Look>,
    /// The last ones, the oldest first.
    waits: VecDeque<LoopWait>,
}

impl Loops {
    /// Whether a thread was looked at, so that its waits are of interest.
    pub(super) fn has(&self, key: TaskKey) -> bool {
        self.threads.contains_key(&key)
    }

    /// Adds a look. Returns it with its wait, if that was captured already.
    pub(super) fn add_look(&mut self, look: Look) -> Option<(Look, LoopWait)> {
        if self.threads.len() >= LOOP_THREADS && !self.has(look.key()) {
            return None;
        }
        let known = self.threads.entry(look.key()).or_default();
        if let Some(wait) = known.waits.iter().rev().find(|wait| wait.holds(&look)) {
            return Some((look, wait.clone()));
        }
        let new = look.entries();
        let is_over = |looks: &VecDeque<Look>, entries: usize| looks.len() >= LOOKS || entries + new > LOOK_ENTRIES;
        while is_over(&known.looks, self.entries) {
            self.entries -= known.looks.pop_front()?.entries();
        }
        self.entries += new;
        known.looks.push_back(look);
        None
    }

    /// Adds a captured wait. Returns the looks that fell into it; earlier ones fell into waits that were not captured.
    pub(super) fn add_wait(&mut self, key: TaskKey, wait: LoopWait) -> Vec<Look> {
        let Some(known) = self.threads.get_mut(&key) else { return Vec::new() };
        let over = known.looks.partition_point(|look| look.at_ns < wait.to_ns);
        let past: Vec<Look> = known.looks.drain(..over).collect();
        self.entries -= entries_of(&past);
        let found = past.into_iter().filter(|look| wait.holds(look)).collect();
        if known.waits.len() == LOOP_WAITS {
            known.waits.pop_front();
        }
        known.waits.push_back(wait);
        found
    }

    /// Forgets all threads but those that live.
    pub(super) fn retain(&mut self, lives: impl Fn(&TaskKey) -> bool) {
        self.threads.retain(|key, _| lives(key));
        self.entries = self.threads.values().map(|known| entries_of(&known.looks)).sum();
    }

    /// Forgets a thread.
    pub(super) fn forget(&mut self, key: TaskKey) {
        self.entries -= self.threads.remove(&key).map_or(0, |known| entries_of(&known.looks));
    }
}

fn entries_of<'a>(looks: impl IntoIterator<Item = &'a Look>) -> usize {
    looks.into_iter().map(Look::entries).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::WaitClass;

    const IMAGE: ImageId = ImageId { process: ProcessId { pid: 1, start_ns: 1 }, exec_ns: 0 };
    const THREAD: ThreadId = ThreadId { tid: 1, start_ns: 1 };
    const KEY: TaskKey = (IMAGE.process, THREAD);

    fn look(at_ns: u64) -> Look {
        Look { image: IMAGE, thread: THREAD, at_ns, interval_ns: 50, pending: Vec::new() }
    }

    fn wait(from_ns: u64, to_ns: u64, weight_ns: u64) -> LoopWait {
        let charged = Awaited::charged(WaitClass::Poll, "reply");
        LoopWait { image: IMAGE, from_ns, to_ns, weight_ns, detail: "reply", charged, stack: None }
    }

    #[test]
    fn a_wait_takes_the_looks_that_fell_into_it_and_older_ones_are_forgotten() {
        let mut loops = Loops::default();
        assert!(loops.add_wait(KEY, wait(0, 100, 100)).is_empty() && !loops.has(KEY));
        for at in [110, 150, 250, 310] {
            assert!(loops.add_look(look(at)).is_none());
        }
        let found: Vec<u64> = loops.add_wait(KEY, wait(140, 300, 160)).iter().map(|look| look.at_ns).collect();
        assert_eq!(found, [150, 250]);
        let found: Vec<u64> = loops.add_wait(KEY, wait(305, 320, 15)).iter().map(|look| look.at_ns).collect();
        assert_eq!(found, [310]);
    }

    #[test]
    fn looks_are_bounded_by_the_entries_of_their_places() {
        let entries: Arc<[AsyncEntry]> = std::iter::repeat_n(AsyncEntry::Cut, LOOK_ENTRIES / 2 - 1).collect();
        let pending = |count| vec![Pending { awaited: Awaited::Reply, entries: entries.clone(), tasks: 1 }; count];
        let mut loops = Loops::default();
        for at in [110, 120, 130] {
            loops.add_look(Look { pending: pending(1), ..look(at) });
        }
        assert_eq!((loops.entries, size_of::<AsyncEntry>()), (LOOK_ENTRIES, 88));
        let found: Vec<u64> = loops.add_wait(KEY, wait(100, 200, 100)).iter().map(|look| look.at_ns).collect();
        assert_eq!((found, loops.entries), (vec![120, 130], 0));
        loops.add_look(Look { pending: pending(3), ..look(310) });
        assert!(loops.add_wait(KEY, wait(300, 400, 100)).is_empty() && loops.entries == 0, "too large by itself");
    }

    #[test]
    fn a_look_that_comes_after_the_capture_finds_its_wait() {
        let mut loops = Loops::default();
        loops.add_look(look(1));
        loops.add_wait(KEY, wait(100, 110, 1000));
        loops.add_wait(KEY, wait(110, 200, 90));
        let (look, wait) = loops.add_look(look(105)).unwrap();
        assert_eq!((wait.from_ns, wait.weight_of(&look)), (100, 50 * 100), "it was captured with a chance of 1 in 100");
        assert!(loops.add_look(self::look(200)).is_none());
        loops.forget(KEY);
        assert!(!loops.has(KEY));
    }

    #[test]
    fn a_look_at_another_program_than_the_one_that_waited_fell_into_no_wait() {
        let mut loops = Loops::default();
        loops.add_look(Look { image: ImageId { exec_ns: 7, ..IMAGE }, ..look(150) });
        loops.add_look(look(160));
        let found: Vec<u64> = loops.add_wait(KEY, wait(140, 300, 160)).iter().map(|look| look.at_ns).collect();
        assert_eq!(found, [160]);
    }

    #[test]
    fn threads_that_do_not_live_leave_nothing_behind() {
        let mut loops = Loops::default();
        let pending = vec![Pending { awaited: Awaited::Reply, entries: Arc::default(), tasks: 1 }];
        loops.add_look(Look { pending, ..look(1) });
        loops.retain(|key| *key == KEY);
        assert_eq!((loops.has(KEY), loops.entries), (true, 1));
        loops.retain(|key| *key != KEY);
        assert_eq!((loops.has(KEY), loops.entries), (false, 0));
    }
}
