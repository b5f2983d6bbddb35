//! How long the waits of a window were: what the kernel half's counts gained, and the longest as well as it can be told.

use std::collections::{BTreeMap, HashMap};

use profiler_common::wait_class;
use profiler_common::wait_lengths::{BUCKETS, Lengths};

use crate::profile::{LengthCounts, WaitClass, WaitLengths};

/// What was reported of one account so far. Most threads wait for a few reasons only.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportedLengths {
    classes: Vec<Reported>,
}

#[derive(Debug, Clone)]
struct Reported {
    class: WaitClass,
    counts: [u32; BUCKETS],
    longest_ns: u64,
}

impl ReportedLengths {
    /// Reports everything up to `now`, by class.
    pub(super) fn advance(&mut self, now: &Lengths) -> Vec<(WaitClass, LengthCounts)> {
        let gained = |class: WaitClass| {
            let gain = self.of(class, now)?.advance(now);
            (gain.count() > 0).then_some((class, gain))
        };
        WaitClass::ALL.into_iter().filter_map(gained).collect()
    }

    /// What was reported of a class, if it has waits.
    fn of(&mut self, class: WaitClass, now: &Lengths) -> Option<&mut Reported> {
        let known = self.classes.iter().position(|reported| reported.class == class);
        let at = known.or_else(|| {
            now.of(class as u8).iter().any(|count| *count > 0).then(|| {
                self.classes.push(Reported { class, counts: [0; BUCKETS], longest_ns: 0 });
                self.classes.len() - 1
            })
        })?;
        self.classes.get_mut(at)
    }
}

impl Reported {
    /// A snapshot that was overtaken by the thread's end has smaller counts than were reported, and gains nothing.
    fn advance(&mut self, now: &Lengths) -> LengthCounts {
        let mut gain = LengthCounts::default();
        for ((reported, now), gained) in self.counts.iter_mut().zip(now.of(self.class as u8)).zip(&mut gain.counts) {
            let difference = now.wrapping_sub(*reported);
            if difference <= u32::MAX / 2 {
                (*reported, *gained) = (*now, difference);
            }
        }
        let longest_ns = now.longest_ns(self.class as u8);
        if longest_ns > self.longest_ns {
            (self.longest_ns, gain.longest_ns) = (longest_ns, longest_ns);
        }
        gain
    }
}

/// How many waits of each length there were since the start, by class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifetimeLengths {
    counts: [[u64; BUCKETS]; wait_class::COUNT],
}

impl LifetimeLengths {
    /// Adds what a task gained.
    pub(super) fn add(&mut self, gains: &[(WaitClass, LengthCounts)]) {
        for (class, gain) in gains {
            let counts = &mut self.counts[*class as usize];
            counts.iter_mut().zip(gain.counts).for_each(|(count, more)| *count += u64::from(more));
        }
    }

    /// The counts of a class, by bucket.
    pub fn of(&self, class: WaitClass) -> &[u64; BUCKETS] {
        &self.counts[class as usize]
    }
}

/// The lengths of one window in the making.
#[derive(Debug, Default)]
pub(super) struct WindowLengths {
    counts: HashMap<(u32, WaitClass), LengthCounts>,
    /// The longest wait captured.
    captured: HashMap<(u32, WaitClass), u64>,
}

impl WindowLengths {
    /// Adds what a task gained.
    pub(super) fn add(&mut self, task: u32, gains: &[(WaitClass, LengthCounts)]) {
        gains.iter().for_each(|(class, gain)| self.counts.entry((task, *class)).or_default().add(gain));
    }

    /// Notes the length of a wait that was captured.
    pub(super) fn note(&mut self, task: u32, class: WaitClass, length_ns: u64) {
        let longest_ns = self.captured.entry((task, class)).or_default();
        *longest_ns = length_ns.max(*longest_ns);
    }

    /// As they stand.
    pub(super) fn to_table(&self) -> Vec<WaitLengths> {
        let table: BTreeMap<(u32, u8), WaitLengths> = self
            .counts
            .iter()
            .map(|((task, class), counts)| {
                let captured_ns = self.captured.get(&(*task, *class)).copied().unwrap_or_default();
                let mut lengths = counts.clone();
                lengths.longest_ns = counts.longest_ns.max(captured_ns).max(counts.least_longest_ns());
                ((*task, *class as u8), WaitLengths { task: *task, class: *class, lengths })
            })
            .collect();
        table.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(lengths: &mut Lengths, waits: &[u64]) {
        waits.iter().for_each(|ns| lengths.add(WaitClass::Net as u8, *ns));
    }

    #[test]
    fn gains_are_differences_and_a_longest_wait_is_told_when_it_is_the_longest_so_far() {
        let (mut reported, mut lengths) = (ReportedLengths::default(), Lengths::NONE);
        waited(&mut lengths, &[3000, 5000]);
        let early = lengths;
        let [(WaitClass::Net, first)] = &reported.advance(&lengths)[..] else { panic!("one class") };
        assert_eq!((first.count(), first.longest_ns), (2, 5000));
        assert!(reported.advance(&lengths).is_empty());
        waited(&mut lengths, &[4200]);
        let [(_, second)] = &reported.advance(&lengths)[..] else { panic!("one class") };
        assert_eq!((second.count(), second.longest_ns, second.least_longest_ns()), (1, 0, 4096));
        assert!(reported.advance(&early).is_empty());
        assert!(reported.advance(&lengths).is_empty());
    }

    #[test]
    fn the_longest_of_a_window_is_the_one_captured_or_at_least_as_long_as_its_bucket() {
        let mut window = WindowLengths::default();
        let mut counts = LengthCounts::default();
        counts.counts[3] = 1;
        window.add(7, &[(WaitClass::Net, counts)]);
        assert_eq!(window.to_table()[0].lengths.longest_ns, 4096);
        window.note(7, WaitClass::Net, 5000);
        window.note(7, WaitClass::Net, 4500);
        assert_eq!(window.to_table()[0].lengths.longest_ns, 5000);
    }
}
