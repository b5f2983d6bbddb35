//! The daemon's metrics, in the OpenMetrics text format that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::PoisonError;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use profiler_common::wait_lengths::{BUCKETS, end_ns};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::super::document::Refusals;
use super::super::error::ApiError;
use super::AppState;
use crate::aggregate::LifetimeLengths;
use crate::pipeline::Status;
use crate::profile::{TaskTotals, WaitClass};
use crate::report::escape_untrusted;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many process names have series of their own. Names are chosen by whoever runs processes, and every series costs
/// the scraper memory for weeks; later names are added up as `other`.
const MOST_NAMES: usize = 200;

/// Exact seconds by state and process name, and the daemon's own counters
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    Refusals,
))]
pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let (status, totals, targets) =
        state.ask(|daemon| Ok((daemon.status()?, daemon.lifetime_totals()?, daemon.targets()?.len()))).await?;
    let totals = {
        let mut names = state.metric_names().lock().unwrap_or_else(PoisonError::into_inner);
        bounded(totals, &mut names)
    };
    let mut families = families_of_totals(&totals);
    families.push(wait_lengths(&status.wait_lengths, &totals));
    families.extend(families_of_status(&status, targets));
    let text = exposition(families).map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to write metrics: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// Totals by name, in which at most [`MOST_NAMES`] names stand for themselves. A name that was given a place keeps it,
/// so that no counter ever goes backwards.
fn bounded(mut totals: Vec<(String, TaskTotals)>, names: &mut BTreeSet<String>) -> BTreeMap<String, TaskTotals> {
    totals.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.wall_ns()));
    let mut by_name: BTreeMap<String, TaskTotals> = BTreeMap::new();
    for (name, totals) in totals {
        let name = escape_untrusted(&name).into_owned();
        if names.len() < MOST_NAMES && !names.contains(&name) {
            names.insert(name.clone());
        }
        let name = if names.contains(&name) { name } else { "other".to_owned() };
        by_name.entry(name).or_default().add(&totals);
    }
    by_name
}

fn families_of_totals(totals: &BTreeMap<String, TaskTotals>) -> Vec<Family> {
    let mut families = vec![
        Family::counter("profilerd_cpu_seconds", "Time on a CPU. Exact"),
        Family::counter("profilerd_runqueue_seconds", "Time runnable, waiting for a CPU. Exact"),
        Family::counter("profilerd_throttled_seconds", "Time runnable, held back by a CPU quota. Exact"),
        Family::counter("profilerd_steal_seconds", "Time taken by the hypervisor. Exact"),
        Family::counter("profilerd_wait_seconds", "Time blocked, by reason; idle time is part of it. Exact"),
        Family::counter("profilerd_waits", "Waits that ended, by reason. Exact"),
    ];
    for (comm, totals) in totals {
        let of_comm = || vec![("comm", comm.clone())];
        families[0].add(of_comm(), seconds(totals.cpu_ns));
        families[1].add(of_comm(), seconds(totals.runq_ns));
        families[2].add(of_comm(), seconds(totals.throttled_ns));
        families[3].add(of_comm(), seconds(totals.steal_ns));
        for class in WaitClass::ALL {
            let of_class = || vec![("comm", comm.clone()), ("class", class.name().to_owned())];
            families[4].add(of_class(), seconds(totals.wait(class)));
            families[5].add(of_class(), totals.waits[class as usize] as f64);
        }
    }
    families
}

fn families_of_status(status: &Status, targets: usize) -> Vec<Family> {
    let period = if status.frequency_hz == 0 { 0.0 } else { 1.0 / f64::from(status.frequency_hz) };
    let mut families = vec![
        Family::gauge("profilerd_attached", "Whether the kernel half is attached", u8::from(status.attached).into()),
        Family::gauge("profilerd_sampling_period_seconds", "CPU time between two samples of one CPU", period),
        wait_periods(status),
        Family::gauge(
            "profilerd_wait_budget",
            "Stacks captured for waits per CPU and second, on average",
            status.wait_budget_hz.into(),
        ),
        Family::gauge("profilerd_targets", "Selections in force", targets as f64),
        Family::gauge("profilerd_threads", "Threads accounted now", status.threads as f64),
        Family::gauge("profilerd_unwind_tables", "Tables of unwind rules", status.unwind.tables as f64),
        Family::gauge(
            "profilerd_unwind_table_bytes",
            "Memory they take in the kernel",
            status.unwind.table_bytes as f64,
        ),
        Family::gauge("profilerd_unwind_spaces", "Processes whose mappings are known", status.unwind.spaces as f64),
        Family::gauge("profilerd_unwind_building", "Tables being built", status.unwind.building as f64),
        Family::gauge("profilerd_history_windows", "Windows in memory", status.windows as f64),
        Family::gauge("profilerd_history_bytes", "Memory the windows take", status.history_bytes as f64),
        Family::gauge(
            "profilerd_history_limit_bytes",
            "The most memory the windows may take",
            status.history_limit_bytes as f64,
        ),
        Family::gauge(
            "profilerd_longest_absence_seconds",
            "The longest time the daemon did not look at what the kernel half recorded",
            seconds(status.longest_absence_ns),
        ),
        Family::gauge("profilerd_start_time_seconds", "When the daemon started", seconds(status.started.0)),
        Family::gauge("profilerd_self_resident_bytes", "The daemon's own memory", status.self_rss_bytes as f64),
        Family::counter("profilerd_self_cpu_seconds", "The daemon's own CPU time. Exact")
            .with(vec![], seconds(status.self_cpu_ns)),
    ];
    families.extend(status.counters.iter().map(|(name, count)| own_counter(name, *count)));
    families.push(lost(status));
    families
}

/// CPUs have periods of their own.
fn wait_periods(status: &Status) -> Family {
    let help = "Waits at least this long always have their stack captured; the shortest and the longest of the CPUs";
    let mut family = Family::gauges("profilerd_wait_period_seconds", help);
    for (bound, ns) in [("least", status.wait_periods.least_ns), ("most", status.wait_periods.most_ns)] {
        family.add(vec![("bound", bound.to_owned())], seconds(ns));
    }
    family
}

/// Of all processes together: with their names, there would be thousands of series. The sums include waits in progress.
fn wait_lengths(lengths: &LifetimeLengths, totals: &BTreeMap<String, TaskTotals>) -> Family {
    let help = "How long waits were that ended, by reason. Exact";
    let mut family = Family::of("profilerd_wait_length_seconds", help, MetricType::Histogram);
    for class in WaitClass::ALL {
        let sum = seconds(totals.values().map(|totals| totals.wait(class)).sum());
        let end = |bucket: usize| if bucket + 1 == BUCKETS { f64::MAX } else { seconds(end_ns(bucket)) };
        let buckets = lengths.of(class).iter().enumerate().map(|(bucket, count)| (end(bucket), *count)).collect();
        family.series.push((vec![("class", class.name().to_owned())], Value::Histogram { sum, buckets }));
    }
    family
}

fn own_counter(name: &str, count: u64) -> Family {
    let words = name.replace('_', " ");
    let help = format!("The daemon's own count of {words} since its start. Exact");
    Family::counter(format!("profilerd_{name}"), help).with(vec![], count as f64)
}

fn lost(status: &Status) -> Family {
    use crate::profile::LossReason;
    let known: BTreeMap<_, _> = status.loss.iter().collect();
    let mut family = Family::counter("profilerd_samples_lost", "What could not be recorded, by reason. Exact");
    for reason in LossReason::ALL {
        let count = known.get(&reason).copied().unwrap_or_default();
        family.add(vec![("reason", reason.name().to_owned())], count as f64);
    }
    family
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn exposition(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What a series tells.
#[derive(Debug)]
enum Value {
    /// A counter or a gauge.
    Number(f64),
    /// How many observations there are up to each bound and beyond the one before, and their sum.
    Histogram { sum: f64, buckets: Vec<(f64, u64)> },
}

/// One metric: its name (a counter's without `_total`) and its series.
#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    kind: MetricType,
    series: Vec<(Labels, Value)>,
}

type Labels = Vec<(&'static str, String)>;

impl Family {
    fn counter(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self::of(name, help, MetricType::Counter)
    }

    fn gauge(name: &str, help: &str, value: f64) -> Self {
        Self::gauges(name, help).with(Vec::new(), value)
    }

    fn gauges(name: &str, help: &str) -> Self {
        Self::of(name, help, MetricType::Gauge)
    }

    fn of(name: impl Into<String>, help: impl Into<String>, kind: MetricType) -> Self {
        Self { name: name.into(), help: help.into(), kind, series: Vec::new() }
    }

    fn with(mut self, labels: Labels, value: f64) -> Self {
        self.add(labels, value);
        self
    }

    fn add(&mut self, labels: Labels, value: f64) {
        self.series.push((labels, Value::Number(value)));
    }
}

/// All metrics. A name that stands twice, which readers refuse, counts once.
#[derive(Debug)]
struct Exposition(Vec<Family>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut names = BTreeSet::new();
        for family in self.0.iter().filter(|family| names.insert(&family.name)) {
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, family.kind)?;
            for (labels, value) in &family.series {
                match labels.is_empty() {
                    true => encode_value(&mut metric, family.kind, value)?,
                    false => encode_value(&mut metric.encode_family(labels)?, family.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> Result<(), fmt::Error> {
    match value {
        Value::Histogram { sum, buckets } => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<Labels>(*sum, count, buckets, None)
        }
        Value::Number(value) if matches!(kind, MetricType::Counter) => {
            metric.encode_counter::<Labels, f64, f64>(value, None)
        }
        Value::Number(value) => metric.encode_gauge(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(cpu_ns: u64) -> TaskTotals {
        TaskTotals { cpu_ns, ..TaskTotals::default() }
    }

    #[test]
    fn names_beyond_the_limit_are_added_up_and_no_name_loses_its_place() {
        let mut names = BTreeSet::new();
        let first = (0..300).map(|at| (format!("first-{at}"), totals(1000 - at))).collect();
        let by_name = bounded(first, &mut names);
        assert_eq!(by_name.len(), MOST_NAMES + 1);
        assert_eq!(by_name["first-0"].cpu_ns, 1000);
        assert_eq!(by_name["other"].cpu_ns, (200..300).map(|at| 1000 - at).sum::<u64>());

        let second = vec![("late".to_owned(), totals(1_000_000)), ("first-199".to_owned(), totals(802))];
        let by_name = bounded(second, &mut names);
        assert_eq!((by_name["first-199"].cpu_ns, by_name["other"].cpu_ns), (802, 1_000_000));
    }

    #[test]
    fn no_metric_stands_twice() {
        let counters = vec![("windows", 1), ("targets", 2), ("stack_walks", 3)];
        let status = Status { counters, ..Status::default() };
        let text = exposition(families_of_status(&status, 1)).unwrap();
        let mut names: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        names.sort_unstable_by_key(|line| line.split(' ').nth(2));
        let distinct: BTreeSet<_> = names.iter().map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(distinct.len(), names.len(), "{names:#?}");
        assert!(text.contains("profilerd_windows_total 1.0") && text.contains("profilerd_targets 1.0"), "{text}");
    }

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let hostile = "x\"} 1\nfake_total 7\\\u{1b}[31m".to_owned();
        let by_name = bounded(vec![(hostile, totals(1))], &mut BTreeSet::new());
        let text = exposition(families_of_totals(&by_name)).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("fake_total")), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains(r#"profilerd_cpu_seconds_total{comm="x\"} 1\\nfake_total 7\\\\u{1b}[31m"}"#), "{text}");
    }
}
