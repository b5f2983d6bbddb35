//! The waits of a row that are known better than by their class, and those that are attributed to an `await`.

use std::collections::BTreeMap;

use super::amounts::WaitNs;
use super::calibrate::Entry;
use crate::profile::{State, WaitClass};

/// Nanoseconds by class and what the waits are.
#[derive(Debug, Clone, Default)]
pub(super) struct WaitDetails(BTreeMap<(WaitClass, &'static str, bool), u64>);

impl WaitDetails {
    pub(super) fn add(&mut self, entry: &Entry) {
        if let (State::Wait(class), Some(detail)) = (entry.state, entry.detail) {
            *self.0.entry((class, detail, entry.awaits.is_some())).or_default() += entry.ns;
        }
    }

    /// The same by labels such as `lock/gil`.
    pub(super) fn by_label(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|((class, detail, awaits), ns)| (label(*class, detail, *awaits), *ns)).collect()
    }

    /// The longest class of waits, with what they are if that is the same for more than half of their time.
    pub(super) fn longest(&self, waits: &WaitNs) -> Option<String> {
        let (class, total) = waits.longest_first().into_iter().next()?;
        let details = self.0.iter().filter(|((of, ..), _)| *of == class);
        let most = details.max_by_key(|(_, ns)| **ns).filter(|(_, ns)| **ns * 2 > total);
        Some(
            most.map_or_else(|| class.name().to_owned(), |((class, detail, awaits), _)| label(*class, detail, *awaits)),
        )
    }
}

/// What stands in the place of the class where a wait of an event loop is attributed to an `await`.
const AWAIT: &str = "await";

/// Class and detail, or that the time is attributed: `poll/reply`, `await/reply`.
pub(super) fn label(class: WaitClass, detail: &str, awaits: bool) -> String {
    format!("{}/{detail}", if awaits { AWAIT } else { class.name() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(detail: Option<&'static str>, ns: u64) -> Entry {
        let state = State::Wait(WaitClass::Lock);
        Entry { detail, ..Entry::bare(0, state, ns) }
    }

    #[test]
    fn the_longest_wait_is_told_in_detail_if_most_of_it_is_the_same() {
        let mut details = WaitDetails::default();
        let waits = WaitNs { lock: 100, net: 10, ..WaitNs::default() };
        for (added, longest) in [(50, "lock"), (1, "lock/gil")] {
            details.add(&entry(Some("gil"), added));
            details.add(&entry(None, added));
            assert_eq!(details.longest(&waits).as_deref(), Some(longest));
        }
        assert_eq!(details.by_label(), [("lock/gil".to_owned(), 51)].into());
        assert_eq!(WaitDetails::default().longest(&WaitNs::default()), None);
    }
}
