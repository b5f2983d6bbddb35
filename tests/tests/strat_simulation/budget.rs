//! The budget by simulation: CPUs that set their own T, threads that move between them, and loads that change at once.
//!
//! Events of all threads are taken in the order of time. Per CPU: 25 chatty threads, and after three seconds 250 more that wait
//! for 10 ms each, together some 60,000 waits per second; one wake-up in ten is on another CPU.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use profiler_common::limits::{WAIT_PERIOD_LEAST_NS, WAIT_PERIOD_MOST_NS, WAIT_PERIOD_START_NS};
use profiler_common::strat::Strat;
use profiler_common::wait_budget::{CpuBudget, WaitBudget};
use profiler_tests::tell;

use super::random::Random;
use super::{MS, z_of};

const CPUS: usize = 2;
const SECONDS: usize = 7;
const JUMP: usize = 3;
const SECOND: u64 = 1000 * MS;
const STACKS: usize = 6;

fn budget(captures_hz: u64) -> WaitBudget {
    WaitBudget {
        captures_hz,
        start_ns: WAIT_PERIOD_START_NS,
        least_ns: WAIT_PERIOD_LEAST_NS,
        most_ns: WAIT_PERIOD_MOST_NS,
    }
}

/// A wait, and the time on the CPU before it.
#[derive(Clone, Copy)]
struct Step {
    stack: usize,
    wait_ns: u64,
    compute_ns: u64,
}

type Load = fn(&mut Random) -> Step;

fn chatty(random: &mut Random) -> Step {
    let (stack, median) = match random.below(10) {
        0 => (2, 2e6),
        1..4 => (1, 100e3),
        _ => (0, 20e3),
    };
    Step { stack, wait_ns: random.log_normal(median, 0.6) as u64, compute_ns: 140_000 }
}

fn crowd(random: &mut Random) -> Step {
    Step { stack: 3, wait_ns: random.log_normal(10e6, 0.1) as u64, compute_ns: 50_000 }
}

/// A second of waiting once in ten thousand short waits.
fn rare_long(random: &mut Random) -> Step {
    match random.chance(1e-3) {
        true => Step { stack: 5, wait_ns: random.exponential(1e9) as u64, compute_ns: 50_000 },
        false => Step { stack: 4, wait_ns: random.log_normal(20e3, 0.6) as u64, compute_ns: 100_000 },
    }
}

struct Thread {
    load: Load,
    strat: Strat,
    cpu: usize,
    step: Step,
}

/// What was counted, per second where that matters.
#[derive(Default)]
struct Books {
    truth: [f64; STACKS],
    estimate: [f64; STACKS],
    /// Of `estimate`, what was refused.
    refused: [f64; STACKS],
    captures: [u64; SECONDS],
    waits: [u64; SECONDS],
    period_ns: [u64; SECONDS],
}

impl Books {
    /// Of what was chosen, refused or not.
    fn l1(&self) -> f64 {
        let off = |stack: usize| (self.estimate[stack] - self.truth[stack]).abs();
        (0..STACKS).map(off).sum::<f64>() / self.truth.iter().sum::<f64>()
    }

    fn refused(&self) -> f64 {
        self.refused.iter().sum::<f64>() / self.truth.iter().sum::<f64>()
    }
}

/// Some threads of a load, from a second on.
type Group = (usize, Load, usize);

fn run(seed: u64, budget: WaitBudget, groups: &[Group]) -> Books {
    let (mut random, mut books) = (Random::new(seed), Books::default());
    let mut cpus = [CpuBudget::default(); CPUS];
    let mut threads = Vec::new();
    let mut wakes = BinaryHeap::new();
    for (count, load, from) in groups {
        for _ in 0..*count {
            let step = load(&mut random);
            wakes.push(Reverse((*from as u64 * SECOND + random.below(MS) + step.wait_ns, threads.len())));
            threads.push(Thread { load: *load, strat: Strat::default(), cpu: threads.len() % CPUS, step });
        }
    }
    while let Some(Reverse((now, at))) = wakes.pop().filter(|Reverse((now, _))| *now < SECONDS as u64 * SECOND) {
        let thread = &mut threads[at];
        if random.chance(0.1) {
            thread.cpu = random.below(CPUS as u64) as usize;
        }
        end_wait(&mut books, &mut cpus[thread.cpu], thread, now, &budget, &mut random);
        thread.step = (thread.load)(&mut random);
        wakes.push(Reverse((now + thread.step.compute_ns + thread.step.wait_ns, at)));
    }
    books
}

/// What the kernel half does when a thread resumes.
fn end_wait(
    books: &mut Books,
    cpu: &mut CpuBudget,
    thread: &mut Thread,
    now: u64,
    budget: &WaitBudget,
    random: &mut Random,
) {
    let (second, Step { stack, wait_ns, .. }) = ((now / SECOND) as usize, thread.step);
    let period_ns = cpu.period(now, budget);
    let choice = thread.strat.sample(wait_ns, period_ns, |bound| random.below(bound));
    cpu.add_wait(wait_ns);
    books.truth[stack] += wait_ns as f64;
    books.waits[second] += 1;
    books.period_ns[second] = period_ns;
    books.estimate[stack] += choice.weight_ns as f64;
    if choice.weight_ns > 0 {
        match cpu.take(wait_ns >= choice.period_ns, budget) {
            true => books.captures[second] += 1,
            false => books.refused[stack] += choice.weight_ns as f64,
        }
    }
}

fn tell_runs(name: &str, runs: &[Books]) {
    let count = runs.len() as f64;
    let per_cpu = |values: fn(&Books) -> &[u64; SECONDS]| -> Vec<String> {
        let mean = |second: usize| runs.iter().map(|run| values(run)[second] as f64).sum::<f64>() / count;
        (0..SECONDS).map(|second| format!("{:.0}", mean(second) / CPUS as f64)).collect()
    };
    let mean = |value: fn(&Books) -> f64| runs.iter().map(value).sum::<f64>() / count * 100.0;
    let worst = runs.iter().map(Books::l1).fold(0.0, f64::max) * 100.0;
    tell(&format!(
        "{name}: captures per second and CPU {}; waits {}; T at the end {:.1} ms; mean L1 {:.2} %, worst {worst:.2} %, refused {:.2} %",
        per_cpu(|run| &run.captures).join(" "),
        per_cpu(|run| &run.waits).join(" "),
        runs[0].period_ns[SECONDS - 1] as f64 / MS as f64,
        mean(Books::l1),
        mean(Books::refused),
    ));
}

fn check_bias(runs: &[Books]) {
    for stack in (0..STACKS).filter(|stack| runs[0].truth[*stack] > 0.0) {
        let errors: Vec<f64> = runs.iter().map(|run| run.estimate[stack] - run.truth[stack]).collect();
        let relative = errors.iter().sum::<f64>() / runs.iter().map(|run| run.truth[stack]).sum::<f64>();
        tell(&format!("stack {stack}: bias {:.3} %, z = {:.1}", relative * 100.0, z_of(&errors)));
        assert!(z_of(&errors).abs() < 4.0, "stack {stack} is biased: z = {:.1}", z_of(&errors));
    }
}

#[test]
fn a_jump_of_threads_is_back_within_the_budget_after_a_second_and_no_stack_is_biased() {
    let jump: [Group; 2] = [(25 * CPUS, chatty, 0), (250 * CPUS, crowd, JUMP)];
    for (captures_hz, runs, most_l1) in [(200, 8, 0.02), (50, 5, 0.06)] {
        let runs: Vec<Books> = (1..=runs).map(|seed| run(seed, budget(captures_hz), &jump)).collect();
        tell_runs(&format!("jump, budget {captures_hz}"), &runs);
        for run in &runs {
            let budget = captures_hz * CPUS as u64;
            assert!(run.captures.iter().all(|captures| *captures <= 4 * budget), "{:?}", run.captures);
            for second in [JUMP - 1, JUMP + 1, SECONDS - 1] {
                assert!(run.captures[second].abs_diff(budget) * 10 <= 3 * budget, "{:?}", run.captures);
            }
            assert!(run.refused() < 0.15, "refused {}", run.refused());
        }
        let mean_l1 = runs.iter().map(Books::l1).sum::<f64>() / runs.len() as f64;
        assert!(mean_l1 < most_l1, "mean L1 {mean_l1}");
        check_bias(&runs);
    }
}

#[test]
fn long_rare_waits_stay_exact_and_the_budget_is_kept() {
    let load: [Group; 2] = [(25 * CPUS, chatty, 0), (4, rare_long, 0)];
    let runs: Vec<Books> = (1..=6).map(|seed| run(seed, budget(200), &load)).collect();
    tell_runs("rare long waits", &runs);
    check_bias(&runs);
    for run in &runs {
        let off = (run.estimate[5] - run.truth[5]).abs() / run.truth[5];
        assert!(run.truth[5] > 1e9 && off < 0.02, "{off} of {}", run.truth[5]);
    }
}

#[test]
fn waits_that_alternate_do_not_resonate_with_a_period_that_follows_them() {
    /// As one CPU after the other sees them, T settles at five times their mean.
    fn alternate(random: &mut Random) -> Step {
        let (stack, wait_ns) = if random.chance(0.5) { (0, 3 * MS) } else { (1, 2 * MS) };
        Step { stack, wait_ns, compute_ns: 100_000 }
    }
    let runs: Vec<Books> = (1..=40).map(|seed| run(seed, budget(50), &[(1, alternate, 0)])).collect();
    tell_runs("3 ms and 2 ms", &runs);
    check_bias(&runs);
    let mean = runs.iter().map(Books::l1).sum::<f64>() / runs.len() as f64;
    assert!(mean < 0.05, "mean L1 {mean}");
}

#[test]
fn threads_that_wake_together_leave_the_short_waits_their_captures() {
    fn together(_: &mut Random) -> Step {
        Step { stack: 3, wait_ns: SECOND - 1, compute_ns: 1 }
    }
    let load: [Group; 2] = [(25 * CPUS, chatty, 0), (2000, together, 0)];
    let run = run(1, budget(200), &load);
    tell_runs("2000 threads that wake together", std::slice::from_ref(&run));
    assert!(run.refused[3] > 0.9 * run.truth[3], "{:?}", run.refused);
    for stack in 0..3 {
        let (truth, refused) = (run.truth[stack], run.refused[stack]);
        let longest_ns = run.period_ns.iter().copied().max().unwrap_or_default();
        let error = 4.0 * (longest_ns as f64 * truth).sqrt();
        assert!(refused < 0.05 * truth, "stack {stack}: {refused} of {truth} refused");
        let off = (run.estimate[stack] - truth).abs();
        assert!(off < error, "stack {stack} is off by {off}, more than {error}");
    }
}
