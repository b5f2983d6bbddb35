//! The selector all reports share: which processes, threads and states, which files, idle or not.

use std::collections::BTreeSet;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use super::calibrate::{Calibrated, Entry};
use super::{ReportError, escape_untrusted};
use crate::process::comm_equals;
use crate::profile::{CodeKind, Frame, Stack, State, Task, TaskTotals, WaitClass};

/// What a report is about. The default selects everything and hides idle time.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Processes by pid; all if absent. Selectors by executable or cgroup are resolved to pids before.
    pub pids: Option<BTreeSet<u32>>,
    /// Processes by name.
    pub comm: Option<Named>,
    /// A thread: its tid, or its name.
    pub thread: Option<String>,
    /// What the threads were doing; anything if absent.
    pub states: Option<StateSet>,
    /// Which source files (or modules, where the file is not known) to show.
    pub path: Option<PathGlob>,
    /// Rows with less than this percentage of the selection's time are cut.
    pub min_percent: f64,
    /// Whether idle time is shown in hotspots and profiles. It never changes a breakdown.
    pub show_idle: bool,
}

/// The processes a name means: those that had it then, whether or not they live on, and those it means now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The name; longer than the kernel keeps is fine.
    pub comm: String,
    /// The processes alive now that are called so, and their children.
    pub pids: BTreeSet<u32>,
}

impl Named {
    fn means(&self, task: &Task) -> bool {
        comm_equals(&task.process_name, &self.comm) || self.pids.contains(&task.process.pid)
    }
}

impl Filter {
    /// Whether a task is selected.
    pub fn selects_task(&self, task: &Task) -> bool {
        self.selects_process(task) && self.thread.as_ref().is_none_or(|thread| is_thread(task, thread))
    }

    /// Whether the process of a task is selected, if perhaps not this thread.
    pub fn selects_process(&self, task: &Task) -> bool {
        self.pids.as_ref().is_none_or(|pids| pids.contains(&task.process.pid))
            && self.comm.as_ref().is_none_or(|comm| comm.means(task))
    }

    /// Whether a state is selected.
    pub fn selects_state(&self, state: State) -> bool {
        self.states.as_ref().is_none_or(|states| states.contains(state))
    }

    /// Whether `ns` of `total_ns` is enough for a row.
    pub fn keeps_row(&self, ns: u64, total_ns: u64) -> bool {
        ns as f64 * 100.0 >= self.min_percent * total_ns as f64
    }
}

fn is_thread(task: &Task, thread: &str) -> bool {
    thread == &*task.thread_name || thread.parse() == Ok(task.thread.tid)
}

impl Calibrated<'_> {
    /// Keeps the tasks, states and idle time the filter selects, in the entries and in the totals.
    ///
    /// Paths and percentages concern rows and are left to the report.
    pub fn select(mut self, filter: &Filter) -> Self {
        let selected: Vec<bool> = self.profile.tasks.iter().map(|task| filter.selects_task(task)).collect();
        self.totals.retain(|totals| selected[totals.task as usize]);
        self.totals.iter_mut().for_each(|totals| clear_states(totals, filter));
        self.entries.retain(|entry| selected[entry.task as usize] && filter.selects_state(entry.state));
        if !filter.show_idle {
            self.idle_hidden_ns += self.entries.iter().filter(|entry| entry.idle).map(|entry| entry.ns).sum::<u64>();
            self.entries.retain(|entry| !entry.idle);
        }
        self
    }

    /// Keeps the stacks with at least one frame in a matching file; time without a stack goes too.
    pub fn keep_path(mut self, path: &PathGlob) -> Self {
        let stacks: Vec<bool> = self.profile.stacks.iter().map(|stack| path.matches_stack(stack)).collect();
        self.entries.retain(|entry: &Entry| entry.place().is_some_and(|at| stacks[at as usize]));
        self
    }
}

fn clear_states(totals: &mut TaskTotals, filter: &Filter) {
    let Some(states) = &filter.states else { return };
    let keep = |state, ns: &mut u64| {
        if !states.contains(state) {
            *ns = 0;
        }
    };
    keep(State::RunQueue, &mut totals.runq_ns);
    keep(State::Throttled, &mut totals.throttled_ns);
    keep(State::Steal, &mut totals.steal_ns);
    keep(State::OnCpu(CodeKind::Native), &mut totals.cpu_ns);
    WaitClass::ALL.iter().for_each(|class| keep(State::Wait(*class), &mut totals.wait_ns[*class as usize]));
    totals.idle_ns = totals.idle_ns.min(totals.blocked_ns());
    totals.began_before_attach_ns = totals.began_before_attach_ns.min(totals.blocked_ns());
}

/// A set of states, written as names with commas between: `cpu`, `runq`, `throttled`, `steal`, `wait` or a wait reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSet(BTreeSet<&'static str>);

const FIXED_STATES: [&str; 4] = ["cpu", "runq", "throttled", "steal"];

impl StateSet {
    /// Whether the state is in the set.
    pub fn contains(&self, state: State) -> bool {
        self.0.contains(state.name())
    }
}

impl FromStr for StateSet {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut states = BTreeSet::new();
        for word in text.split(',').map(str::trim) {
            match state_names().find(|name| *name == word) {
                Some(name) => _ = states.insert(name),
                None if word == "wait" => states.extend(WaitClass::ALL.map(WaitClass::name)),
                None => return Err(ReportError::unknown_word("state", word, allowed_states())),
            }
        }
        Ok(Self(states))
    }
}

fn state_names() -> impl Iterator<Item = &'static str> {
    FIXED_STATES.into_iter().chain(WaitClass::ALL.map(WaitClass::name))
}

fn allowed_states() -> String {
    let names: Vec<_> = state_names().collect();
    format!("wait, {}, or several with commas between", names.join(", "))
}

/// A pattern for paths: `*` matches within one part, `**` any number of parts, `?` one character, `{a,b}` either.
///
/// A pattern without `/` matches the last part of a path.
#[derive(Debug, Clone)]
pub struct PathGlob {
    matcher: GlobMatcher,
    last_part_only: bool,
}

impl FromStr for PathGlob {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |problem: String| ReportError::BadPattern { pattern: escape_untrusted(text).into_owned(), problem };
        if text.len() > MAX_PATTERN_BYTES {
            return Err(bad(format!("it is longer than {MAX_PATTERN_BYTES} bytes")));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| bad(error.kind().to_string()))?;
        Ok(Self { matcher: glob.compile_matcher(), last_part_only: !text.contains('/') })
    }
}

/// A longer pattern is refused: compiling it costs the daemon memory.
const MAX_PATTERN_BYTES: usize = 1024;

impl PathGlob {
    /// Whether the path matches.
    pub fn matches(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap_or(path);
        self.matcher.is_match(if self.last_part_only { last } else { path })
    }

    /// Whether the frame's file matches, or its module where the file is not known.
    pub fn matches_frame(&self, frame: &Frame) -> bool {
        frame.file.as_ref().or(frame.module.as_ref()).is_some_and(|path| self.matches(path))
    }

    fn matches_stack(&self, stack: &Stack) -> bool {
        stack.leaf_first().any(|frame| self.matches_frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_by_name_and_wait_means_every_reason() {
        let states: StateSet = "cpu, disk".parse().unwrap();
        assert!(states.contains(State::OnCpu(CodeKind::Python)) && states.contains(State::Wait(WaitClass::Disk)));
        assert!(!states.contains(State::RunQueue) && !states.contains(State::Wait(WaitClass::Net)));
        let waits: StateSet = "wait".parse().unwrap();
        assert!(WaitClass::ALL.iter().all(|class| waits.contains(State::Wait(*class))));
        assert!(!waits.contains(State::Throttled));
    }

    #[test]
    fn an_unknown_state_is_refused_with_the_list_of_states() {
        let message = "cpu,\x1bnap".parse::<StateSet>().unwrap_err().to_string();
        assert!(message.contains("`\\u{1b}nap`") && message.contains("disk") && message.contains("runq"), "{message}");
    }

    #[test]
    fn patterns_match_whole_paths_or_the_last_part() {
        for (pattern, path, matches) in [
            ("*.py", "/srv/app/main.py", true),
            ("*.py", "/srv/app/main.pyc", false),
            ("/srv/**/*.py", "/srv/app/sub/main.py", true),
            ("/srv/*.py", "/srv/app/main.py", false),
            ("**/{app,lib}/**", "/srv/app/main.py", true),
            ("main.?", "main.c", true),
        ] {
            assert_eq!(pattern.parse::<PathGlob>().unwrap().matches(path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn a_broken_or_endless_pattern_is_refused() {
        assert!("/srv/[".parse::<PathGlob>().unwrap_err().to_string().contains("write for example"));
        assert!("x".repeat(2000).parse::<PathGlob>().is_err());
    }
}
