//! Aligned text: columns, durations, percentages, and what was lost, in words.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr;

use crate::profile::{Loss, LossReason};

/// A table of text. Cells must be escaped already; widths count terminal columns, not bytes.
#[derive(Debug, Default)]
pub struct Table {
    titles: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a column of numbers, aligned to the right.
    pub fn right(mut self, title: &'static str) -> Self {
        self.titles.push(title);
        self.right.push(true);
        self
    }

    /// Adds a column of names, aligned to the left.
    pub fn left(mut self, title: &'static str) -> Self {
        self.titles.push(title);
        self.right.push(false);
        self
    }

    /// Adds a row with one cell per column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.titles.len());
        self.rows.push(cells);
    }

    /// Titles and rows, two spaces between columns, nothing behind the last one.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.titles.len()).map(|at| self.width(at)).collect();
        let titles: Vec<&str> = self.titles.clone();
        let mut text = self.line(&titles, &widths);
        for row in &self.rows {
            text += &self.line(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths);
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].width());
        cells.chain([self.titles[column].width()]).max().unwrap_or_default()
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), right) in cells.iter().zip(widths).zip(&self.right) {
            let padding = " ".repeat(width - cell.width());
            let (before, after) = if *right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line += before;
            line += cell;
            line += after;
            line += "  ";
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

/// A duration with three significant digits: `12.3 s`, `1.23 ms`, `45 us`, or `-` for none.
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0 => return "-".to_owned(),
        1_000_000_000.. => (ns as f64 / 1e9, "s"),
        1_000_000.. => (ns as f64 / 1e6, "ms"),
        1_000.. => (ns as f64 / 1e3, "us"),
        _ => (ns as f64, "ns"),
    };
    let decimals = if ns < 1_000 { 0 } else { decimals_for(value) };
    format!("{value:.decimals$} {unit}")
}

fn decimals_for(value: f64) -> usize {
    match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    }
}

/// A percentage with one decimal: `12.3%`, `<0.1%`, or `-` for none.
pub(super) fn percent(ns: u64, total_ns: u64) -> String {
    let value = share(ns, total_ns);
    match ns {
        0 => "-".to_owned(),
        _ if value < 0.05 => "<0.1%".to_owned(),
        _ => format!("{value:.1}%"),
    }
}

/// A percentage for prose: `12 %`, one decimal below ten.
pub(super) fn percent_in_words(ns: u64, total_ns: u64) -> String {
    match share(ns, total_ns) {
        value if ns == 0 || value >= 9.95 => format!("{value:.0} %"),
        value if value < 0.05 => "<0.1 %".to_owned(),
        value => format!("{value:.1} %"),
    }
}

fn share(ns: u64, total_ns: u64) -> f64 {
    if total_ns == 0 { 0.0 } else { ns as f64 * 100.0 / total_ns as f64 }
}

/// `1 thread`, `2 threads`, `3 processes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {noun}{ending}")
}

/// The loss counters by the names the JSON contract gives them.
pub(super) fn loss_counts(loss: &Loss) -> BTreeMap<String, u64> {
    loss.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
}

/// One line that says in words what was lost; empty if nothing was.
pub(super) fn loss_line(loss: &BTreeMap<String, u64>) -> String {
    let words: Vec<String> = LossReason::ALL
        .iter()
        .filter_map(|reason| loss.get(reason.name()).map(|count| format!("{} ({count})", loss_words(*reason))))
        .collect();
    if words.is_empty() { String::new() } else { format!("Lost: {}.\n", words.join("; ")) }
}

fn loss_words(reason: LossReason) -> &'static str {
    match reason {
        LossReason::StackRingFull => "stacks because their ring buffer was full",
        LossReason::LifecycleRingFull => "ends of threads because their ring buffer was full",
        LossReason::ThreadTableFull => "threads not accounted because the thread table was full",
        LossReason::WalkRefused => "stacks not walked because of the cap on walks",
        LossReason::UserStackUnreadable => "user stacks that could not be read",
        LossReason::StackTruncated => "stacks cut at the greatest depth",
        LossReason::StackUnmapped => "stacks cut where no code is mapped",
        LossReason::StackNoRule => "stacks cut at code without unwind information",
        LossReason::StackRuleUnsupported => "stacks cut at an unsupported unwind rule",
        LossReason::StackRegisterLost => "stacks cut for want of a register",
        LossReason::StackUnreadable => "stacks cut where memory could not be read",
        LossReason::StackNoProgress => "stacks cut where frames did not ascend",
        LossReason::StackUnprepared => "stacks walked before the process was known",
        LossReason::PythonTooDeep => "stacks with more Python frames than are kept",
        LossReason::PythonUnreadable => "Python stacks cut where memory could not be read",
        LossReason::PythonNotAFrame => "Python stacks cut at a frame that was being changed",
        LossReason::PythonThreadNotFound => "Python stacks of threads not found among too many",
        LossReason::PythonTasksCut => "stacks without all the asyncio tasks that await theirs",
        LossReason::ProcessGone => "stacks of processes that ended before they could be symbolized",
        LossReason::WindowFull => "stacks because the window was full",
        LossReason::RunDelayClamped => "run delays longer than their interval",
        LossReason::Undecodable => "records that could not be decoded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits_and_name_their_unit() {
        for (ns, text) in [
            (0, "-"),
            (7, "7 ns"),
            (45_600, "45.6 us"),
            (1_234_567, "1.23 ms"),
            (999_000_000, "999 ms"),
            (10_000_000_000, "10.0 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn columns_stay_aligned_beside_wide_and_combining_characters() {
        let mut table = Table::default().left("Name").right("N");
        table.row(vec!["計算".into(), "1".into()]);
        table.row(vec!["ne\u{301}".into(), "22".into()]);
        assert_eq!(table.render(), "Name   N\n計算   1\nne\u{301}    22\n");
    }

    #[test]
    fn losses_are_told_in_words_and_only_if_there_are_any() {
        let mut loss = Loss::default();
        assert_eq!(loss_line(&loss_counts(&loss)), "");
        loss.add(LossReason::WalkRefused, 3);
        assert_eq!(loss_line(&loss_counts(&loss)), "Lost: stacks not walked because of the cap on walks (3).\n");
    }
}
