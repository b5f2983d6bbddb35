//! STRAT by simulation: the estimator that the kernel half runs, fed with millions of waits whose truth is known.
//!
//! The load is 65 threads for ten seconds, about 115,000 waits per second on eleven stacks: chatty threads with waits of 20 µs,
//! request threads with 3 ms and 200 µs, idle threads with about a second, and one thread that hides waits of a second among
//! ten thousand of 20 µs. Seeds are fixed, so the figures are the same on every machine.

use std::f64::consts::TAU;

use profiler_common::strat::Strat;
use profiler_tests::tell;

const STACKS: usize = 11;
const SECOND: f64 = 1e9;
const WINDOW: f64 = 10.0 * SECOND;
const MS: u64 = 1_000_000;

/// xorshift128+, with the distributions that the load needs.
struct Random([u64; 2]);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self([seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, 0x2545_F491_4F6C_DD1D]);
        for _ in 0..20 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        let [mut a, b] = self.0;
        a ^= a << 23;
        self.0 = [b, a ^ b ^ (a >> 17) ^ (b >> 26)];
        self.0[1].wrapping_add(b)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, part: f64) -> bool {
        self.unit() < part
    }

    fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let normal = (-2.0 * (self.unit() + 1e-300).ln()).sqrt() * (TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (self.unit() + 1e-300).ln()
    }
}

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
        let weight_ns = strat.sample(wait_ns, period_ns, |bound| random.below(bound));
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
    let errors: Vec<f64> = runs.iter().map(|run| run.estimate[stack] - run.truth[stack]).collect();
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
            *weight += strat.sample(wait, T, |bound| {
                let point = rest % bound;
                rest /= bound;
                point
            });
        }
    }
    assert_eq!(weights.map(|weight| weight / T.pow(4)), waits);
    assert!(weights.iter().all(|weight| weight % T.pow(4) == 0));
}
