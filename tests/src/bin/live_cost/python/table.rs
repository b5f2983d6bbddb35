//! What was measured, as a table in Markdown.

use std::fmt::Write;

use super::lines::Lines;
use super::rounds::{Cost, Own};
use crate::table::quantile;

const MIB: f64 = 1_048_576.0;

/// One row per profiler; a dash for what it does not tell, or does not have.
pub(super) fn of(costs: &[Cost]) -> String {
    let mut text =
        "| profiler | line error, CPU time | line error, time | the program's time | least to most | its CPU time | \
                    least to most | own CPU to start, s | then, of one CPU | RSS, MiB |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for cost in costs {
        let [cpu, wall] = [(&cost.found.cpu, &cost.truth[0]), (&cost.found.wall, &cost.truth[1])];
        let (cpu, wall) = (error(cpu), error(wall));
        let (slower, slower_cpu) = (slowed(cost, 0), slowed(cost, 1));
        let _ = writeln!(text, "| {} | {cpu} | {wall} | {slower} | {slower_cpu} | {} |", cost.kind.name(), own(cost));
    }
    text
}

fn error((found, truth): (&Option<Lines>, &Lines)) -> String {
    found.as_ref().map_or("-".to_owned(), |found| format!("{:.1} %", found.error(truth) * 100.0))
}

/// The median, the least and the most of the ratios to batches without a profiler, in two columns.
fn slowed(cost: &Cost, which: usize) -> String {
    let at = |part| quantile(cost.slowed.iter().map(|ratios| ratios[which]).collect(), part);
    format!("{:.3} | {:.3} to {:.3}", at(0.5), at(0.0), at(1.0))
}

/// Medians of what the profiler takes for itself; of one within the program, the memory that adds.
fn own(cost: &Cost) -> String {
    let median = |value: fn(&Own) -> f64| quantile(cost.own.iter().map(value).collect(), 0.5);
    if cost.own.is_empty() {
        return format!("- | - | {:.0}, within", quantile(cost.added_bytes.clone(), 0.5) / MIB);
    }
    let (start, per_second) = (median(|own| own.start.as_secs_f64()), median(|own| own.per_second));
    format!("{start:.2} | {:.1} % | {:.0}", per_second * 100.0, median(|own| own.resident_bytes) / MIB)
}
