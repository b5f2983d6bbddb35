//! The columns of Scalene: three parts of a row's time that sum up to its total.
//!
//! CPU(C) has all time on a CPU outside the Python interpreter, the kernel's included, and IO Wait all time off it, whatever
//! the reason. Percentages are of the selected threads' time.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use super::{HotspotRow, Hotspots};
use crate::report::table::{Table, percent};
use crate::report::{ReportError, escape_untrusted};

/// Which columns a table of hotspots has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// All that is measured.
    #[default]
    Full,
    /// Those of Scalene.
    Scalene,
}

impl FromStr for Columns {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "scalene" => Ok(Self::Scalene),
            _ => Err(ReportError::unknown_word("columns", text, "full or scalene")),
        }
    }
}

/// Percentages of the selected threads' time, by the names Scalene gives them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ScaleneRow {
    /// On a CPU in the Python interpreter.
    pub n_cpu_percent_python: f64,
    /// On a CPU elsewhere, the kernel included.
    pub n_cpu_percent_c: f64,
    /// Off the CPU, for whatever reason.
    pub n_sys_percent: f64,
}

/// Nanoseconds of IO Wait, CPU(Py) and CPU(C).
fn parts(row: &HotspotRow) -> [u64; 3] {
    let cpu = row.cpu_ns.sum();
    [row.total_ns - cpu, row.cpu_ns.python, cpu - row.cpu_ns.python]
}

impl ScaleneRow {
    /// The row's time as percentages of `total_ns`.
    pub(super) fn of(row: &HotspotRow, total_ns: u64) -> Self {
        let share = |ns: u64| if total_ns == 0 { 0.0 } else { ns as f64 * 100.0 / total_ns as f64 };
        let [n_sys_percent, n_cpu_percent_python, n_cpu_percent_c] = parts(row).map(share);
        Self { n_cpu_percent_python, n_cpu_percent_c, n_sys_percent }
    }
}

/// The rows in these columns.
pub(super) fn table(report: &Hotspots) -> String {
    let mut table = Table::default().right("IO Wait").right("CPU(Py)").right("CPU(C)").right("Total");
    table = table.left("Location").left("Code");
    for row in &report.rows {
        let times = parts(row).into_iter().chain([row.total_ns]);
        let mut cells: Vec<_> = times.map(|ns| percent(ns, report.selection.total_ns)).collect();
        cells.extend([escape_untrusted(&row.location()).into_owned(), row.code_text()]);
        table.row(cells);
    }
    table.render() + "IO Wait is all time off the CPU; percentages are of the selected threads' time.\n"
}
