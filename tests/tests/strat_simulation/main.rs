//! STRAT by simulation: the estimator that the kernel half runs, fed with millions of waits whose truth is known.
//!
//! The load is 65 threads for ten seconds, about 115,000 waits per second on eleven stacks: chatty threads with waits of 20 µs,
//! request threads with 3 ms and 200 µs, idle threads with about a second, and one thread that hides waits of a second among
//! ten thousand of 20 µs. Seeds are fixed, so the figures are the same on every machine.

mod budget;
mod random;

use profiler_common::strat::Strat;
use profiler_tests::tell;
use random::Random;

const STACKS: usize = 11;
const SECOND: f64 = 1e9;
const WINDOW: f64 = 10.0 * SECOND;
const MS: u64 = 1_000_000;

/// What a thread does next: waits on a stack, then computes. Seconds in nanoseconds.
struct Step {
    stack: usize,
    wait: f64,
    compute: f64,
}

fn chatty(random: &mut Random) -> Step {
    let wait = random.log_normal(20e3, 0.6);
    let dice = random.unit();
    Step { stack: usize::from(dice >= 0.6) + usize::from(dice >= 0.9), wait, compute: 140e3 }
}

fn request(random: &mut Random) -> Step {
    let (stack, wait) = match random.chance(0.5) {
        true => (if random.chance(0.2) { 4 } else { 3 }, random.log_normal(3e6, 0.8)),
        false => (if random.chance(0.1) { 6 } else { 5 }, random.log_normal(200e3, 1.0)),
    };
    Step { stack, wait, compute: random.exponential(300e3) }
}

fn idle(random: &mut Random) -> Step {
    match random.chance(0.5) {
        true => Step { stack: 8, wait: random.log_normal(20e3, 0.5), compute: 50e3 },
        false => Step { stack: 7, wait: random.exponential(SECOND), compute: 50e3 },
    }
}

fn rare_long(random: &mut Random) -> Step {
    match random.chance(1e-4) {
        true => Step { stack: 10, wait: (0.5 + random.unit()) * SECOND, compute: 100e3 },
        false => Step { stack: 9, wait: random.log_normal(20e3, 0.6), compute: 100e3 },
    }
}

/// Truth and estimate per stack, in nanoseconds.
#[derive(Clone, Default)]
struct Books {
    truth: [f64; STACKS],
    estimate: [f64; STACKS],
    variance: [f64; STACKS],
    captures: u64,
    waits: u64,
}

impl Books {
    fn add(&mut self, stack: usize, wait_ns: u64, period_ns: u64, weight_ns: u64) {
        self.truth[stack] += wait_ns as f64;
        self.waits += 1;
        if weight_ns == 0 {
            return;
        }
        self.estimate[stack] += weight_ns as f64;
        self.captures += 1;
        if wait_ns < period_ns {
            self.variance[stack] += period_ns as f64 * (period_ns - wait_ns) as f64;
        }
    }

    fn l1(&self) -> f64 {
        let off: f64 = self.truth.iter().zip(&self.estimate).map(|(truth, estimate)| (truth - estimate).abs()).sum();
        off / self.truth.iter().sum::<f64>()
    }
}

fn run_thread(books: &mut Books, random: &mut Random, period_ns: u64, mut next: impl FnMut(&mut Random) -> Step) {
    let mut strat = Strat::default();
    let mut now = 0.0;
    while now < WINDOW {
        let step = next(random);
        now += step.wait + step.compute;
        let wait_ns = step.wait as u64;
        let weight_ns = strat.sample(wait_ns, period_ns, |bound| random.below(bound)).weight_ns;
        books.add(step.stack, wait_ns, period_ns, weight_ns);
    }
}

fn run_load(seed: u64, period_ns: u64) -> Books {
    let mut books = Books::default();
    let mut random = Random::new(seed);
    (0..16).for_each(|_| run_thread(&mut books, &mut random, period_ns, chatty));
    (0..32).for_each(|_| run_thread(&mut books, &mut random, period_ns, request));
    (0..16).for_each(|_| run_thread(&mut books, &mut random, period_ns, idle));
    run_thread(&mut books, &mut random, period_ns, rare_long);
    books
}

fn run_resonance(seed: u64, period_ns: u64) -> Books {
    let mut books = Books::default();
    let mut odd = false;
    run_thread(&mut books, &mut Random::new(seed), period_ns, |_| {
        odd = !odd;
        let (stack, part) = if odd { (0, 0.6) } else { (1, 0.4) };
        Step { stack, wait: part * period_ns as f64, compute: 100e3 }
    });
    books
}

struct Summary {
    mean_l1: f64,
    worst_l1: f64,
    captures_per_s: f64,
    waits_per_s: f64,
}

fn summarize(name: &str, runs: &[Books]) -> Summary {
    let count = runs.len() as f64;
    let per_s = |value: fn(&Books) -> u64| runs.iter().map(|run| value(run) as f64).sum::<f64>() / count / 10.0;
    let summary = Summary {
        mean_l1: runs.iter().map(Books::l1).sum::<f64>() / count,
        worst_l1: runs.iter().map(Books::l1).fold(0.0, f64::max),
        captures_per_s: per_s(|run| run.captures),
        waits_per_s: per_s(|run| run.waits),
    };
    tell(&format!(
        "STRAT {name}: {:.0} of {:.0} waits/s captured, mean L1 {:.3} %, worst L1 {:.3} %",
        summary.captures_per_s,
        summary.waits_per_s,
        summary.mean_l1 * 100.0,
        summary.worst_l1 * 100.0
    ));
    summary
}

/// The mean error of a stack over the runs in its own standard errors.
fn z_score(runs: &[Books], stack: usize) -> f64 {
    z_of(&runs.iter().map(|run| run.estimate[stack] - run.truth[stack]).collect::<Vec<f64>>())
}

/// The mean of errors in its own standard errors.
fn z_of(errors: &[f64]) -> f64 {
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (count - 1.0);
    if variance == 0.0 { mean } else { mean / (variance / count).sqrt() }
}

#[test]
fn mixed_load_is_estimated_without_bias_within_0_4_per_cent_at_ten_milliseconds() {
    let runs: Vec<Books> = (1..=16).map(|seed| run_load(seed, 10 * MS)).collect();
    let summary = summarize("T = 10 ms", &runs);
    assert!(summary.mean_l1 < 0.0040, "mean L1 {}", summary.mean_l1);
    assert!(summary.worst_l1 < 0.0080, "worst L1 {}", summary.worst_l1);
    assert!(summary.waits_per_s > 90_000.0, "the load is too light: {} waits/s", summary.waits_per_s);
    assert!(summary.captures_per_s < 3_500.0, "{} captures/s", summary.captures_per_s);
    for stack in 0..STACKS {
        let z = z_score(&runs, stack);
        assert!(z.abs() < 4.0, "stack {stack} is biased: z = {z:.1}");
    }
}

#[test]
fn rare_long_waits_are_exact() {
    for run in (1..=4).map(|seed| run_load(seed, 10 * MS)) {
        assert_eq!(run.estimate[10], run.truth[10]);
    }
}

#[test]
fn a_shorter_period_buys_precision_with_captures() {
    let coarse: Vec<Books> = (1..=4).map(|seed| run_load(seed, 100 * MS)).collect();
    let fine: Vec<Books> = (1..=4).map(|seed| run_load(seed, MS)).collect();
    let (coarse, fine) = (summarize("T = 100 ms", &coarse), summarize("T = 1 ms", &fine));
    assert!(fine.mean_l1 < 0.0008 && coarse.mean_l1 < 0.025);
    assert!(fine.captures_per_s < 13_000.0 && coarse.captures_per_s < 500.0);
}

#[test]
fn waits_that_alternate_within_the_period_do_not_resonate() {
    let runs: Vec<Books> = (1..=300).map(|seed| run_resonance(seed, 10 * MS)).collect();
    let summary = summarize("0.6 T / 0.4 T", &runs);
    assert!(summary.mean_l1 < 0.04, "mean L1 {}", summary.mean_l1);
    assert!(z_score(&runs, 0).abs() < 4.0 && z_score(&runs, 1).abs() < 4.0);
}

#[test]
fn the_stated_standard_error_is_not_smaller_than_the_real_one() {
    let runs: Vec<Books> = (20..36).map(|seed| run_load(seed, 10 * MS)).collect();
    for stack in 0..STACKS {
        let squares: f64 = runs.iter().map(|run| (run.estimate[stack] - run.truth[stack]).powi(2)).sum();
        let stated: f64 = runs.iter().map(|run| run.variance[stack]).sum();
        assert!(squares <= stated * 2.0, "stack {stack}: real {:.3e}, stated {:.3e}", squares.sqrt(), stated.sqrt());
    }
}

#[test]
fn over_all_positions_of_the_points_every_wait_weighs_its_own_length() {
    const T: u64 = 12;
    let waits = [5, 4, 7, 1, 3, 11, 2, 3]; // 36: three whole bins, one wait across each edge
    let mut weights = [0; 8];
    for points in 0..T.pow(4) {
        let mut strat = Strat::default();
        let mut rest = points;
        for (weight, wait) in weights.iter_mut().zip(waits) {
            let choice = strat.sample(wait, T, |bound| {
                let point = rest % bound;
                rest /= bound;
                point
            });
            *weight += choice.weight_ns;
        }
    }
    assert_eq!(weights.map(|weight| weight / T.pow(4)), waits);
    assert!(weights.iter().all(|weight| weight % T.pow(4) == 0));
}

#[test]
fn a_period_that_changes_between_waits_leaves_every_wait_its_own_length() {
    // The point of each bin takes all its places in turn, whatever the bins are long.
    const WAITS: [(u64, u64); 9] = [(5, 12), (4, 12), (7, 20), (9, 20), (3, 6), (5, 6), (7, 6), (1, 12), (10, 12)];
    let (mut weights, mut count) = ([0.0; 9], 0.0);
    let mut digits = vec![0_u64];
    while !digits.is_empty() {
        let (mut strat, mut drawn) = (Strat::default(), Vec::new());
        let mut chance = 1.0;
        let chosen = WAITS.map(|(wait, period)| {
            strat.sample(wait, period, |bound| {
                let point = digits.get(drawn.len()).copied().unwrap_or_default();
                drawn.push((point, bound));
                chance /= bound as f64;
                point
            })
        });
        chosen.iter().zip(&mut weights).for_each(|(choice, weight)| *weight += choice.weight_ns as f64 * chance);
        count += chance;
        while drawn.last().is_some_and(|(point, bound)| point + 1 == *bound) {
            drawn.pop();
        }
        digits = drawn.iter().map(|(point, _)| *point).collect();
        if let Some(last) = digits.last_mut() {
            *last += 1;
        }
    }
    assert!((count - 1.0_f64).abs() < 1e-9);
    for ((wait, _), weight) in WAITS.iter().zip(weights) {
        assert!((weight - *wait as f64).abs() < 1e-9, "{wait} weighs {weight}");
    }
}
