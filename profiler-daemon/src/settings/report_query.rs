//! What a report should show: what the query of a request and the flags of a command both mean.
//!
//! Words whose list a report owns (`state`, `path`, `by`, `sort`) stay text here; `report` gives them their meaning.

use std::time::Duration;

use super::error::shown;
use super::parameter::parameter;
use super::quantity::{parse_duration, parse_moment, parse_number, parse_percent, parse_switch};
use super::{Selector, SettingsError};
use crate::profile::{TimeRange, Timestamp};

/// The longest time a report can look back.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The largest number the kernel could call a process by; those in use are smaller.
const MOST_PID: u32 = i32::MAX as u32;
/// The most rows a report can list.
const MOST_ROWS: usize = 100_000;

/// A report as asked for. Fields a kind of report does not take keep their default.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportQuery {
    /// The time to cover.
    pub time: TimeChoice,
    /// Only this process.
    pub pid: Option<u32>,
    /// Only processes that each of these means: at most one name, one executable and one cgroup.
    pub selectors: Vec<Selector>,
    /// Only threads of this name, or the one with this tid.
    pub thread: Option<String>,
    /// Only these states, by name, with commas between.
    pub state: Option<String>,
    /// Only rows whose file matches this glob.
    pub path: Option<String>,
    /// Leave out rows below this percentage of the total, 0 to 100.
    pub min_percent: f64,
    /// Whether idle time counts.
    pub show_idle: bool,
    /// What a row stands for; the report's own choice if not given.
    pub by: Option<String>,
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
    /// What to sort by; the report's own choice if not given.
    pub sort: Option<String>,
    /// Which columns to show; the report's own choice if not given.
    pub columns: Option<String>,
}

/// The time a report covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChoice {
    /// This long until now.
    Last(Duration),
    /// The given range; it ends at the largest moment where it is meant to reach until now.
    Between(TimeRange),
}

impl Default for ReportQuery {
    fn default() -> Self {
        Self {
            time: TimeChoice::Last(Duration::from_secs(60)),
            pid: None,
            selectors: Vec::new(),
            thread: None,
            state: None,
            path: None,
            min_percent: 0.0,
            show_idle: false,
            by: None,
            inclusive: false,
            kernel: false,
            libc: false,
            native: false,
            limit: 30,
            sort: None,
            columns: None,
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
            "pid" => self.pid = Some(parse_number(name, value, 1..=MOST_PID)?),
            "comm" => self.selectors.push(Selector::Comm(parse_text(name, value)?)),
            "exe" | "cgroup" => self.selectors.push(parse_selector(name, value)?),
            "thread" => self.thread = Some(parse_text(name, value)?),
            "state" => self.state = Some(parse_text(name, value)?),
            "path" => self.path = Some(parse_text(name, value)?),
            "min" => self.min_percent = parse_percent(name, value)?,
            "idle" => self.show_idle = parse_idle(name, value)?,
            "by" => self.by = Some(parse_text(name, value)?),
            "inclusive" => self.inclusive = parse_switch(name, value)?,
            "kernel" => self.kernel = parse_switch(name, value)?,
            "libc" => self.libc = parse_switch(name, value)?,
            "native" => self.native = parse_switch(name, value)?,
            "limit" => self.limit = parse_limit(name, value)?,
            "sort" => self.sort = Some(parse_text(name, value)?),
            "columns" => self.columns = Some(parse_text(name, value)?),
            other => unreachable!("parameter `{other}` has a row but no meaning"),
        }
        Ok(())
    }
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

fn parse_selector(kind: &'static str, path: &str) -> Result<Selector, SettingsError> {
    let selector = format!("{kind}:{path}").parse();
    selector.map_err(|_| SettingsError::value(kind, path, "write an absolute path, or leave the parameter out"))
}

fn parse_limit(name: &'static str, value: &str) -> Result<usize, SettingsError> {
    let limit = parse_number(name, value, 0..=MOST_ROWS)?;
    Ok(if limit == 0 { MOST_ROWS } else { limit })
}

fn parse_idle(name: &'static str, value: &str) -> Result<bool, SettingsError> {
    match value {
        "hide" => Ok(false),
        "show" => Ok(true),
        _ => Err(SettingsError::value(name, value, "write hide or show")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            ("exe", "/usr/bin/python3"),
            ("cgroup", "/system.slice"),
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
            ("columns", "scalene"),
        ]);
        let range = TimeRange { from: Timestamp(1_000_000_000), to: Timestamp(2_000_000_000) };
        let expected = ReportQuery {
            time: TimeChoice::Between(range),
            pid: Some(17),
            selectors: vec![
                Selector::Comm("uwsgi: worker".to_owned()),
                Selector::Exe("/usr/bin/python3".into()),
                Selector::Cgroup("/system.slice".to_owned()),
            ],
            thread: Some("io-1".to_owned()),
            state: Some("cpu,wait,runq".to_owned()),
            path: Some("*.py".to_owned()),
            min_percent: 1.5,
            show_idle: true,
            by: Some("line".to_owned()),
            inclusive: true,
            kernel: true,
            libc: true,
            native: true,
            limit: 7,
            sort: Some("wait".to_owned()),
            columns: Some("scalene".to_owned()),
        };
        assert_eq!(query, Ok(expected));
    }

    #[test]
    fn an_unknown_parameter_lists_the_known_ones() {
        assert_eq!(
            ReportQuery::parse([("pidd", "1")], BREAKDOWN).unwrap_err().to_string(),
            "unknown parameter `pidd`; known are last, from, to, pid, comm, exe, cgroup, thread, state, min, limit, sort"
        );
        assert!(ReportQuery::parse([("path", "*")], BREAKDOWN).is_err(), "a breakdown has no source files");
    }

    #[test]
    fn a_bad_value_names_the_parameter_the_value_and_the_allowed_ones() {
        assert_eq!(message(&[("idle", "no")]), "idle `no` is not valid: write hide or show");
        assert_eq!(message(&[("limit", "-1")]), "limit `-1` is not valid: write a whole number from 0 to 100000");
        assert_eq!(message(&[("pid", "0")]), "pid `0` is not valid: write a whole number from 1 to 2147483647");
        assert_eq!(message(&[("kernel", "yes")]), "kernel `yes` is not valid: write true or false");
        assert_eq!(
            message(&[("exe", "python3")]),
            "exe `python3` is not valid: write an absolute path, or leave the parameter out"
        );
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
    fn a_limit_of_zero_lists_everything() {
        assert_eq!(parse(&[("limit", "0")]).unwrap().limit, MOST_ROWS);
    }
}
