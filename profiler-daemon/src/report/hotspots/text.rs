//! The hotspot table as text: a sentence, the rows, and what they leave out.

use std::fmt::Write;

use super::super::breakdown::{cpu_title, states_in_words};
use super::super::table::{Table, counted, duration, loss_line, percent};
use super::{HotspotRow, Hotspots, PYTHON_MODULE, RowKind, Selection, scalene, waits};
use crate::profile::leaf::UNKNOWN_MODULE;
use crate::profile::{CodeKind, WaitClass};
use crate::report::{CpuLeafNs, escape_untrusted};

/// Waits for data from a device or a peer.
const IO: [WaitClass; 4] = [WaitClass::Disk, WaitClass::Fault, WaitClass::Net, WaitClass::Ipc];

/// Waits for another thread.
const LOCK: [WaitClass; 2] = [WaitClass::Lock, WaitClass::Sync];

/// What stands before source text of a file that was changed after the process had started.
pub(crate) const NEWER_MARK: &str = "* ";
/// What the mark means.
pub(crate) const NEWER_NOTE: &str =
    "* The file was changed after the process had started; what ran may be another line.\n";

impl Selection {
    /// Whose time it is: the process, or how many of them.
    pub(super) fn subject(&self) -> String {
        match (&self.comm, self.pid) {
            (Some(comm), Some(pid)) => format!("{} (pid {pid})", escape_untrusted(comm)),
            _ => format!("{}, {}", counted(self.processes, "process"), counted(self.threads, "thread")),
        }
    }
}

impl Hotspots {
    /// A summary sentence, the table, and what is hidden, unattributed or lost. Names are escaped.
    pub fn text(&self) -> String {
        let mut text = self.headline();
        if !self.rows.is_empty() {
            text += &self.table();
        }
        text + &self.notes() + &self.wait_period.line() + &loss_line(&self.loss)
    }

    fn headline(&self) -> String {
        let selection = &self.selection;
        let time = duration(self.window.duration_ns);
        let idle = match self.idle_hidden_ns {
            0 => String::new(),
            ns => format!("; {} idle hidden", duration(ns)),
        };
        if selection.total_ns == 0 {
            return format!("{}, {time}: no time to show{idle}.\n", self.selection.subject());
        }
        format!("{}, {time}: {}{idle}\n\n", self.selection.subject(), states_in_words(&selection.amounts(), ""))
    }

    fn has_code(&self) -> bool {
        self.rows.iter().any(|row| row.code.is_some())
    }

    /// Whether it is worth telling in which part of the interpreter, or which module, Python lines compute.
    fn has_leaves(&self) -> bool {
        self.rows.iter().any(|row| row.module == PYTHON_MODULE && row.cpu_leaf_ns != CpuLeafNs::default())
    }

    fn table(&self) -> String {
        if self.rows.is_empty() {
            return "No row matches.\n".to_owned();
        }
        if self.rows.iter().all(|row| row.scalene.is_some()) {
            return scalene::table(self);
        }
        if self.by == RowKind::Wait.name() {
            return waits::table(self);
        }
        let mut table = self.titles();
        for row in &self.rows {
            table.row(self.cells(row));
        }
        table.render()
    }

    fn titles(&self) -> Table {
        let mut table = Table::default().right("IO Wait");
        for kind in self.cpu_columns() {
            table = table.right(cpu_title(kind));
        }
        table = table.right("Run queue").right("Lock").right("Other").right("Total").right("±");
        table = table.left("Waits for");
        if self.has_leaves() {
            table = table.left("Computes in");
        }
        table = table.left("Location");
        if self.has_code() { table.left("Code") } else { table }
    }

    /// Python and native always, the others if there are any.
    fn cpu_columns(&self) -> impl Iterator<Item = CodeKind> {
        let always = |kind| matches!(kind, CodeKind::Python | CodeKind::Native);
        let order = [CodeKind::Python, CodeKind::Native, CodeKind::Jvm, CodeKind::Kernel];
        order.into_iter().filter(move |kind| always(*kind) || self.rows.iter().any(|row| row.cpu_ns.of(*kind) > 0))
    }

    fn cells(&self, row: &HotspotRow) -> Vec<String> {
        let of_selection = |ns| percent(ns, self.selection.total_ns);
        let waits = |classes: &[WaitClass]| classes.iter().map(|class| row.wait_ns.of(*class)).sum::<u64>();
        let (io, lock) = (waits(&IO) + row.replies_ns(), waits(&LOCK));
        let mut cells = vec![of_selection(io)];
        cells.extend(self.cpu_columns().map(|kind| of_selection(row.cpu_ns.of(kind))));
        let starved = row.runq_ns + row.throttled_ns + row.steal_ns;
        cells.extend([starved, lock, row.wait_ns.sum() - io - lock, row.total_ns, row.stderr_ns].map(of_selection));
        cells.push(row.top_wait.clone().unwrap_or_default());
        if self.has_leaves() {
            cells.push(escape_untrusted(row.cpu_leaf_ns.longest().unwrap_or_default()).into_owned());
        }
        cells.push(escape_untrusted(&row.location()).into_owned());
        if self.has_code() {
            cells.push(row.code_text());
        }
        cells
    }

    fn notes(&self) -> String {
        let mut notes = String::new();
        if self.rows.iter().any(|row| row.code_newer) {
            notes += NEWER_NOTE;
        }
        if self.rows_cut > 0 {
            writeln!(notes, "{} not shown.", counted(self.rows_cut, "more row")).expect("writing to a string succeeds");
        }
        if let Some(awaits) = &self.awaits {
            let (time, lines) = (duration(awaits.attributed_ns), counted(awaits.lines, "await line"));
            let looks = counted(awaits.looks as usize, "look");
            writeln!(notes, "{time} of waiting in event loops attributed to {lines} by {looks}.")
                .expect("writing to a string succeeds");
        }
        if self.unattributed_ns > 0 {
            let parts = self.unattributed_by.iter().map(|(marker, ns)| format!("{} {marker}", duration(*ns)));
            let parts: Vec<_> = parts.collect();
            let share = percent(self.unattributed_ns, self.selection.total_ns);
            writeln!(notes, "{share} has no stack: {}.", parts.join(", ")).expect("writing to a string succeeds");
        }
        notes
    }
}

impl HotspotRow {
    /// The time event loops waited for replies.
    pub(super) fn replies_ns(&self) -> u64 {
        ["poll/reply", "await/reply"].iter().filter_map(|label| self.wait_detail_ns.get(*label)).sum()
    }

    /// The source text without the blanks around it and with spaces for tabs, marked if what ran may be another. Escaped.
    pub(super) fn code_text(&self) -> String {
        let mark = if self.code_newer { NEWER_MARK } else { "" };
        let Some(code) = &self.code else { return String::new() };
        format!("{mark}{}", escape_untrusted(&code.trim().replace('\t', " ")))
    }

    /// `function (file:line)`, `function (module)`, `name (pid N)` or `name (tid N) of process (pid N)`. Not escaped.
    pub fn location(&self) -> String {
        match (self.pid, self.tid, &self.file) {
            (Some(pid), Some(tid), _) => format!("{} (tid {tid}) of {} (pid {pid})", self.function, self.module),
            (Some(pid), None, _) => format!("{} (pid {pid})", self.function),
            (_, _, Some(file)) if *file == self.function => file.clone(),
            (_, _, Some(file)) => match self.line {
                Some(line) => format!("{} ({file}:{line})", self.function),
                None => format!("{} ({file})", self.function),
            },
            _ if self.module == self.function || self.module == UNKNOWN_MODULE => self.function.clone(),
            _ => format!("{} ({})", self.function, self.module),
        }
    }
}
