//! What looks found in one window, by thread, program image and what ended the wait.

use std::sync::Arc;

use indexmap::IndexMap;

use super::RawLoop;
use super::limits::{NAMED_PLACES, PLACES, WINDOW_ENTRIES};
use super::loops::{Look, LoopWait, Pending};
use crate::profile::{AsyncEntry, AsyncName, AsyncTask, ImageId};

/// The places of all loops of a window.
#[derive(Debug, Default)]
pub(super) struct Places {
    loops: IndexMap<(u32, ImageId, &'static str), LoopPlaces>,
    /// How many entries all places have.
    entries: usize,
}

#[derive(Debug)]
struct LoopPlaces {
    stack: Option<u32>,
    looks: u64,
    empty_ns: u64,
    places: IndexMap<Arc<[AsyncEntry]>, u64>,
}

impl Places {
    /// Adds a look that fell into a wait of a task, with the index of the stack on which the loop waited. Tasks that await what
    /// ended the wait share the look's weight equally.
    pub(super) fn add(&mut self, task: u32, stack: Option<u32>, look: &Look, wait: &LoopWait) {
        let new = || LoopPlaces { stack, looks: 0, empty_ns: 0, places: IndexMap::new() };
        let known = self.loops.entry((task, look.image, wait.detail)).or_insert_with(new);
        known.looks += 1;
        let mut room = WINDOW_ENTRIES - self.entries;
        let weight_ns = wait.weight_of(look);
        let is_of = |kind| move |pending: &&Pending| pending.awaited == kind;
        let kind = wait.charged.iter().find(|kind| look.pending.iter().any(|pending| pending.awaited == **kind));
        let charged: Vec<&Pending> =
            kind.map_or_else(Vec::new, |kind| look.pending.iter().filter(is_of(*kind)).collect());
        let tasks = charged.iter().map(|pending| pending.tasks).sum::<u64>();
        let mut left_ns = weight_ns;
        for pending in charged {
            let part_ns = u64::try_from(u128::from(weight_ns) * u128::from(pending.tasks) / u128::from(tasks.max(1)));
            let part_ns = part_ns.unwrap_or(u64::MAX).min(left_ns);
            if known.add(&pending.entries, part_ns, &mut room) {
                left_ns -= part_ns;
            }
        }
        // Less than a nanosecond for each place is left if all were charged.
        known.empty_ns += if tasks > 0 && left_ns < tasks { 0 } else { left_ns };
        self.entries = WINDOW_ENTRIES - room;
    }

    /// What was found, as it stands.
    pub(super) fn to_raw(&self) -> Vec<RawLoop> {
        let raw = |(&(task, image, detail), known): (&(u32, ImageId, &'static str), &LoopPlaces)| RawLoop {
            task,
            detail,
            looks: known.looks,
            empty_ns: known.empty_ns,
            image,
            stack: known.stack,
            places: known.places.iter().map(|(entries, ns)| (entries.clone(), *ns)).collect(),
        };
        self.loops.iter().map(raw).collect()
    }
}

impl LoopPlaces {
    /// Whether there was room, of which there is left for so many entries.
    fn add(&mut self, entries: &Arc<[AsyncEntry]>, ns: u64, room: &mut usize) -> bool {
        if let Some(known_ns) = self.places.get_mut(entries) {
            *known_ns += ns;
            return true;
        }
        let entries = if self.places.len() < NAMED_PLACES { entries.clone() } else { without_names(entries) };
        if !self.places.contains_key(&entries) {
            if self.places.len() >= PLACES || entries.len() > *room {
                return false;
            }
            *room -= entries.len();
        }
        *self.places.entry(entries).or_default() += ns;
        true
    }
}

fn without_names(entries: &[AsyncEntry]) -> Arc<[AsyncEntry]> {
    let nameless = |entry: &AsyncEntry| match *entry {
        AsyncEntry::Task(task) => AsyncEntry::Task(AsyncTask { name: AsyncName::Unreadable, ..task }),
        other => other,
    };
    entries.iter().map(nameless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_their_entries() {
        let mut places = LoopPlaces { stack: None, looks: 0, empty_ns: 0, places: IndexMap::new() };
        let place = |entries| -> Arc<[AsyncEntry]> { std::iter::repeat_n(AsyncEntry::Cut, entries).collect() };
        let mut room = 5;
        assert!(places.add(&place(3), 10, &mut room) && places.add(&place(3), 10, &mut room) && room == 2);
        assert!(!places.add(&place(4), 10, &mut room) && places.add(&place(2), 10, &mut room) && room == 0);
        assert_eq!(places.places.values().copied().collect::<Vec<_>>(), [20, 10]);
    }
}
