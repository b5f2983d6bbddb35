//! What a report should show: what the query of a request and the flags of a command both mean.

use std::time::Duration;

use profiler_common::wait_class;

use super::SettingsError;
use super::error::shown;
use super::parameter::{parameter, states_in_words};
use super::quantity::{parse_duration, parse_moment, parse_number, parse_percent, parse_switch};
use crate::profile::{State, TimeRange, Timestamp};

/// The longest time a report can look back.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The most rows a report can list.
const MOST_ROWS: usize = 100_000;

/// A report as asked for. Fields a kind of report does not take keep their default.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportQuery {
    /// The time to cover.
    pub time: TimeChoice,
    /// Only this process.
    pub pid: Option<u32>,
    /// Only processes of this name.
    pub comm: Option<String>,
    /// Only threads of this name.
    pub thread: Option<String>,
    /// Only these states; empty for all.
    pub states: Vec<StateFilter>,
    /// Only rows whose file matches this glob.
    pub path: Option<String>,
    /// Leave out rows below this percentage of the total, 0 to 100.
    pub min_percent: f64,
    /// Whether idle time counts.
    pub show_idle: bool,
    /// What a row stands for; the report's own choice if not given.
    pub by: Option<By>,
    /// Whether a row is charged with what it called.
    pub inclusive: bool,
    /// Whether kernel frames are rows.
    pub kernel: bool,
    /// Whether the C library's frames are rows.
    pub libc: bool,
    /// Whether native frames called from Python or Java are rows.
    pub native: bool,
    /// The most rows to list.
    pub limit: usize,
    /// What to sort by.
    pub sort: Sort,
}

/// The time a report covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChoice {
    /// This long until now.
    Last(Duration),
    /// The given range; it ends at the largest moment where it is meant to reach until now.
    Between(TimeRange),
}

/// One item of a filter by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Every wait, whatever its class.
    AnyWait,
    /// The state of this name; see [`State::name`].
    Named(&'static str),
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A function.
    Function,
    /// A line of a source file.
    Line,
    /// A source file.
    File,
    /// A thread.
    Thread,
    /// A process.
    Process,
}

/// What rows are sorted by, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// All time.
    Total,
    /// Time on a CPU.
    Cpu,
    /// Time blocked.
    Wait,
    /// Time waiting for a CPU.
    RunQueue,
}

impl Default for ReportQuery {
    fn default() -> Self {
        Self {
            time: TimeChoice::Last(Duration::from_secs(60)),
            pid: None,
            comm: None,
            thread: None,
            states: Vec::new(),
            path: None,
            min_percent: 0.0,
            show_idle: false,
            by: None,
            inclusive: false,
            kernel: false,
            libc: false,
            native: false,
            limit: 30,
            sort: Sort::Total,
        }
    }
}

impl ReportQuery {
    /// Reads `name=value` pairs. `known` are the parameters this kind of report takes; others are an error.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        known: &[&'static str],
    ) -> Result<Self, SettingsError> {
        let mut query = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        let mut ends = TimeEnds::default();
        for (name, value) in pairs {
            let name = known_name(name, known)?;
            if seen.contains(&name) {
                return Err(SettingsError::Repeated { name });
            }
            seen.push(name);
            query.set(name, value, &mut ends)?;
        }
        query.time = ends.choose()?.unwrap_or(query.time);
        Ok(query)
    }

    fn set(&mut self, name: &'static str, value: &str, ends: &mut TimeEnds) -> Result<(), SettingsError> {
        match name {
            "last" => ends.last = Some(parse_duration(name, value, Duration::from_millis(1)..=LONGEST)?),
            "from" => ends.from = Some(parse_moment(name, value)?),
            "to" => ends.to = Some(parse_moment(name, value)?),
            "pid" => self.pid = Some(parse_number(name, value, 1..=4_194_304)?),
            "comm" => self.comm = Some(parse_text(name, value)?),
            "thread" => self.thread = Some(parse_text(name, value)?),
            "state" => self.states = parse_states(name, value)?,
            "path" => self.path = Some(parse_text(name, value)?),
            "min" => self.min_percent = parse_percent(name, value)?,
            "idle" => self.show_idle = parse_choice(name, value, &[("hide", false), ("show", true)])?,
            "by" => self.by = Some(parse_choice(name, value, By::CHOICES)?),
            "inclusive" => self.inclusive = parse_switch(name, value)?,
            "kernel" => self.kernel = parse_switch(name, value)?,
            "libc" => self.libc = parse_switch(name, value)?,
            "native" => self.native = parse_switch(name, value)?,
            "limit" => self.limit = parse_limit(name, value)?,
            "sort" => self.sort = parse_choice(name, value, Sort::CHOICES)?,
            other => unreachable!("parameter `{other}` has a row but no meaning"),
        }
        Ok(())
    }
}

impl StateFilter {
    /// Whether the filter lets the state pass.
    pub fn matches(self, state: State) -> bool {
        match self {
            Self::AnyWait => matches!(state, State::Wait(_)),
            Self::Named(name) => state.name() == name,
        }
    }

    /// Every value a filter can have.
    pub fn names() -> Vec<&'static str> {
        ["cpu", "runq", "throttled", "steal", "wait"].into_iter().chain(wait_class::NAMES).collect()
    }
}

impl By {
    const CHOICES: &[(&'static str, Self)] = &[
        ("function", Self::Function),
        ("line", Self::Line),
        ("file", Self::File),
        ("thread", Self::Thread),
        ("process", Self::Process),
    ];
    /// The names, as written.
    pub const NAMES: &[&'static str] = &["function", "line", "file", "thread", "process"];
}

impl Sort {
    const CHOICES: &[(&'static str, Self)] =
        &[("total", Self::Total), ("cpu", Self::Cpu), ("wait", Self::Wait), ("runq", Self::RunQueue)];
    /// The names, as written.
    pub const NAMES: &[&'static str] = &["total", "cpu", "wait", "runq"];
}

/// The ends of the time as given, before they are one choice.
#[derive(Default)]
struct TimeEnds {
    last: Option<Duration>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl TimeEnds {
    fn choose(self) -> Result<Option<TimeChoice>, SettingsError> {
        match (self.last, self.from, self.to) {
            (None, None, None) => Ok(None),
            (Some(last), None, None) => Ok(Some(TimeChoice::Last(last))),
            (Some(_), _, _) => Err(SettingsError::Conflict("give either last, or from and to")),
            (None, None, Some(_)) => Err(SettingsError::Conflict("to needs from; give both, or last")),
            (None, Some(from), to) => {
                let to = to.unwrap_or(Timestamp(u64::MAX));
                if from >= to {
                    return Err(SettingsError::Conflict("from is not before to; exchange them"));
                }
                Ok(Some(TimeChoice::Between(TimeRange { from, to })))
            }
        }
    }
}

fn known_name(name: &str, known: &[&'static str]) -> Result<&'static str, SettingsError> {
    match parameter(name) {
        Some(row) if known.contains(&row.name) => Ok(row.name),
        _ => Err(SettingsError::UnknownParameter { name: shown(name), known: known.join(", ") }),
    }
}

fn parse_text(name: &'static str, value: &str) -> Result<String, SettingsError> {
    if value.is_empty() {
        return Err(SettingsError::value(name, value, "write a value, or leave the parameter out"));
    }
    Ok(value.to_owned())
}

fn parse_states(name: &'static str, value: &str) -> Result<Vec<StateFilter>, SettingsError> {
    let names = StateFilter::names();
    let one = |item: &str| match names.iter().find(|known| **known == item) {
        Some(&"wait") => Ok(StateFilter::AnyWait),
        Some(known) => Ok(StateFilter::Named(known)),
        None => Err(SettingsError::value(name, item, states_in_words())),
    };
    value.split(',').map(one).collect()
}

fn parse_limit(name: &'static str, value: &str) -> Result<usize, SettingsError> {
    let limit = parse_number(name, value, 0..=MOST_ROWS)?;
    Ok(if limit == 0 { MOST_ROWS } else { limit })
}

fn parse_choice<T: Copy>(name: &'static str, value: &str, choices: &[(&str, T)]) -> Result<T, SettingsError> {
    let found = choices.iter().find(|(known, _)| *known == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(known, _)| *known).collect();
        SettingsError::value(name, value, format!("write {}", one_of(&names)))
    })
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{CodeKind, WaitClass};
    use crate::settings::parameter::{BREAKDOWN, HOTSPOTS};

    fn parse(pairs: &[(&'static str, &'static str)]) -> Result<ReportQuery, SettingsError> {
        ReportQuery::parse(pairs.iter().copied(), HOTSPOTS)
    }

    fn message(pairs: &[(&'static str, &'static str)]) -> String {
        parse(pairs).unwrap_err().to_string()
    }

    #[test]
    fn nothing_given_means_the_last_minute_thirty_rows_and_no_idle_time() {
        let query = parse(&[]).unwrap();
        assert_eq!(query.time, TimeChoice::Last(Duration::from_secs(60)));
        assert_eq!((query.limit, query.show_idle, query.inclusive), (30, false, false));
    }

    #[test]
    fn every_parameter_reaches_its_field() {
        let query = parse(&[
            ("from", "1970-01-01T00:00:01Z"),
            ("to", "1970-01-01T00:00:02Z"),
            ("pid", "17"),
            ("comm", "uwsgi: worker"),
            ("thread", "io-1"),
            ("state", "cpu,wait,runq"),
            ("path", "*.py"),
            ("min", "1.5"),
            ("idle", "show"),
            ("by", "line"),
            ("inclusive", "true"),
            ("kernel", "true"),
            ("libc", "true"),
            ("native", "true"),
            ("limit", "7"),
            ("sort", "wait"),
        ]);
        let range = TimeRange { from: Timestamp(1_000_000_000), to: Timestamp(2_000_000_000) };
        let expected = ReportQuery {
            time: TimeChoice::Between(range),
            pid: Some(17),
            comm: Some("uwsgi: worker".to_owned()),
            thread: Some("io-1".to_owned()),
            states: vec![StateFilter::Named("cpu"), StateFilter::AnyWait, StateFilter::Named("runq")],
            path: Some("*.py".to_owned()),
            min_percent: 1.5,
            show_idle: true,
            by: Some(By::Line),
            inclusive: true,
            kernel: true,
            libc: true,
            native: true,
            limit: 7,
            sort: Sort::Wait,
        };
        assert_eq!(query, Ok(expected));
    }

    #[test]
    fn an_unknown_parameter_lists_the_known_ones() {
        assert_eq!(
            ReportQuery::parse([("pidd", "1")], BREAKDOWN).unwrap_err().to_string(),
            "unknown parameter `pidd`; known are last, from, to, pid, comm, thread, by, limit, sort"
        );
        assert!(ReportQuery::parse([("path", "*")], BREAKDOWN).is_err(), "a breakdown has no source files");
    }

    #[test]
    fn a_bad_value_names_the_parameter_the_value_and_the_allowed_ones() {
        assert_eq!(
            message(&[("by", "files")]),
            "by `files` is not valid: write function, line, file, thread or process"
        );
        assert_eq!(message(&[("idle", "no")]), "idle `no` is not valid: write hide or show");
        assert_eq!(message(&[("limit", "-1")]), "limit `-1` is not valid: write a whole number from 0 to 100000");
        assert_eq!(message(&[("pid", "0")]), "pid `0` is not valid: write a whole number from 1 to 4194304");
        assert!(message(&[("state", "cpu,io")]).starts_with("state `io` is not valid: write one or more of cpu, runq"));
        assert_eq!(message(&[("kernel", "yes")]), "kernel `yes` is not valid: write true or false");
        assert!(message(&[("comm", "")]).contains("leave the parameter out"));
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        assert_eq!(message(&[("pid", "1"), ("pid", "2")]), "pid is given twice; give it once");
    }

    #[test]
    fn a_range_without_end_reaches_until_now() {
        let query = parse(&[("from", "1970-01-01T00:00:01Z")]).unwrap();
        let range = TimeRange { from: Timestamp(1_000_000_000), to: Timestamp(u64::MAX) };
        assert_eq!(query.time, TimeChoice::Between(range));
    }

    #[test]
    fn contradicting_times_are_refused() {
        let moment = "2026-11-21T12:00:00Z";
        assert!(message(&[("last", "10s"), ("from", moment)]).contains("either last"));
        assert!(message(&[("to", moment)]).contains("to needs from"));
        assert!(message(&[("from", moment), ("to", moment)]).contains("not before"));
    }

    #[test]
    fn a_state_filter_tells_states_apart() {
        assert!(StateFilter::AnyWait.matches(State::Wait(WaitClass::Disk)));
        assert!(!StateFilter::AnyWait.matches(State::RunQueue));
        assert!(StateFilter::Named("cpu").matches(State::OnCpu(CodeKind::Jvm)));
        assert!(!StateFilter::Named("net").matches(State::Wait(WaitClass::Disk)));
    }

    #[test]
    fn the_names_of_choices_are_those_the_parser_takes() {
        let names = |choices: &[&'static str]| choices.to_vec();
        assert_eq!(By::CHOICES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names(By::NAMES));
        assert_eq!(Sort::CHOICES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names(Sort::NAMES));
    }

    #[test]
    fn a_limit_of_zero_lists_everything() {
        assert_eq!(parse(&[("limit", "0")]).unwrap().limit, MOST_ROWS);
    }
}
