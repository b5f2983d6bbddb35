//! What was measured on one load, as tables in Markdown.

use std::fmt::Write;

use super::load::Load;
use super::rounds::{Cost, Pair, Watched};
use crate::table::quantile;

const MIB: f64 = 1_048_576.0;

/// Both tables of one load.
pub(super) fn of(load: &Load, frequency_hz: u32, costs: &[Cost]) -> String {
    let captures = f64::from(frequency_hz * load.threads());
    let title = format!("{}, {frequency_hz} Hz", load.name());
    format!("### {title}\n\n{}\n{}", target(costs, f64::from(frequency_hz), captures), profilers(costs))
}

/// What the load loses. Each second is compared with the one right before it, without a profiler.
fn target(costs: &[Cost], hz: f64, captures: f64) -> String {
    let mut text =
        "| profiler | work per CPU second | quartiles | lost, us per capture | quartiles | pause, us | quartiles | \
                    of it BPF |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for cost in costs {
        let at = |part, value: fn(&Pair) -> f64| quantile(cost.pairs.iter().map(value).collect(), part);
        let speed = |part| at(part, |pair| pair.with.speed / pair.without.speed);
        let lost = |part| at(part, lost_ns) / hz / 1e3;
        let pause = |part| at(part, |pair| pair.with.pause_ns.unwrap_or(f64::NAN)) / 1e3;
        let bpf = cost.watched.as_ref().map_or(f64::NAN, |watched| bpf_ns(watched) / captures / 1e3);
        let (name, bpf) = (cost.kind.name(), figure(bpf));
        let (speed, lost, pause) = (quartiles(speed, 4), quartiles(lost, 2), quartiles(pause, 2));
        let _ = writeln!(text, "| {name} | {speed} | {lost} | {pause} | {bpf} |");
    }
    text
}

/// What the profilers themselves take, and the part of stacks that is complete.
fn profilers(costs: &[Cost]) -> String {
    let mut text = "| profiler | CPU, of one | to start, s | afterwards, s per s | in all, s per s | RSS, MiB | \
                    afterwards, MiB | maps, MiB | written, KiB/s | complete stacks |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for cost in costs {
        let Some(watched) = &cost.watched else { continue };
        let seconds = watched.lasted.as_secs_f64();
        let [start, during, after] = watched.cpu.map(|time| time.as_secs_f64());
        // What is asked for afterwards includes the batch with the statistics on.
        let (during, after) = (during / seconds, after / (seconds + 1.0));
        let complete = watched.stacks.part().map_or("no stack".to_owned(), |part| format!("{:.2} %", part * 100.0));
        let [resident, maps] = [watched.resident_bytes[0], watched.map_bytes].map(|bytes| bytes as f64 / MIB);
        let walker = walker(watched.resident_bytes[1]);
        let written = watched.written_bytes as f64 / 1024.0 / seconds;
        let _ = writeln!(
            text,
            "| {} | {:.2} % | {start:.2} | {after:.3} | {:.3} | {resident:.0} | {walker} | {maps:.0} | {written:.0} | {complete} |",
            cost.kind.name(),
            during * 100.0,
            during + after
        );
    }
    text
}

/// The median and the quartiles, in two columns; empty ones for what was not measured.
fn quartiles(at: impl Fn(f64) -> f64, digits: usize) -> String {
    if at(0.5).is_nan() {
        return " | ".to_owned();
    }
    format!("{:.digits$} | {:.digits$} to {:.digits$}", at(0.5), at(0.25), at(0.75))
}

/// The memory, in MiB, of what makes text of stacks; nothing if the profiler itself does.
fn walker(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{:.0}", bytes as f64 / MIB) }
}

/// Nanoseconds that one second under a profiler takes more from the load; NaN if it does not watch.
fn lost_ns(pair: &Pair) -> f64 {
    pair.with.lost_ns.zip(pair.without.lost_ns).map_or(f64::NAN, |(with, without)| with - without)
}

/// The time of all BPF programs in a second; NaN if there are none.
fn bpf_ns(watched: &Watched) -> f64 {
    let programs = &watched.programs;
    if programs.is_empty() { f64::NAN } else { programs.iter().map(|runs| runs.ns as f64).sum() }
}

/// Two digits behind the point; nothing for what was not measured.
fn figure(value: f64) -> String {
    if value.is_nan() { String::new() } else { format!("{value:.2}") }
}
