//! Several windows into one profile: equal tasks, stacks and samples are added up.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{LengthEstimate, LoopWaits, Profile, Sample, Stack, State, Task, TaskTotals, WaitClass, WaitLengths};

/// Merges windows in order. The CPU period is that of the last window that has any.
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

/// Where the waits of a loop stand, and where each of their stacks does.
type LoopIndex = (usize, HashMap<u32, usize>);

#[derive(Default)]
struct Merger {
    profile: Profile,
    tasks: HashMap<Arc<Task>, u32>,
    stacks: HashMap<Stack, u32>,
    samples: HashMap<(u32, State, bool, u32), usize>,
    totals: HashMap<u32, usize>,
    lengths: HashMap<(u32, WaitClass), usize>,
    loops: HashMap<(u32, &'static str), LoopIndex>,
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
        for waits in &window.wait_lengths {
            self.add_lengths(WaitLengths { task: tasks[waits.task as usize], ..waits.clone() });
        }
        for waits in &window.loop_waits {
            let awaits = waits.awaits.iter().map(|(stack, ns)| (stacks[*stack as usize], *ns)).collect();
            self.add_loop(LoopWaits { task: tasks[waits.task as usize], awaits, ..*waits });
        }
        self.add_header(window);
    }

    fn add_header(&mut self, window: &Profile) {
        self.profile.range = self.profile.range.cover(window.range);
        self.profile.loss.merge(&window.loss);
        if window.cpu_period_ns != 0 {
            self.profile.cpu_period_ns = window.cpu_period_ns;
        }
        self.profile.wait_periods = self.profile.wait_periods.cover(window.wait_periods);
    }

    fn add_sample(&mut self, sample: Sample) {
        let key = (sample.task, sample.state, sample.idle, sample.stack);
        match self.samples.get(&key) {
            Some(&at) => {
                let known = &mut self.profile.samples[at];
                known.weight_ns += sample.weight_ns;
                known.count += sample.count;
                known.variance_ns2 += sample.variance_ns2;
                LengthEstimate::merge(&mut known.lengths, sample.lengths.as_deref());
            }
            None => {
                self.samples.insert(key, self.profile.samples.len());
                self.profile.samples.push(sample);
            }
        }
    }

    fn add_lengths(&mut self, waits: WaitLengths) {
        match self.lengths.get(&(waits.task, waits.class)) {
            Some(&at) => self.profile.wait_lengths[at].lengths.add(&waits.lengths),
            None => {
                self.lengths.insert((waits.task, waits.class), self.profile.wait_lengths.len());
                self.profile.wait_lengths.push(waits);
            }
        }
    }

    fn add_loop(&mut self, waits: LoopWaits) {
        let loops = &mut self.profile.loop_waits;
        let (at, known) = self.loops.entry((waits.task, waits.detail)).or_insert_with(|| {
            loops.push(LoopWaits { task: waits.task, detail: waits.detail, ..LoopWaits::default() });
            (loops.len() - 1, HashMap::new())
        });
        let sum = &mut loops[*at];
        sum.looks += waits.looks;
        sum.empty_ns += waits.empty_ns;
        for (stack, ns) in waits.awaits {
            let place = *known.entry(stack).or_insert(sum.awaits.len());
            match sum.awaits.get_mut(place) {
                Some((_, sum_ns)) => *sum_ns += ns,
                None => sum.awaits.push((stack, ns)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Frame, LengthCounts, ProcessId, ThreadId};

    fn task(tid: u32) -> Arc<Task> {
        let (process, thread) = (ProcessId { pid: 1, start_ns: 1 }, ThreadId { tid, start_ns: 1 });
        Arc::new(Task { process, thread, process_name: "p".into(), thread_name: "t".into(), kernel: false })
    }

    fn waiting(tids: &[u32], count: u64, weight_ns: u64, function: &'static str) -> Profile {
        let state = State::Wait(WaitClass::Sync);
        let sample =
            |task| Sample { task, state, idle: false, stack: 0, weight_ns, count, variance_ns2: 0.0, lengths: None };
        Profile {
            tasks: tids.iter().map(|tid| task(*tid)).collect(),
            stacks: vec![Stack::new(vec![Arc::new(Frame::marker(function))])],
            samples: (0..tids.len() as u32).map(sample).collect(),
            ..Profile::default()
        }
    }

    #[test]
    fn the_lengths_of_a_tasks_waits_are_added_up_by_class() {
        let window = |tids: &[u32], class, longest_ns| {
            let mut lengths = LengthCounts { longest_ns, ..LengthCounts::default() };
            lengths.counts[3] = 2;
            let of = |task| WaitLengths { task, class, lengths: lengths.clone() };
            Profile { wait_lengths: (0..tids.len() as u32).map(of).collect(), ..waiting(tids, 1, 1, "f") }
        };
        let windows =
            [window(&[7, 8], WaitClass::Net, 9), window(&[8], WaitClass::Net, 20), window(&[8], WaitClass::Disk, 5)];
        let merged = merge_profiles(&windows).wait_lengths;
        let told: Vec<_> = merged
            .iter()
            .map(|waits| (waits.task, waits.class, waits.lengths.count(), waits.lengths.longest_ns))
            .collect();
        assert_eq!(told, [(0, WaitClass::Net, 2, 9), (1, WaitClass::Net, 4, 20), (1, WaitClass::Disk, 2, 5)]);
    }

    #[test]
    fn what_looks_found_in_waits_of_one_kind_is_added_up_by_stack() {
        let window = |functions: &[&'static str], detail| {
            let awaits = (0..functions.len() as u32).map(|stack| (stack, 10 + u64::from(stack))).collect();
            let stacks = functions.iter().map(|name| Stack::new(vec![Arc::new(Frame::marker(*name))])).collect();
            let waits = LoopWaits { task: 0, detail, looks: 2, empty_ns: 1, awaits };
            Profile { stacks, loop_waits: vec![waits], ..waiting(&[7], 1, 1, "f") }
        };
        let merged =
            merge_profiles([&window(&["a", "b"], "reply"), &window(&["b"], "reply"), &window(&["a"], "timer")]);
        let told: Vec<_> =
            merged.loop_waits.iter().map(|waits| (waits.detail, waits.looks, waits.weight_ns())).collect();
        assert_eq!(told, [("reply", 4, 33), ("timer", 2, 11)]);
        assert_eq!(merged.loop_waits[0].awaits, [(0, 10), (1, 21)]);
    }

    #[test]
    fn the_capture_of_a_wait_takes_the_place_of_what_was_seen_of_it_while_it_went_on() {
        let window = waiting(&[7, 8], 0, 100, "seen");
        let amended = amend_profile(&window, &waiting(&[7], 1, 90, "captured"));
        let samples: Vec<_> =
            amended.samples.iter().map(|sample| (sample.task, sample.weight_ns, sample.count)).collect();
        assert_eq!(samples, [(1, 100, 0), (0, 90, 1)]);
    }
}
