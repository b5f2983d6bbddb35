//! The table of waits: what threads waited in, for whom or what, who ended that, and where most of it.

use super::{HotspotRow, Hotspots};
use crate::report::escape::escape_untrusted;
use crate::report::table::{Table, duration, percent};

pub(super) fn table(report: &Hotspots) -> String {
    let mut table = Table::default().right("Total").right("±").right("Time").right("Captures");
    table = table.right("p50").right("p99").right("Longest");
    table = table.left("Wait").left("For").left("Woken by").left("Mostly at").left("Code");
    for row in &report.rows {
        let [total, error] = [row.total_ns, row.stderr_ns].map(|ns| percent(ns, report.selection.total_ns));
        let place = match (&row.waits_in, &row.file, row.line) {
            (Some(function), Some(file), Some(line)) => format!("{function} ({file}:{line})"),
            (Some(function), ..) => function.clone(),
            _ => String::new(),
        };
        let lengths = row.wait_lengths.unwrap_or_default();
        let idle = if row.idle_ns > 0 { format!("{}, idle", row.function) } else { row.function.clone() };
        table.row(vec![
            total,
            error,
            duration(row.total_ns),
            row.samples.to_string(),
            duration(lengths.p50_ns),
            duration(lengths.p99_ns),
            duration(lengths.longest_ns),
            escape_untrusted(&idle).into_owned(),
            escape_untrusted(row.waits_for.as_deref().unwrap_or_default()).into_owned(),
            escape_untrusted(&woken_by(row)).into_owned(),
            escape_untrusted(&place).into_owned(),
            row.code_text(),
        ]);
    }
    table.render()
}

/// Who ended most of the waits, and how many percent of their time if it was not all.
fn woken_by(row: &HotspotRow) -> String {
    match row.woken_by.first() {
        Some(most) if most.ns == row.total_ns => most.label.clone(),
        Some(most) => format!("{} {}", most.label, percent(most.ns, row.total_ns)),
        None => String::new(),
    }
}
