//! Several windows into one profile: equal tasks, stacks and samples are added up.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Profile, Sample, Stack, State, Task, TaskTotals};

/// Merges windows in order. The periods are those of the last window that has any.
pub fn merge_profiles<'a>(windows: impl IntoIterator<Item = &'a Profile>) -> Profile {
    let mut merger = Merger::default();
    windows.into_iter().for_each(|window| merger.add(window));
    merger.profile
}

/// Adds to a window what became known of it later: parts of waits that ended since.
///
/// A thread waits once at a time. So the part of such a wait takes the place of the sample that was read from outside, without
/// a capture, while the wait went on.
pub fn amend_profile(window: &Profile, part: &Profile) -> Profile {
    let thread = |profile: &Profile, task: u32| {
        let task = &profile.tasks[task as usize];
        (task.process, task.thread)
    };
    let ended: HashSet<_> = part.samples.iter().map(|sample| thread(part, sample.task)).collect();
    let keep = |sample: &&Sample| sample.count > 0 || !ended.contains(&thread(window, sample.task));
    let samples = window.samples.iter().filter(keep).cloned().collect();
    merge_profiles([&Profile { samples, ..window.clone() }, part])
}

#[derive(Default)]
struct Merger {
    profile: Profile,
    tasks: HashMap<Arc<Task>, u32>,
    stacks: HashMap<Stack, u32>,
    samples: HashMap<(u32, State, bool, u32), usize>,
    totals: HashMap<u32, usize>,
}

impl Merger {
    fn add(&mut self, window: &Profile) {
        let tasks = intern_all(&window.tasks, &mut self.tasks, &mut self.profile.tasks);
        let stacks = intern_all(&window.stacks, &mut self.stacks, &mut self.profile.stacks);
        for sample in &window.samples {
            let task = tasks[sample.task as usize];
            let stack = stacks[sample.stack as usize];
            self.add_sample(Sample { task, stack, ..sample.clone() });
        }
        for totals in &window.totals {
            self.add_totals(TaskTotals { task: tasks[totals.task as usize], ..totals.clone() });
        }
        self.add_header(window);
    }

    fn add_header(&mut self, window: &Profile) {
        self.profile.range = self.profile.range.cover(window.range);
        self.profile.loss.merge(&window.loss);
        if window.cpu_period_ns != 0 {
            self.profile.cpu_period_ns = window.cpu_period_ns;
            self.profile.wait_period_ns = window.wait_period_ns;
        }
    }

    fn add_sample(&mut self, sample: Sample) {
        let key = (sample.task, sample.state, sample.idle, sample.stack);
        match self.samples.get(&key) {
            Some(&at) => {
                let known = &mut self.profile.samples[at];
                known.weight_ns += sample.weight_ns;
                known.count += sample.count;
                known.variance_ns2 += sample.variance_ns2;
            }
            None => {
                self.samples.insert(key, self.profile.samples.len());
                self.profile.samples.push(sample);
            }
        }
    }

    fn add_totals(&mut self, totals: TaskTotals) {
        match self.totals.get(&totals.task) {
            Some(&at) => self.profile.totals[at].add(&totals),
            None => {
                self.totals.insert(totals.task, self.profile.totals.len());
                self.profile.totals.push(totals);
            }
        }
    }
}

/// The new index of each of `items`, which are appended to `list` where `known` lacks them.
fn intern_all<T: Clone + Eq + Hash>(items: &[T], known: &mut HashMap<T, u32>, list: &mut Vec<T>) -> Vec<u32> {
    items
        .iter()
        .map(|item| {
            *known.entry(item.clone()).or_insert_with(|| {
                list.push(item.clone());
                (list.len() - 1) as u32
            })
        })
        .collect()
}
