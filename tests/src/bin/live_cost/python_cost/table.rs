//! What was measured, as tables in Markdown.

use std::fmt::Write;

use super::load::Shape;
use super::slowdown::{Pair, Slowdown};
use super::stacks::Cost;
use crate::table::quantile;

/// What a stack of each shape costs, and what one more of each thing adds.
pub(super) fn of_stacks(costs: &[Cost]) -> String {
    let mut text =
        "| the stack | Python frames | others | us | least to most | each, us |\n|---|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (at, cost) in costs.iter().enumerate() {
        let us = |part| quantile(cost.ns.clone(), part) / 1e3;
        let each = at.checked_sub(1).and_then(|before| each_ns(&costs[before], cost));
        let each = each.map_or(String::new(), |ns| format!("{:.3}", ns / 1e3));
        let [python, others] = cost.frames;
        let (middle, least, most) = (us(0.5), us(0.0), us(1.0));
        let name = cost.shape.name();
        let _ = writeln!(text, "| {name} | {python} | {others} | {middle:.2} | {least:.2} to {most:.2} | {each} |");
    }
    text
}

/// What one more costs, by two stacks of which only the count differs: the median of the differences within rounds.
fn each_ns(less: &Cost, more: &Cost) -> Option<f64> {
    let added = more.shape.count().checked_sub(less.shape.count()).filter(|_| less.shape.is_like(more.shape))?;
    let differences = less.ns.iter().zip(&more.ns).map(|(less, more)| more - less).collect();
    Some(quantile(differences, 0.5) / f64::from(added))
}

/// The time and the CPU time of the same work under profilerd and, as a control, without it twice.
pub(super) fn of_slowdown(slowdown: &Slowdown) -> String {
    let mut text =
        "| compared | pairs | CPU time | 95 % interval | time | 95 % interval |\n|---|---:|---:|---:|---:|---:|\n"
            .to_owned();
    let rows = [("profilerd and nothing", &slowdown.pairs), ("nothing twice", &slowdown.control)];
    for (name, pairs) in rows {
        let (cpu, wall) = (of(pairs, |pair| pair.with.cpu_ns / pair.without.cpu_ns), of(pairs, wall_ratio));
        let _ = writeln!(text, "| {name} | {} | {cpu} | {wall} |", pairs.len());
    }
    text
}

fn wall_ratio(pair: &Pair) -> f64 {
    pair.with.wall_ns / pair.without.wall_ns
}

/// The median of ratios and where the true median lies, as percentages beyond 1.
fn of(pairs: &[Pair], ratio: fn(&Pair) -> f64) -> String {
    let ratios: Vec<_> = pairs.iter().map(ratio).collect();
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let (low, high) = median_interval(ratios.clone());
    format!("{:+.2} % | {:+.2} to {:+.2} %", percent(quantile(ratios, 0.5)), percent(low), percent(high))
}

/// The values between which the median of what these are drawn from lies in 95 of 100 cases, whatever their distribution: by
/// how often fewer than `k` of them would be below it.
fn median_interval(mut values: Vec<f64>) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let (mut below, mut probability, mut k) = (0.0, 0.5_f64.powi(count as i32), 0);
    while k < count / 2 && below + probability <= TAIL {
        below += probability;
        probability *= (count - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let low = k.saturating_sub(1);
    (at(low), at(count.saturating_sub(low + 1)))
}

impl Shape {
    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_costs_the_difference_by_the_count() {
        let cost = |shape, ns: &[f64]| Cost { shape, ns: ns.to_vec(), frames: [0; 2] };
        let less = cost(Shape::Frames(10), &[1000.0, 2000.0, 900.0]);
        let more = cost(Shape::Frames(60), &[3000.0, 4500.0, 8900.0]);
        assert_eq!(each_ns(&less, &more), Some(50.0));
        assert_eq!(each_ns(&cost(Shape::Tasks(0), &[1.0]), &more), None);
    }

    #[test]
    fn the_interval_of_a_median_has_the_ranks_of_the_sign_test() {
        let values = |count: u32| (1..=count).rev().map(f64::from).collect();
        // 6 and 15 of 20, 10 and 21 of 30, as tables of the sign test have them.
        assert_eq!(median_interval(values(20)), (6.0, 15.0));
        assert_eq!(median_interval(values(30)), (10.0, 21.0));
        assert_eq!(median_interval(values(5)), (1.0, 5.0), "five values are too few: all that is known is their range");
    }
}
