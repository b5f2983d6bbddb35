//! What a report should show, as flags: the same words as the parameters of the HTTP API.

use std::collections::BTreeSet;

use clap::Args;

use crate::profile::Profile;
use crate::report::{Filter, escape_untrusted};
use crate::settings::parameter::{BREAKDOWN, HOTSPOTS};
use crate::settings::{ReportQuery, SettingsError};

/// The flags of breakdown and hotspots.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to show")]
pub(super) struct TableFlags {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
    /// The most rows to list; 0 lists all [default: 30]
    #[arg(long, value_name = "ROWS")]
    limit: Option<String>,
    /// What to sort by, longest first
    #[arg(long, value_name = "KEY")]
    sort: Option<String>,
    /// Leave out rows below this percentage of the total
    #[arg(long, value_name = "PERCENT")]
    min: Option<String>,
    /// Only threads of this name, or the one with this tid
    #[arg(long, value_name = "NAME")]
    thread: Option<String>,
    /// Only these states, separated by commas: cpu, runq, throttled, steal, wait, or a kind of wait such as disk
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
}

/// The flags that hotspots have besides.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to show")]
pub(super) struct CodeFlags {
    /// What a row stands for: function, line, file, thread, process or wait (what threads waited for) [default: function]
    #[arg(long, value_name = "KIND")]
    by: Option<String>,
    /// Charge each row with what it called, too; rows then overlap
    #[arg(long)]
    inclusive: bool,
    /// Only rows whose source file matches this glob, such as '/app/**/*.py'
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Whether to hide or show time spent parked with nothing to do [default: hide]
    #[arg(long, value_name = "hide|show")]
    idle: Option<String>,
    /// Show kernel functions as rows instead of charging their caller
    #[arg(long)]
    kernel: bool,
    /// Show the C library's functions as rows instead of charging their caller
    #[arg(long)]
    libc: bool,
    /// Show native functions called from Python or Java as rows of their own
    #[arg(long)]
    native: bool,
    /// All columns, or those of Scalene: IO Wait is all time off the CPU, CPU(C) has the kernel's [default: full]
    #[arg(long, value_name = "full|scalene")]
    columns: Option<String>,
}

type Pair<'a> = (&'static str, &'a str);

impl TableFlags {
    /// The breakdown the flags ask for.
    pub(super) fn breakdown(&self) -> Result<ReportQuery, SettingsError> {
        ReportQuery::parse(self.pairs(), BREAKDOWN)
    }

    /// The hotspots these and the flags for code ask for.
    pub(super) fn hotspots(&self, code: &CodeFlags) -> Result<ReportQuery, SettingsError> {
        ReportQuery::parse(self.pairs().into_iter().chain(code.pairs()), HOTSPOTS)
    }

    /// Says so if no thread is called what was asked for: then nothing is shown, and the name may be misspelled.
    pub(super) fn tell_if_no_thread(&self, profile: &Profile) {
        if let Some(hint) = self.thread.as_deref().and_then(|thread| hint_of(thread, profile)) {
            eprintln!("{hint}");
        }
    }

    fn pairs(&self) -> Vec<Pair<'_>> {
        given([
            ("limit", &self.limit),
            ("sort", &self.sort),
            ("min", &self.min),
            ("thread", &self.thread),
            ("state", &self.state),
        ])
    }
}

impl CodeFlags {
    fn pairs(&self) -> Vec<Pair<'_>> {
        let mut pairs =
            given([("by", &self.by), ("path", &self.path), ("idle", &self.idle), ("columns", &self.columns)]);
        let switches =
            [("inclusive", self.inclusive), ("kernel", self.kernel), ("libc", self.libc), ("native", self.native)];
        pairs.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true")));
        pairs
    }
}

/// So many names of threads are told.
const NAMES_TOLD: usize = 8;

/// What to say if no thread has the name or the tid; `None` if one has.
fn hint_of(thread: &str, profile: &Profile) -> Option<String> {
    let filter = Filter { thread: Some(thread.to_owned()), ..Filter::default() };
    if profile.tasks.iter().any(|task| filter.selects_task(task)) {
        return None;
    }
    let names: BTreeSet<_> = profile.tasks.iter().map(|task| escape_untrusted(&task.thread_name)).collect();
    let told: Vec<_> = names.iter().take(NAMES_TOLD).map(AsRef::as_ref).collect();
    let more = if names.len() > NAMES_TOLD { ", …" } else { "" };
    let thread = escape_untrusted(thread);
    Some(format!("no thread was `{thread}` while it sampled; threads are called {}{more}", told.join(", ")))
}

fn given<'a, const N: usize>(flags: [(&'static str, &'a Option<String>); N]) -> Vec<Pair<'a>> {
    flags.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{ProcessId, Task, ThreadId};

    #[test]
    fn a_thread_that_nobody_is_called_is_told_with_the_names_there_are() {
        let task = |tid: u32| {
            let (process, thread) = (ProcessId { pid: 1, start_ns: 1 }, ThreadId { tid, start_ns: 1 });
            let thread_name = format!("worker-{tid}\n").as_str().into();
            Arc::new(Task { process, thread, process_name: "p".into(), thread_name, kernel: false })
        };
        let profile = |count| Profile { tasks: (1..=count).map(task).collect(), ..Profile::default() };
        assert_eq!(hint_of("2", &profile(2)), None);
        let hint = hint_of("wroker", &profile(2)).unwrap();
        assert_eq!(hint, r"no thread was `wroker` while it sampled; threads are called worker-1\n, worker-2\n");
        assert!(hint_of("wroker", &profile(9)).unwrap().ends_with(r"worker-8\n, …"));
    }

    #[test]
    fn flags_mean_what_the_parameters_of_the_api_mean() {
        let table = TableFlags { limit: Some("5".to_owned()), sort: Some("cpu".to_owned()), ..TableFlags::default() };
        let code = CodeFlags { by: Some("line".to_owned()), kernel: true, ..CodeFlags::default() };
        let pairs = [("limit", "5"), ("sort", "cpu"), ("by", "line"), ("kernel", "true")];
        assert_eq!(table.hotspots(&code), ReportQuery::parse(pairs, HOTSPOTS));
        assert_eq!(table.breakdown().unwrap().limit, 5);
    }
}
