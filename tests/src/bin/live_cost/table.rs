//! What was measured, as tables in Markdown.

use std::fmt::Write;

use crate::meter::Runs;
use crate::rounds::{Cost, Pair};

/// CPU time per switch: medians of the rounds. What a condition adds is told within each round, with its quartiles.
pub(crate) fn switches(costs: &[Cost]) -> String {
    let mut text =
        "| condition | ns per switch | ratio | added ns | quartiles |\n|---|---:|---:|---:|---:|\n".to_owned();
    let without = costs.iter().flat_map(|cost| &cost.pairs).map(|pair| pair.without_ns).collect();
    let _ = writeln!(text, "| no profiler | {:.0} | | | |", quantile(without, 0.5));
    for Cost { condition, pairs, .. } in costs {
        let at = |part, value: fn(&Pair) -> f64| quantile(pairs.iter().map(value).collect(), part);
        let added = |part| at(part, |pair| pair.with_ns - pair.without_ns);
        let (with, ratio) = (at(0.5, |pair| pair.with_ns), at(0.5, |pair| pair.with_ns / pair.without_ns));
        let (least, median, most) = (added(0.25), added(0.5), added(0.75));
        let name = condition.name();
        let _ = writeln!(text, "| {name} | {with:.0} | {ratio:.2} | {median:.0} | {least:.0} to {most:.0} |");
    }
    text
}

/// A program that ran less often says nothing about its time per run.
const FEWEST_RUNS: u64 = 100;

/// Time per run of each BPF program.
pub(crate) fn programs(costs: &[Cost]) -> String {
    let mut text = "| condition | BPF program | runs | ns per run |\n|---|---|---:|---:|\n".to_owned();
    for Cost { condition, programs, .. } in costs {
        for Runs { name, count, ns, .. } in programs.iter().filter(|runs| runs.count >= FEWEST_RUNS) {
            let _ = writeln!(text, "| {} | `{name}` | {count} | {:.0} |", condition.name(), *ns as f64 / *count as f64);
        }
    }
    text
}

/// The profilers' own CPU time.
pub(crate) fn own_time(costs: &[Cost]) -> String {
    let mut text = "| condition | the profiler's own time, of one CPU |\n|---|---:|\n".to_owned();
    for Cost { condition, own_time, .. } in costs {
        let _ = writeln!(text, "| {} | {:.2} % |", condition.name(), own_time * 100.0);
    }
    text
}

/// The value below which `part` of all values lie; NaN if there are none.
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Condition;

    fn cost() -> Cost {
        let pair = |without_ns, with_ns| Pair { without_ns, with_ns };
        let runs = |name: &str, count, ns| Runs { id: 1, name: name.to_owned(), count, ns };
        Cost {
            condition: Condition::Selected,
            pairs: vec![pair(1000.0, 1500.0), pair(2000.0, 2400.0), pair(1000.0, 9000.0)],
            programs: vec![runs("sched_switch", 400, 100_000), runs("task_rename", 3, 9000)],
            own_time: 0.0123,
        }
    }

    #[test]
    fn what_a_condition_adds_is_the_median_of_differences_within_rounds() {
        let text = switches(&[cost()]);
        assert!(text.ends_with("| 2400 | 1.50 | 500 | 500 to 8000 |\n"), "{text}");
        assert!(text.contains("| no profiler | 1000 |"), "{text}");
    }

    #[test]
    fn a_programs_time_is_divided_by_its_runs_unless_they_are_few() {
        let text = programs(&[cost()]);
        assert!(text.ends_with("| `sched_switch` | 400 | 250 |\n"), "{text}");
    }

    #[test]
    fn own_time_is_a_percentage() {
        let text = own_time(&[cost()]);
        assert!(text.ends_with("| 1.23 % |\n"), "{text}");
    }
}
