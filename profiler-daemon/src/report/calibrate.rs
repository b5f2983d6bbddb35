//! Samples tied to the exact totals: what the reports sum up always agrees with the kernel's books.
//!
//! A sample is an unbiased but noisy estimate; how long a thread was in a state is known exactly. So the samples of a
//! *stratum* - one thread in one state, all kinds of on-CPU code being one state - are corrected to sum up to its exact
//! total, each in proportion to its variance: what is measured whole, like a wait longer than the sampling period, is not
//! changed by the noise of what is not.
//!
//! - With at least [`MIN_CAPTURES`] captures a stratum stands alone.
//! - Threads with fewer are pooled with the others of their process in the same state: services that start a thread per
//!   request have thousands of threads, none of which is ever seen five times, while together they are well measured.
//!   A pool is scaled to the sum of its threads' exact totals and laid out over its threads: first each thread's
//!   own samples up to its exact total, then what is left over fills the threads that were seen too seldom. Within a
//!   pool the function is well known and the thread is not; no stack ever moves to another process.
//! - A pool with fewer captures keeps its estimates.
//! - A wait that has not ended has mostly no stack yet, nor has a refused one. Where the exact total of a wait exceeds the samples by more than
//!   chance explains (four standard errors, and two of the longest T by which waits of these threads were chosen), the samples keep their weights: scaling
//!   them up would charge one thread's long wait to the stacks of unrelated short ones.
//! - Estimates above the exact total are always scaled down to it.
//!
//! What the samples do not cover becomes an entry without a stack, shown as `[unsampled disk]`; the hypervisor's share never has
//! a stack and is shown as `[steal]`. Hence: *per thread and state the entries sum up to the exact total, to the nanosecond.*

use std::collections::{BTreeMap, HashMap};

use super::amounts::apportion;
use super::awaits::attribute_awaits;
use crate::profile::{CodeKind, Frame, ProcessId, Profile, Sample, State, TaskTotals, WaitClass};

/// Fewer captures than this say too little about one thread to be scaled on their own.
pub const MIN_CAPTURES: u64 = 5;

/// How many standard errors the samples may fall short of an exact total by chance.
const MAX_STANDARD_ERRORS: f64 = 4.0;

/// A profile whose estimates agree with its exact totals, or the part of one that a query selected.
#[derive(Debug, Clone)]
pub struct Calibrated<'a> {
    /// Where tasks, stacks, range and losses stand. Its samples and totals are superseded by those here.
    pub profile: &'a Profile,
    /// The nanoseconds of every task and state, by stack.
    pub entries: Vec<Entry>,
    /// The exact totals; a task without books has those its samples suggest.
    pub totals: Vec<TaskTotals>,
    /// Idle time that a query left out of `entries`.
    pub idle_hidden_ns: u64,
}

/// Some nanoseconds of one task in one state on one stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Index into [`Profile::tasks`].
    pub task: u32,
    /// What the thread was doing. Where `stack` is absent, the kind of an on-CPU state means nothing.
    pub state: State,
    /// Whether the time is idle.
    pub idle: bool,
    /// Of a wait whose frames tell more than its class: what it is.
    pub detail: Option<&'static str>,
    /// Index into [`Profile::stacks`]; absent where no sample tells the stack.
    pub stack: Option<u32>,
    /// The calibrated estimate in nanoseconds.
    pub ns: u64,
    /// How many captures stand behind it.
    pub count: u64,
    /// The variance of `ns`, in square nanoseconds.
    pub variance_ns2: f64,
    /// Of time an event loop waited that is charged to a task of it: where that awaits something, an index into
    /// [`Profile::stacks`]. Attributed by looks, not measured; `stack` is where the loop waited.
    pub awaits: Option<u32>,
    /// If there are captures, the index into [`Profile::samples`] of the one they stand behind.
    pub captures_of: Option<u32>,
}

impl Entry {
    /// So much time of one task in one state, of which nothing else is known.
    pub(super) fn bare(task: u32, state: State, ns: u64) -> Self {
        Self {
            task,
            state,
            idle: false,
            detail: None,
            stack: None,
            ns,
            count: 0,
            variance_ns2: 0.0,
            awaits: None,
            captures_of: None,
        }
    }

    /// The stack that is charged.
    pub fn place(&self) -> Option<u32> {
        self.awaits.or(self.stack)
    }

    /// What stands in place of the stack where there is none: `[steal]` or `[unsampled STATE]`.
    pub fn marker(&self) -> Option<Frame> {
        self.stack.is_none().then(|| Frame::marker(residual_name(self.state)))
    }
}

/// The name of time without a stack: `[steal]`, or `[unsampled cpu]`, `[unsampled disk]` and so on.
pub fn residual_name(state: State) -> String {
    match state {
        State::Steal => "[steal]".to_owned(),
        _ => format!("[unsampled {}]", state.name()),
    }
}

/// Scales the samples of a profile to its exact totals.
pub fn calibrate(profile: &Profile) -> Calibrated<'_> {
    let totals = complete_totals(profile);
    let mut entries = Vec::with_capacity(profile.samples.len());
    for ((_, state, _), pool) in pools(profile, &totals) {
        pool.settle(profile, state, &mut entries);
    }
    let entries = split_idle(entries, &totals);
    let mut calibrated = Calibrated { profile, entries, totals, idle_hidden_ns: 0 };
    calibrated.tell_waits();
    calibrated.entries = attribute_awaits(calibrated.entries, &profile.loop_waits);
    calibrated
}

impl Calibrated<'_> {
    /// Counts waits as what the frames of their stacks say they are, in the totals as well. Only the kernel's class is exact, so
    /// this comes after everything was tied to it.
    fn tell_waits(&mut self) {
        let by_task: HashMap<u32, usize> = self.totals.iter().enumerate().map(|(at, total)| (total.task, at)).collect();
        for entry in &mut self.entries {
            let (State::Wait(class), Some(stack)) = (entry.state, entry.stack) else { continue };
            let told = self.profile.stacks[stack as usize].wait.filter(|wait| wait.refines(class));
            let Some(wait) = told else { continue };
            if let Some(totals) = by_task.get(&entry.task).map(|at| &mut self.totals[*at]) {
                let moved = entry.ns.min(totals.wait_ns[class as usize]);
                totals.wait_ns[class as usize] -= moved;
                totals.wait_ns[wait.class as usize] += moved;
                totals.idle_ns += if wait.idle && !entry.idle { moved } else { 0 };
            }
            entry.state = State::Wait(wait.class);
            entry.detail = Some(wait.name);
            entry.idle |= wait.idle;
        }
    }
}

/// The totals by task. A task whose books were lost gets the sums of its samples.
fn complete_totals(profile: &Profile) -> Vec<TaskTotals> {
    let mut totals: BTreeMap<u32, TaskTotals> = BTreeMap::new();
    for known in &profile.totals {
        totals.entry(known.task).or_insert_with(|| empty_totals(known.task)).add(known);
    }
    let mut guessed: BTreeMap<u32, TaskTotals> = BTreeMap::new();
    for sample in profile.samples.iter().filter(|sample| !totals.contains_key(&sample.task)) {
        add_sample(guessed.entry(sample.task).or_insert_with(|| empty_totals(sample.task)), sample);
    }
    totals.append(&mut guessed);
    totals.into_values().collect()
}

fn empty_totals(task: u32) -> TaskTotals {
    TaskTotals { task, ..TaskTotals::default() }
}

fn add_sample(totals: &mut TaskTotals, sample: &Sample) {
    let ns = sample.weight_ns;
    match sample.state {
        State::OnCpu(_) => totals.cpu_ns += ns,
        State::RunQueue => totals.runq_ns += ns,
        State::Throttled => totals.throttled_ns += ns,
        State::Steal => totals.steal_ns += ns,
        State::Wait(class) => {
            totals.wait_ns[class as usize] += ns;
            totals.idle_ns += if sample.idle { ns } else { 0 };
        }
    }
}

/// All states with an exact total; the on-CPU state stands for all kinds of code.
fn strata() -> impl Iterator<Item = State> {
    let cpu = [State::OnCpu(CodeKind::Native), State::RunQueue, State::Throttled, State::Steal];
    cpu.into_iter().chain(WaitClass::ALL.map(State::Wait))
}

fn stratum_of(state: State) -> State {
    match state {
        State::OnCpu(_) => State::OnCpu(CodeKind::Native),
        _ => state,
    }
}

/// One thread in one state.
#[derive(Debug, Default)]
struct Stratum {
    task: u32,
    exact_ns: u64,
    samples: Vec<usize>,
    captures: u64,
    /// The longest T by which its waits were chosen.
    period_ns: u64,
}

/// The strata scaled together: those of a process that have few captures, or a single one.
#[derive(Debug, Default)]
struct Pool {
    strata: Vec<Stratum>,
}

/// A pool is a process, a state, and the thread if it stands alone.
type PoolKey = (ProcessId, State, Option<u32>);

fn pools(profile: &Profile, totals: &[TaskTotals]) -> BTreeMap<PoolKey, Pool> {
    let mut pools: BTreeMap<PoolKey, Pool> = BTreeMap::new();
    for ((task, state), stratum) in collect_strata(profile, totals) {
        let alone = (stratum.captures >= MIN_CAPTURES).then_some(task);
        let process = profile.tasks[task as usize].process;
        pools.entry((process, state, alone)).or_default().strata.push(stratum);
    }
    pools
}

fn collect_strata(profile: &Profile, totals: &[TaskTotals]) -> BTreeMap<(u32, State), Stratum> {
    let mut known: BTreeMap<(u32, State), Stratum> = BTreeMap::new();
    for total in totals {
        for state in strata().filter(|state| total.state_ns(*state) > 0) {
            let exact_ns = total.state_ns(state);
            let stratum = Stratum { task: total.task, exact_ns, period_ns: total.wait_period_ns, ..Stratum::default() };
            known.insert((total.task, state), stratum);
        }
    }
    for (at, sample) in profile.samples.iter().enumerate().filter(|(_, sample)| sample.weight_ns > 0) {
        let stratum = known.entry((sample.task, stratum_of(sample.state))).or_default();
        stratum.task = sample.task;
        stratum.samples.push(at);
        stratum.captures += sample.count;
    }
    known
}

/// A part of a sample on its way to a task.
struct Share<'a> {
    sample: &'a Sample,
    /// Its index.
    at: u32,
    ns: u64,
    /// What one nanosecond of the share carries of the sample's variance.
    variance_per_ns: f64,
    count: u64,
}

impl Share<'_> {
    /// Cuts `ns` nanoseconds off for a task. The captures go with the first cut.
    fn cut(&mut self, task: u32, ns: u64) -> Entry {
        self.ns -= ns;
        Entry {
            idle: self.sample.idle,
            stack: Some(self.sample.stack),
            captures_of: (self.count > 0).then_some(self.at),
            count: std::mem::take(&mut self.count),
            variance_ns2: self.variance_per_ns * ns as f64,
            ..Entry::bare(task, self.sample.state, ns)
        }
    }
}

impl Pool {
    /// Writes the entries of the pool: its samples scaled and laid out over its threads, then what they do not cover.
    fn settle(&self, profile: &Profile, state: State, entries: &mut Vec<Entry>) {
        let mut shares = self.scaled_shares(profile, state);
        let mut room: Vec<(u32, u64)> = self.strata.iter().map(|stratum| (stratum.task, stratum.exact_ns)).collect();
        for (shares, room) in shares.iter_mut().zip(&mut room) {
            keep_own(shares, room, entries);
        }
        fill_room(shares.iter_mut().flatten(), &mut room, entries);
        entries.extend(room.iter().filter(|(_, ns)| *ns > 0).map(|(task, ns)| residual(profile, *task, state, *ns)));
    }

    /// The samples of each stratum, scaled to what the pool shall sum up to.
    fn scaled_shares<'p>(&self, profile: &'p Profile, state: State) -> Vec<Vec<Share<'p>>> {
        let samples = self.strata.iter().flat_map(|stratum| &stratum.samples).map(|at| &profile.samples[*at]);
        let samples: Vec<&Sample> = samples.collect();
        let mut scaled = adjust(&samples, self.target_ns(state, samples.iter().copied())).into_iter();
        let mut share = |at: &usize| {
            let sample = &profile.samples[*at];
            let ns = scaled.next().expect("there is one scaled weight per sample");
            let factor = ns as f64 / sample.weight_ns as f64;
            let variance_per_ns = sample.variance_ns2 * factor * factor / (ns.max(1) as f64);
            Share { sample, at: *at as u32, ns, variance_per_ns, count: sample.count }
        };
        self.strata.iter().map(|stratum| stratum.samples.iter().map(&mut share).collect()).collect()
    }

    /// What the samples of the pool shall sum up to.
    fn target_ns<'p>(&self, state: State, samples: impl Iterator<Item = &'p Sample>) -> u64 {
        let exact_ns: u64 = self.strata.iter().map(|stratum| stratum.exact_ns).sum();
        let (mut sampled_ns, mut captures, mut variance) = (0_u64, 0, 0.0);
        for sample in samples {
            sampled_ns += sample.weight_ns;
            captures += sample.count;
            variance += sample.variance_ns2;
        }
        let period_ns = self.strata.iter().map(|stratum| stratum.period_ns).max().unwrap_or_default();
        let by_chance = MAX_STANDARD_ERRORS * variance.sqrt() + 2.0 * period_ns as f64;
        let complete = !matches!(state, State::Wait(_)) || exact_ns.saturating_sub(sampled_ns) as f64 <= by_chance;
        if captures >= MIN_CAPTURES && complete { exact_ns } else { sampled_ns.min(exact_ns) }
    }
}

/// The weights of the samples, corrected so that they sum up to `target_ns`: each takes the part of the difference that its
/// variance is of all variance, which is the likeliest place of the error. What is certain stays as it is. Without
/// any variance each capture takes the same part: the scheduler starts and stops its clocks some microseconds beside the
/// hooks, and the exact totals follow the scheduler. Where a weight would fall below zero, all are scaled by one factor.
fn adjust(samples: &[&Sample], target_ns: u64) -> Vec<u64> {
    let weights: Vec<u64> = samples.iter().map(|sample| sample.weight_ns).collect();
    let is_certain = samples.iter().all(|sample| sample.variance_ns2 == 0.0);
    let error_of = |sample: &Sample| if is_certain { sample.count as f64 } else { sample.variance_ns2 };
    let errors: f64 = samples.iter().map(|sample| error_of(sample)).sum();
    let difference = target_ns as f64 - weights.iter().sum::<u64>() as f64;
    let corrected = samples.iter().map(|sample| {
        let ns = sample.weight_ns as f64 + difference * error_of(sample) / errors;
        (ns >= 0.0).then(|| ns.round() as u64)
    });
    apportion(&corrected.collect::<Option<Vec<u64>>>().unwrap_or(weights), target_ns)
}

/// Gives a thread its own samples, each in the same proportion where they exceed its exact total.
fn keep_own(shares: &mut [Share<'_>], room: &mut (u32, u64), entries: &mut Vec<Entry>) {
    let weights: Vec<u64> = shares.iter().map(|share| share.ns).collect();
    let kept = apportion(&weights, room.1.min(weights.iter().sum()));
    for (share, ns) in shares.iter_mut().zip(kept).filter(|(_, ns)| *ns > 0) {
        room.1 -= ns;
        entries.push(share.cut(room.0, ns));
    }
}

/// Lays what is left of the samples over the threads that have room left.
fn fill_room<'s, 'p: 's>(
    shares: impl Iterator<Item = &'s mut Share<'p>>,
    room: &mut [(u32, u64)],
    entries: &mut Vec<Entry>,
) {
    let mut room = room.iter_mut().filter(|(_, ns)| *ns > 0).peekable();
    for share in shares {
        while let Some((task, left)) = room.peek_mut().filter(|_| share.ns > 0) {
            let ns = share.ns.min(*left);
            *left -= ns;
            entries.push(share.cut(*task, ns));
            room.next_if(|(_, left)| *left == 0);
        }
    }
}

fn residual(profile: &Profile, task: u32, state: State, ns: u64) -> Entry {
    let state = match state {
        State::OnCpu(_) if profile.tasks[task as usize].kernel => State::OnCpu(CodeKind::Kernel),
        _ => state,
    };
    Entry::bare(task, state, ns)
}

/// Marks as much of a task's unsampled waits idle as its exact idle time exceeds its idle samples.
fn split_idle(entries: Vec<Entry>, totals: &[TaskTotals]) -> Vec<Entry> {
    let mut missing: HashMap<u32, u64> = totals.iter().map(|total| (total.task, total.idle_ns)).collect();
    missing.retain(|_, ns| *ns > 0);
    if missing.is_empty() {
        return entries;
    }
    for entry in entries.iter().filter(|entry| entry.idle) {
        missing.entry(entry.task).and_modify(|ns| *ns = ns.saturating_sub(entry.ns));
    }
    let mut split = Vec::with_capacity(entries.len());
    for entry in entries {
        split_residual(entry, &mut missing, &mut split);
    }
    split
}

fn split_residual(mut entry: Entry, missing: &mut HashMap<u32, u64>, split: &mut Vec<Entry>) {
    let waits = entry.stack.is_none() && matches!(entry.state, State::Wait(_));
    if let Some(missing) = missing.get_mut(&entry.task).filter(|ns| waits && **ns > 0) {
        let ns = entry.ns.min(*missing);
        *missing -= ns;
        entry.ns -= ns;
        split.push(Entry { ns, idle: true, ..entry.clone() });
    }
    if entry.ns > 0 {
        split.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{Stack, Task, ThreadId, WaitDetail};

    const T: u64 = 10_000_000;

    fn task(pid: u32, tid: u32) -> Arc<Task> {
        Arc::new(Task {
            process: ProcessId { pid, start_ns: 1 },
            thread: ThreadId { tid, start_ns: 1 },
            process_name: "p".into(),
            thread_name: "t".into(),
            kernel: false,
        })
    }

    fn sample(task: u32, state: State, stack: u32, weight_ns: u64, count: u64) -> Sample {
        let variance_ns2 = (weight_ns as f64) * T as f64;
        Sample { task, state, idle: false, stack, weight_ns, count, variance_ns2, lengths: None }
    }

    fn profile(tasks: u32, samples: Vec<Sample>, totals: Vec<TaskTotals>) -> Profile {
        Profile {
            tasks: (0..tasks).map(|at| task(1 + at / 8, 10 + at)).collect(),
            stacks: vec![Stack::default(); 4],
            samples,
            totals,
            cpu_period_ns: T,
            ..Profile::default()
        }
    }

    fn net(task: u32, ns: u64) -> TaskTotals {
        let mut totals = TaskTotals { wait_period_ns: T, ..empty_totals(task) };
        totals.wait_ns[WaitClass::Net as usize] = ns;
        totals
    }

    const NET: State = State::Wait(WaitClass::Net);

    fn sum(calibrated: &Calibrated<'_>, keep: impl Fn(&Entry) -> bool) -> u64 {
        calibrated.entries.iter().filter(|entry| keep(entry)).map(|entry| entry.ns).sum()
    }

    #[test]
    fn five_captures_are_scaled_to_the_exact_total_with_their_proportions() {
        let samples = vec![sample(0, NET, 0, 30 * T, 3), sample(0, NET, 1, 10 * T, 2)];
        let profile = profile(1, samples, vec![net(0, 44 * T)]);
        let calibrated = calibrate(&profile);
        assert_eq!(calibrated.entries.iter().map(|entry| entry.ns).collect::<Vec<_>>(), [33 * T, 11 * T]);
        let expected = 30.0 * (T as f64).powi(2) * 1.1_f64.powi(2);
        assert!((calibrated.entries[0].variance_ns2 / expected - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_certain_keeps_its_length_and_the_noisy_rest_takes_the_correction() {
        let certain = Sample { variance_ns2: 0.0, ..sample(0, NET, 0, 70 * T, 1) };
        let profile = profile(1, vec![certain, sample(0, NET, 1, 10 * T, 10)], vec![net(0, 82 * T)]);
        let parts: Vec<u64> = calibrate(&profile).entries.iter().map(|entry| entry.ns).collect();
        assert_eq!(parts, [70 * T, 12 * T]);
    }

    #[test]
    fn captures_of_every_wait_share_the_correction_by_their_number() {
        let certain = |weight_ns, count, stack| Sample { variance_ns2: 0.0, ..sample(0, NET, stack, weight_ns, count) };
        let samples = vec![certain(90 * T, 10, 0), certain(10 * T, 990, 1)];
        let profile = profile(1, samples, vec![net(0, 99 * T)]);
        let parts: Vec<u64> = calibrate(&profile).entries.iter().map(|entry| entry.ns).collect();
        assert_eq!(parts, [90 * T - T / 100, 9 * T + T / 100]);
    }

    #[test]
    fn python_and_kernel_code_share_one_exact_cpu_total() {
        let kinds = [CodeKind::Python, CodeKind::Kernel];
        let samples = kinds.iter().map(|kind| sample(0, State::OnCpu(*kind), 0, 3 * T, 3)).collect();
        let totals = TaskTotals { cpu_ns: 5 * T, ..empty_totals(0) };
        let profile = profile(1, samples, vec![totals]);
        let parts: Vec<u64> = calibrate(&profile).entries.iter().map(|entry| entry.ns).collect();
        assert_eq!(parts, [T * 5 / 2, T * 5 / 2]);
    }

    #[test]
    fn few_captures_keep_their_weight_and_the_rest_is_unsampled() {
        let profile = profile(1, vec![sample(0, NET, 0, T, 1)], vec![net(0, 3 * T)]);
        let calibrated = calibrate(&profile);
        assert_eq!(sum(&calibrated, |entry| entry.stack == Some(0)), T);
        assert_eq!(sum(&calibrated, |entry| entry.stack.is_none()), 2 * T);
        assert_eq!(calibrated.entries[1].marker().unwrap().to_string(), "[unsampled net]");
    }

    #[test]
    fn estimates_above_the_exact_total_are_scaled_down_even_for_a_single_capture() {
        let profile = profile(1, vec![sample(0, NET, 0, T, 1)], vec![net(0, T / 4)]);
        let calibrated = calibrate(&profile);
        assert_eq!(calibrated.entries.len(), 1);
        assert_eq!(calibrated.entries[0].ns, T / 4);
    }

    #[test]
    fn threads_seen_too_seldom_are_scaled_together_and_keep_their_own_stacks_first() {
        let samples = (0..6).map(|task| sample(task, NET, task % 2, T, 1)).collect();
        let profile = profile(8, samples, (0..8).map(|task| net(task, T)).collect());
        let calibrated = calibrate(&profile);
        assert_eq!(sum(&calibrated, |entry| entry.stack.is_none()), 0);
        assert_eq!(sum(&calibrated, |entry| entry.stack == Some(0)), 4 * T);
        assert!((0..6).all(|task| sum(&calibrated, |e| e.task == task && e.stack == Some(task % 2)) == T));
        assert_eq!(calibrated.entries.iter().map(|entry| entry.count).sum::<u64>(), 6);
    }

    #[test]
    fn a_long_wait_without_a_stack_is_not_charged_to_the_short_ones_that_have_one() {
        let totals = vec![net(0, 50 * T + 3_000 * T)];
        let mut samples = vec![sample(0, NET, 0, 50 * T, 50)];
        samples[0].variance_ns2 = (T as f64).powi(2);
        let profile = profile(1, samples, totals);
        let calibrated = calibrate(&profile);
        assert_eq!(sum(&calibrated, |entry| entry.stack == Some(0)), 50 * T);
        assert_eq!(sum(&calibrated, |entry| entry.stack.is_none()), 3_000 * T);
    }

    #[test]
    fn what_may_be_missing_by_chance_follows_the_period_of_the_threads_own_waits() {
        let certain = Sample { variance_ns2: 0.0, ..sample(0, NET, 0, 50 * T, 50) };
        let profile_with = |wait_period_ns| {
            let totals = vec![
                TaskTotals { wait_period_ns, ..net(0, 60 * T) },
                TaskTotals { wait_period_ns: 100 * T, ..net(8, 1) },
            ];
            profile(9, vec![certain.clone()], totals)
        };
        let missing = |profile: &Profile| sum(&calibrate(profile), |entry| entry.task == 0 && entry.stack.is_none());
        assert_eq!((missing(&profile_with(T)), missing(&profile_with(5 * T))), (10 * T, 0));
    }

    #[test]
    fn stacks_never_move_to_another_process() {
        let samples = (0..6).map(|task| sample(task, NET, 0, T, 1)).collect();
        let profile = profile(9, samples, (0..9).map(|task| net(task, T)).collect());
        let calibrated = calibrate(&profile);
        assert_eq!(sum(&calibrated, |entry| entry.task == 8 && entry.stack.is_none()), T);
    }

    #[test]
    fn steal_is_all_residual_and_a_task_without_books_keeps_its_samples() {
        let totals = TaskTotals { steal_ns: 7, ..empty_totals(0) };
        let profile = profile(2, vec![sample(1, NET, 0, T, 1)], vec![totals]);
        let calibrated = calibrate(&profile);
        let steal = calibrated.entries.iter().find(|entry| entry.state == State::Steal).unwrap();
        assert_eq!((steal.ns, steal.marker().unwrap().to_string()), (7, "[steal]".to_owned()));
        assert_eq!(sum(&calibrated, |entry| entry.task == 1), T);
        assert_eq!(calibrated.totals[1].wait(WaitClass::Net), T);
    }

    #[test]
    fn a_wait_counts_as_what_its_frames_say_it_is() {
        let wait = WaitDetail { class: WaitClass::Sync, name: "idle worker", idle: true };
        const LOCK: State = State::Wait(WaitClass::Lock);
        let mut locked = TaskTotals { task: 0, ..TaskTotals::default() };
        locked.wait_ns[WaitClass::Lock as usize] = 100;
        let mut profile = profile(1, vec![sample(0, LOCK, 0, 60, 9)], vec![locked]);
        profile.stacks[0] = profile.stacks[0].clone().with_wait(Some(wait));
        let calibrated = calibrate(&profile);
        let totals = &calibrated.totals[0];
        let told = sum(&calibrated, |entry| entry.state == State::Wait(WaitClass::Sync) && entry.idle);
        assert_eq!(told + sum(&calibrated, |entry| entry.state == LOCK), 100);
        assert_eq!((totals.wait_ns[WaitClass::Sync as usize], totals.idle_ns), (told, told));
        assert_eq!(totals.wait_ns[WaitClass::Lock as usize], 100 - told);
        assert!(told >= 60);
    }

    #[test]
    fn idle_time_beyond_the_idle_samples_is_taken_from_the_unsampled_waits() {
        let totals = TaskTotals { idle_ns: 70, ..net(0, 100) };
        let idle = Sample { idle: true, ..sample(0, NET, 0, 20, 1) };
        let profile = profile(1, vec![idle], vec![totals]);
        let calibrated = calibrate(&profile);
        assert_eq!(sum(&calibrated, |entry| entry.idle), 70);
        assert_eq!(sum(&calibrated, |entry| !entry.idle && entry.stack.is_none()), 30);
    }

    /// A small reproducible generator: the property must hold for any profile.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn profile(&mut self) -> Profile {
            let tasks = 1 + self.below(20) as u32;
            let totals = (0..tasks).map(|task| self.totals(task)).collect();
            let samples = (0..self.below(60)).map(|_| self.sample(tasks)).collect();
            profile(tasks, samples, totals)
        }

        fn state(&mut self) -> State {
            let kinds = CodeKind::ALL.map(State::OnCpu).into_iter();
            let states: Vec<State> = strata().filter(|state| *state != State::Steal).chain(kinds).collect();
            states[self.below(states.len() as u64) as usize]
        }

        fn sample(&mut self, tasks: u32) -> Sample {
            let (task, state) = (self.below(u64::from(tasks)) as u32, self.state());
            let idle = matches!(state, State::Wait(_)) && self.below(4) == 0;
            Sample { idle, ..sample(task, state, self.below(4) as u32, self.below(5 * T), 1 + self.below(4)) }
        }

        fn totals(&mut self, task: u32) -> TaskTotals {
            let mut totals = empty_totals(task);
            for _ in 0..self.below(6) {
                let ns = self.below(20 * T);
                match self.state() {
                    State::OnCpu(_) => totals.cpu_ns = ns,
                    State::RunQueue => totals.runq_ns = ns,
                    State::Throttled => totals.throttled_ns = ns,
                    State::Steal => totals.steal_ns = ns,
                    State::Wait(class) => totals.wait_ns[class as usize] = ns,
                }
            }
            totals.idle_ns = self.below(totals.blocked_ns() + 1);
            totals
        }
    }

    #[test]
    fn entries_sum_up_to_the_exact_total_of_every_task_and_state_whatever_was_sampled() {
        let mut random = Random(42);
        for round in 0..3_000 {
            let profile = random.profile();
            let calibrated = calibrate(&profile);
            for totals in &profile.totals {
                for state in strata() {
                    let found = sum(&calibrated, |e| e.task == totals.task && stratum_of(e.state) == state);
                    assert_eq!(found, totals.state_ns(state), "round {round}, {state:?}");
                }
            }
            assert!(calibrated.entries.iter().all(|entry| entry.ns > 0 && entry.variance_ns2 >= 0.0));
        }
    }
}
