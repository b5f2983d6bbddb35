//! What was measured, as tables in Markdown.

use std::fmt::Write;

use super::load::{Batch, Load};
use super::rounds::{Comparison, Cost};
use crate::meter::Runs;

/// A program that ran less often says nothing about its time per run.
const FEWEST_RUNS: u64 = 20;

const MIB: f64 = (1 << 20) as f64;

type Measured = [(Load, Vec<Cost>)];

/// What each load loses to each profiler. The interval is that of the median.
pub(super) fn losses(measured: &Measured) -> String {
    let mut text = "| load | profiler | waits per second | throughput lost | 95 % | work per CPU second lost | 95 % | added ns per wait \
                    | 95 % |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (load, costs) in measured {
        let without = costs.iter().flat_map(|cost| &cost.comparisons).map(|each| each.after.switches_per_second);
        let _ = writeln!(text, "| {} | none | {:.0} | | | | | | |", load.name(), median(without.collect()).1);
        for cost in costs {
            let all = |value: fn(&Comparison) -> f64| median(cost.comparisons.iter().map(value).collect());
            let percent = |value| {
                let (least, middle, most) = all(value);
                format!("{:.2} % | {:.2} to {:.2}", middle * 100.0, least * 100.0, most * 100.0)
            };
            let throughput = percent(|each| lost(each, |batch| batch.per_second));
            let work = percent(|each| lost(each, |batch| batch.per_cpu_second));
            let switches = all(|each| each.with.switches_per_second).1;
            let added = match load {
                Load::Pipe => {
                    let (least, middle, most) = all(added_ns);
                    format!("{middle:.0} | {least:.0} to {most:.0} |")
                }
                // Waits are not what the work of the others consists of.
                Load::Redis | Load::Compute => "| |".to_owned(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {switches:.0} | {throughput} | {work} | {added}",
                load.name(),
                cost.kind.name()
            );
        }
    }
    text
}

/// Time per run of each BPF program, and how long all of them took for each wait of the load.
pub(super) fn programs(measured: &Measured) -> String {
    let mut text =
        "| load | profiler | BPF program | runs per wait | ns per run |\n|---|---|---|---:|---:|\n".to_owned();
    for (load, cost) in each(measured) {
        let Some(watched) = &cost.watched else { continue };
        let waits = watched.batch.switches_per_second * watched.batch.seconds;
        for Runs { name, count, ns, .. } in watched.programs.iter().filter(|runs| runs.count >= FEWEST_RUNS) {
            let (per_wait, per_run) = (*count as f64 / waits, *ns as f64 / *count as f64);
            let name = format!("{} | {} | `{name}`", load.name(), cost.kind.name());
            let _ = writeln!(text, "| {name} | {per_wait:.4} | {per_run:.0} |");
        }
    }
    text
}

/// What the profilers themselves take.
pub(super) fn own(measured: &Measured) -> String {
    let mut text = "| load | profiler | CPU, of one | RSS, MiB | maps, MiB |\n|---|---|---:|---:|---:|\n".to_owned();
    for (load, cost) in each(measured) {
        let Some(watched) = &cost.watched else { continue };
        let (resident, maps) = (watched.resident_bytes as f64 / MIB, watched.map_bytes as f64 / MIB);
        let (name, own) = (cost.kind.name(), watched.own_time * 100.0);
        let _ = writeln!(text, "| {} | {name} | {own:.2} % | {resident:.0} | {maps:.0} |", load.name());
    }
    text
}

fn each(measured: &Measured) -> impl Iterator<Item = (&Load, &Cost)> {
    measured.iter().flat_map(|(load, costs)| costs.iter().map(move |cost| (load, cost)))
}

/// The part of what was done without a profiler that was not done with one.
fn lost(each: &Comparison, of: fn(&Batch) -> f64) -> f64 {
    1.0 - 2.0 * of(&each.with) / (of(&each.before) + of(&each.after))
}

/// What a unit of work took longer, shared by the waits of a unit: CPU time, so that what others take away is left out.
fn added_ns(each: &Comparison) -> f64 {
    let ns = |batch: &Batch| 1e9 / batch.per_cpu_second;
    let waits = each.with.switches_per_second / each.with.per_second;
    (ns(&each.with) - (ns(&each.before) + ns(&each.after)) / 2.0) / waits
}

/// The median, between the bounds of its interval of 95 %.
fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    let outside = outside(values.len());
    (at(outside), at(values.len() / 2), at(values.len().saturating_sub(outside + 1)))
}

/// How many of so many values lie below the interval of their median: its lower bound is the value that lies above the true median in
/// less than one of forty cases, by the binomial distribution.
fn outside(values: usize) -> usize {
    let mut probability = 0.5_f64.powi(values as i32);
    let mut below = 0.0;
    for count in 0..values {
        below += probability;
        if below > 0.025 {
            return count.saturating_sub(1);
        }
        probability *= (values - count) as f64 / (count + 1) as f64;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(per_second: f64, per_cpu_second: f64, switches_per_second: f64) -> Batch {
        Batch { seconds: 1.0, per_second, per_cpu_second, switches_per_second }
    }

    #[test]
    fn a_loss_is_told_against_the_mean_of_both_sides() {
        let each =
            Comparison { before: batch(100.0, 1.0, 9.0), with: batch(99.0, 1.0, 9.0), after: batch(120.0, 1.0, 9.0) };
        assert!((lost(&each, |batch| batch.per_second) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn what_a_wait_takes_longer_is_what_its_share_of_the_work_does() {
        let (without, with) = (batch(1e6, 1e6, 5e5), batch(8e5, 8e5, 4e5));
        // 1000 ns became 1250 ns, with half a wait in each unit of work.
        assert!((added_ns(&Comparison { before: without, with, after: without }) - 500.0).abs() < 1e-6);
    }

    #[test]
    fn the_interval_of_a_median_is_told_by_order() {
        // Of 15 values the fourth and the twelfth, of 25 the eighth and the eighteenth: tables of the sign test.
        assert_eq!([5, 15, 25].map(outside), [0, 3, 7]);
        assert_eq!(median((1..=15).rev().map(f64::from).collect()), (4.0, 8.0, 12.0));
    }
}
