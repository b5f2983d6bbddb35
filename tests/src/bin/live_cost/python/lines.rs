//! Time by line of the program, from what each profiler prints, and how far two of them are apart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::program::FILE;

/// The line of what is on no line that is watched.
pub(super) const ELSEWHERE: u32 = 0;

/// Weights by line.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Lines(BTreeMap<u32, f64>);

impl Lines {
    /// Adds to a line.
    pub(super) fn add(&mut self, line: u32, weight: f64) {
        *self.0.entry(line).or_default() += weight;
    }

    /// Adds all of another.
    pub(super) fn add_all(&mut self, more: &Self) {
        more.0.iter().for_each(|(line, weight)| self.add(*line, *weight));
    }

    /// The weight of a line.
    pub(super) fn of(&self, line: u32) -> f64 {
        self.0.get(&line).copied().unwrap_or(0.0)
    }

    /// The weight of all.
    pub(super) fn sum(&self) -> f64 {
        self.0.values().sum()
    }

    /// Without these lines.
    pub(super) fn without(mut self, lines: &[u32]) -> Self {
        self.0.retain(|line, _| !lines.contains(line));
        self
    }

    /// The part of the time that stands on another line than in the truth: half the sum of all differences of shares.
    /// Lines the truth does not watch are elsewhere. NaN without any time.
    pub(super) fn error(&self, truth: &Self) -> f64 {
        let watched = |line: u32| if truth.0.contains_key(&line) { line } else { ELSEWHERE };
        let mut found = Self::default();
        self.0.iter().for_each(|(line, weight)| found.add(watched(*line), *weight));
        let lines: BTreeSet<u32> = found.0.keys().chain(truth.0.keys()).copied().collect();
        let apart = |line: u32| (found.of(line) / found.sum() - truth.of(line) / truth.sum()).abs();
        lines.into_iter().map(apart).sum::<f64>() / 2.0
    }
}

/// Of py-spy and Austin: `FRAME;FRAME;... WEIGHT`, outermost first, frames of `FUNCTION (FILE:LINE)` or `FILE:FUNCTION:LINE`.
/// What begins with `#` is a remark. The innermost frame of the program's own file counts.
pub(super) fn of_folded(text: &str) -> Lines {
    let mut lines = Lines::default();
    let stacks = text.lines().filter(|line| !line.starts_with('#'));
    for (frames, weight) in stacks.filter_map(|line| line.rsplit_once(' ')) {
        let Ok(weight) = weight.parse() else { continue };
        let innermost = frames.rsplit(';').find(|frame| frame.contains(FILE));
        lines.add(innermost.and_then(line_of).unwrap_or(ELSEWHERE), weight);
    }
    lines
}

fn line_of(frame: &str) -> Option<u32> {
    frame.trim_end_matches(')').rsplit(':').next()?.parse().ok()
}

/// Of profilerd's hotspots by line: CPU time, and time.
pub(super) fn of_hotspots(answer: &Value) -> [Lines; 2] {
    let (mut cpu, mut wall) = (Lines::default(), Lines::default());
    for row in answer["rows"].as_array().into_iter().flatten() {
        let is_own = row["file"].as_str().is_some_and(|file| file.ends_with(FILE));
        let line = row["line"].as_u64().filter(|_| is_own).map_or(ELSEWHERE, |line| line as u32);
        let on_cpu = row["cpu_ns"].as_object().into_iter().flatten().filter_map(|(_, ns)| ns.as_f64());
        cpu.add(line, on_cpu.sum());
        wall.add(line, row["total_ns"].as_f64().unwrap_or(0.0));
    }
    [cpu, wall]
}

/// Of Scalene's JSON: CPU time is its time in Python and in C, and time that and its "system" time.
pub(super) fn of_scalene(answer: &Value) -> [Lines; 2] {
    let (mut cpu, mut wall) = (Lines::default(), Lines::default());
    let files = answer["files"].as_object().into_iter().flatten().filter(|(name, _)| name.ends_with(FILE));
    for row in files.filter_map(|(_, file)| file["lines"].as_array()).flatten() {
        let line = row["lineno"].as_u64().map_or(ELSEWHERE, |line| line as u32);
        let part = |name: &str| row[name].as_f64().unwrap_or(0.0);
        let on_cpu = part("n_cpu_percent_python") + part("n_cpu_percent_c");
        cpu.add(line, on_cpu);
        wall.add(line, on_cpu + part("n_sys_percent"));
    }
    [cpu, wall]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(pairs: &[(u32, f64)]) -> Lines {
        Lines(pairs.iter().copied().collect())
    }

    #[test]
    fn both_ways_to_write_a_frame_give_the_innermost_line_of_the_program() {
        let spy = "main (line_costs.py:9);wait (line_costs.py:5);run (library.py:77) 3\n";
        let austin = "# mode: wall\nP1;T0:1;/a/line_costs.py:main:9;/a/line_costs.py:wait:5;/b/library.py:run:77 3\n# duration: 900\n";
        assert_eq!((of_folded(spy), of_folded(austin)), (lines(&[(5, 3.0)]), lines(&[(5, 3.0)])));
    }

    #[test]
    fn a_stack_without_the_program_is_elsewhere() {
        assert_eq!(of_folded("run (library.py:77) 3\n"), lines(&[(ELSEWHERE, 3.0)]));
    }

    #[test]
    fn the_error_is_the_part_that_stands_on_a_wrong_line() {
        let truth = lines(&[(5, 6.0), (7, 4.0)]);
        assert!(lines(&[(5, 60.0), (7, 40.0)]).error(&truth) < 1e-9);
        assert!((lines(&[(5, 3.0), (8, 3.0), (7, 4.0)]).error(&truth) - 0.3).abs() < 1e-9);
        assert!(lines(&[]).error(&truth).is_nan());
    }

    #[test]
    fn hotspots_give_cpu_time_and_time() {
        let row =
            json!({ "file": "/a/line_costs.py", "line": 5, "cpu_ns": { "python": 2, "native": 1 }, "total_ns": 9 });
        let native = json!({ "file": null, "line": null, "cpu_ns": { "native": 4 }, "total_ns": 4 });
        let [cpu, wall] = of_hotspots(&json!({ "rows": [row, native] }));
        assert_eq!((cpu, wall), (lines(&[(0, 4.0), (5, 3.0)]), lines(&[(0, 4.0), (5, 9.0)])));
    }

    #[test]
    fn scalene_counts_python_and_c_as_cpu_time() {
        let row = json!({ "lineno": 5, "n_cpu_percent_python": 1.0, "n_cpu_percent_c": 2.0, "n_sys_percent": 4.0 });
        let [cpu, wall] = of_scalene(&json!({ "files": { "/a/line_costs.py": { "lines": [row] } } }));
        assert_eq!((cpu, wall), (lines(&[(5, 3.0)]), lines(&[(5, 7.0)])));
    }
}
