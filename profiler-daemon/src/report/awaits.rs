//! The waits of event loops laid out over the `await`s that were pending meanwhile.
//!
//! How long a loop waited, and what ended that, is measured. What its tasks awaited is told by looks at them, of which each
//! stands for the same time. So of a loop's waits that ended alike, each place gets the part that it has of the looks'
//! weight, and the loop keeps the part of those looks that found nothing. *The parts of an entry sum up to it, to the nanosecond.*

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::AttributionRule;
use super::amounts::apportion;
use super::calibrate::{Calibrated, Entry};
use crate::profile::{Frame, LoopWaits, State, WaitClass};

/// How much of the waits of event loops was attributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct AwaitSummary {
    /// The time: part of what the loops waited, told apart by looks at their suspended tasks. Not measured.
    pub attributed_ns: u64,
    /// How many lines it was attributed to.
    pub lines: usize,
    /// How many looks told it.
    pub looks: u64,
}

impl AwaitSummary {
    /// Of a selection; `None` if nothing of it was attributed.
    pub(super) fn of(calibrated: &Calibrated<'_>, rule: AttributionRule) -> Option<Self> {
        let profile = calibrated.profile;
        let attributed: Vec<&Entry> = calibrated.entries.iter().filter(|entry| entry.awaits.is_some()).collect();
        let stacks: HashSet<u32> = attributed.iter().filter_map(|entry| entry.awaits).collect();
        let place = |frame: &Frame| (frame.function(), frame.file.clone(), frame.line);
        let charged = stacks.iter().filter_map(|stack| rule.charge_await(&profile.stacks[*stack as usize]).ok());
        let lines: HashSet<_> = charged.map(place).collect();
        let loops: HashSet<_> = attributed.iter().map(|entry| (entry.task, entry.detail)).collect();
        let of_loop = |waits: &&LoopWaits| loops.contains(&(waits.task, Some(waits.detail)));
        let looks = profile.loop_waits.iter().filter(of_loop).map(|waits| waits.looks).sum();
        let attributed_ns = attributed.iter().map(|entry| entry.ns).sum();
        (!attributed.is_empty()).then_some(Self { attributed_ns, lines: lines.len(), looks })
    }
}

/// Splits each wait of a loop that was looked at.
pub(super) fn attribute_awaits(entries: Vec<Entry>, loops: &[LoopWaits]) -> Vec<Entry> {
    let loops: HashMap<(u32, &str), &LoopWaits> =
        loops.iter().map(|waits| ((waits.task, waits.detail), waits)).collect();
    if loops.is_empty() {
        return entries;
    }
    let looked_at = |entry: &Entry| {
        let detail = entry.detail.filter(|_| entry.state == State::Wait(WaitClass::Poll) && !entry.idle)?;
        loops.get_key_value(&(entry.task, detail)).map(|(key, waits)| (*key, *waits))
    };
    let mut loop_ns: HashMap<(u32, &str), u64> = HashMap::new();
    for entry in &entries {
        if let Some((key, _)) = looked_at(entry) {
            *loop_ns.entry(key).or_default() += entry.ns;
        }
    }
    let mut split = Vec::with_capacity(entries.len());
    for entry in entries {
        match looked_at(&entry) {
            Some((key, waits)) => split_entry(&entry, (waits, loop_ns[&key]), &mut split),
            None => split.push(entry),
        }
    }
    split
}

fn split_entry(entry: &Entry, (waits, loop_ns): (&LoopWaits, u64), split: &mut Vec<Entry>) {
    let places = waits.awaits.iter().map(|(stack, ns)| (Some(*stack), *ns));
    let (stacks, weights): (Vec<_>, Vec<u64>) = places.chain([(None, waits.empty_ns)]).unzip();
    let parts = apportion(&weights, entry.ns);
    if parts.iter().sum::<u64>() != entry.ns {
        return split.push(entry.clone());
    }
    let counts = apportion(&parts, entry.count);
    // The loop's waits are counted once, however many places share them.
    let largest = (0..parts.len()).max_by_key(|at| (parts[*at], Reverse(*at)));
    for (at, ((awaits, ns), count)) in stacks.into_iter().zip(parts).zip(counts).enumerate() {
        if ns > 0 {
            let variance_ns2 = variance_of_part(entry, ns, (loop_ns, waits.looks));
            let captures_of = entry.captures_of.filter(|_| largest == Some(at));
            split.push(Entry { awaits, ns, count, variance_ns2, captures_of, ..entry.clone() });
        }
    }
}

/// The part's own of the measurement's variance, and that of a share found by so many looks. The same looks split all of the
/// loop's entries, `loop_ns` in all, so that their errors are the same and not independent: the variances of a place's parts
/// sum up to that of its share of `loop_ns`.
fn variance_of_part(entry: &Entry, ns: u64, (loop_ns, looks): (u64, u64)) -> f64 {
    let (share, whole_ns) = (ns as f64 / entry.ns as f64, entry.ns as f64);
    entry.variance_ns2 * share * share + whole_ns * loop_ns as f64 * share * (1.0 - share) / looks.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: State = State::Wait(WaitClass::Poll);

    fn entry(detail: Option<&'static str>, idle: bool, ns: u64) -> Entry {
        let (stack, captures_of) = (Some(0), Some(7));
        Entry { task: 3, state: POLL, idle, detail, stack, ns, count: 10, variance_ns2: 0.0, captures_of, awaits: None }
    }

    fn waits(detail: &'static str, empty_ns: u64, awaits: &[(u32, u64)]) -> LoopWaits {
        LoopWaits { task: 3, detail, looks: 25, empty_ns, awaits: awaits.to_vec() }
    }

    fn parts(entries: &[Entry]) -> Vec<(Option<u32>, u64, u64)> {
        entries.iter().map(|entry| (entry.awaits, entry.ns, entry.count)).collect()
    }

    #[test]
    fn a_wait_is_split_as_the_looks_say_and_the_loop_keeps_what_they_did_not_find() {
        let loops = [waits("reply", 10, &[(7, 60), (8, 30)])];
        let split = attribute_awaits(vec![entry(Some("reply"), false, 1001)], &loops);
        assert_eq!(parts(&split), [(Some(7), 601, 6), (Some(8), 300, 3), (None, 100, 1)]);
        let share = 601.0 / 1001.0;
        assert!((split[0].variance_ns2 - 1001.0 * 1001.0 * share * (1.0 - share) / 25.0).abs() < 1e-6);
        assert_eq!((split[0].place(), split[2].place()), (Some(7), Some(0)));
    }

    #[test]
    fn equal_entries_of_a_loop_err_together_as_one_entry_of_both_would() {
        let loops = [waits("reply", 10, &[(7, 60), (8, 30)])];
        let variance_of = |entries: Vec<Entry>, place| -> f64 {
            let split = attribute_awaits(entries, &loops);
            split.iter().filter(|entry| entry.awaits == Some(place)).map(|entry| entry.variance_ns2).sum()
        };
        let half = entry(Some("reply"), false, 1000);
        let other = Entry { task: 4, ..half.clone() };
        let idle = Entry { idle: true, ..half.clone() };
        for (place, share) in [(7, 0.6), (8, 0.3)] {
            let both = variance_of(vec![half.clone(), half.clone(), other.clone(), idle.clone()], place);
            let expected = 2000.0 * 2000.0 * share * (1.0 - share) / 25.0;
            assert!((both - expected).abs() < 1e-6, "{both} {expected}");
            assert!((variance_of(vec![entry(Some("reply"), false, 2000)], place) - both).abs() < 1e-6);
        }
    }

    #[test]
    fn the_lengths_of_a_wait_go_with_its_largest_part() {
        let loops = [waits("reply", 10, &[(7, 30), (8, 60), (9, 0)])];
        let split = attribute_awaits(vec![entry(Some("reply"), false, 1000)], &loops);
        let captures: Vec<_> = split.iter().map(|entry| (entry.awaits, entry.captures_of)).collect();
        assert_eq!(captures, [(Some(7), None), (Some(8), Some(7)), (None, None)]);
    }

    #[test]
    fn idle_time_other_waits_and_other_threads_are_left_alone() {
        let loops = [waits("reply", 0, &[(7, 60)]), waits("timer", 0, &[])];
        let other = Entry { task: 4, ..entry(Some("reply"), false, 5) };
        let cpu = Entry { state: State::RunQueue, ..entry(Some("reply"), false, 5) };
        let left = vec![
            entry(Some("reply"), true, 5),
            entry(Some("handoff"), false, 5),
            entry(Some("timer"), false, 5),
            entry(None, false, 5),
            other,
            cpu,
        ];
        assert_eq!(attribute_awaits(left.clone(), &loops), left);
        assert_eq!(attribute_awaits(left.clone(), &[]), left);
    }
}
