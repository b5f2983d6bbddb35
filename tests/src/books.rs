//! The JSON of `breakdown` and `hotspots`, read back into numbers; a missing key is an error.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Nanoseconds by name.
pub type ByName = BTreeMap<String, u64>;

/// One row of a breakdown: the exact books of a process, summed over its threads, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its threads.
    pub threads: u64,
    /// The sum of all states, as printed.
    pub wall: u64,
    /// On a CPU.
    pub cpu: u64,
    /// Waiting for a CPU.
    pub runq: u64,
    /// Held back by a quota.
    pub throttled: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
    /// Blocked, by class.
    pub wait: ByName,
    /// The part of the waits that is idle.
    pub idle: u64,
    /// Chosen for a stack, but refused by the cap.
    pub unattributed: u64,
    /// The part of the waits that began before the attach.
    pub began_before_attach: u64,
}

impl Books {
    /// Every row of the answer to `breakdown`.
    pub fn parse_rows(answer: &Value) -> Result<Vec<Self>> {
        rows(answer)?.iter().map(Self::parse).collect()
    }

    fn parse(row: &Value) -> Result<Self> {
        Ok(Self {
            pid: number(row, "pid")? as u32,
            comm: text(row, "comm")?.context("a row has no comm")?,
            threads: number(row, "threads")?,
            wall: number(row, "wall_ns")?,
            cpu: number(row, "cpu_ns")?,
            runq: number(row, "runq_ns")?,
            throttled: number(row, "throttled_ns")?,
            steal: number(row, "steal_ns")?,
            wait: numbers(row, "wait_ns")?,
            idle: number(row, "idle_ns")?,
            unattributed: number(row, "unattributed_ns")?,
            began_before_attach: number(row, "began_before_attach_ns").unwrap_or(0),
        })
    }

    /// The nanoseconds of a wait class.
    pub fn waited(&self, class: &str) -> u64 {
        self.wait.get(class).copied().unwrap_or(0)
    }

    /// The sum of all states, computed here.
    pub fn sum(&self) -> u64 {
        self.cpu + self.runq + self.throttled + self.steal + self.wait.values().sum::<u64>()
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            wall: self.wall.saturating_sub(earlier.wall),
            cpu: self.cpu.saturating_sub(earlier.cpu),
            runq: self.runq.saturating_sub(earlier.runq),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            steal: self.steal.saturating_sub(earlier.steal),
            wait: self.wait.iter().map(|(k, v)| (k.clone(), v.saturating_sub(earlier.waited(k)))).collect(),
            idle: self.idle.saturating_sub(earlier.idle),
            unattributed: self.unattributed.saturating_sub(earlier.unattributed),
            began_before_attach: self.began_before_attach.saturating_sub(earlier.began_before_attach),
            ..self.clone()
        }
    }
}

/// The answer to `hotspots`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hotspots {
    /// All time of the selection.
    pub total: u64,
    /// Refused by the cap.
    pub unattributed: u64,
    /// Losses by reason, as counts.
    pub loss: ByName,
    /// The rows.
    pub rows: Vec<FunctionRow>,
}

/// One row of `hotspots`, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionRow {
    /// The function.
    pub function: String,
    /// Its source file, where known.
    pub file: Option<String>,
    /// Its line, where known.
    pub line: Option<u64>,
    /// On a CPU, by kind of code.
    pub cpu: ByName,
    /// Waiting for a CPU.
    pub runq: u64,
    /// Blocked, by class.
    pub wait: ByName,
    /// All of it.
    pub total: u64,
    /// The standard error of `total`.
    pub stderr: u64,
    /// Captures behind it.
    pub samples: u64,
    /// The greatest wait class.
    pub top_wait: Option<String>,
}

impl Hotspots {
    /// Reads the answer.
    pub fn parse(answer: &Value) -> Result<Self> {
        Ok(Self {
            total: number(answer, "total_ns")?,
            unattributed: number(answer, "unattributed_ns")?,
            loss: numbers(answer, "loss")?,
            rows: rows(answer)?.iter().map(FunctionRow::parse).collect::<Result<_>>()?,
        })
    }

    /// The row of a function. A name may be qualified: `Workload.compute` matches `compute`.
    pub fn row(&self, function: &str) -> Option<&FunctionRow> {
        self.rows.iter().find(|row| row.is_function(function))
    }

    /// The functions that are rows, for messages.
    pub fn names(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.function.as_str()).collect()
    }
}

impl FunctionRow {
    /// Reads a row.
    pub fn parse(row: &Value) -> Result<Self> {
        Ok(Self {
            function: text(row, "function")?.context("a row has no function")?,
            file: text(row, "file")?,
            line: row.get("line").context("a row has no line")?.as_u64(),
            cpu: numbers(row, "cpu_ns")?,
            runq: number(row, "runq_ns")?,
            wait: numbers(row, "wait_ns")?,
            total: number(row, "total_ns")?,
            stderr: number(row, "stderr_ns")?,
            samples: number(row, "samples")?,
            top_wait: text(row, "top_wait")?,
        })
    }

    /// On a CPU, all kinds of code.
    pub fn cpu_sum(&self) -> u64 {
        self.cpu.values().sum()
    }

    /// Blocked, all classes.
    pub fn wait_sum(&self) -> u64 {
        self.wait.values().sum()
    }

    /// The nanoseconds of a wait class.
    pub fn waited(&self, class: &str) -> u64 {
        self.wait.get(class).copied().unwrap_or(0)
    }

    /// Whether `class` is what the function is about. A wait must be the longest of the waits: how much CPU the kernel needs
    /// beside it is the machine's affair. `cpu` must exceed every wait, `runq` the CPU time too.
    pub fn is_mostly(&self, class: &str) -> bool {
        let longest = self.wait.values().copied().max().unwrap_or(0);
        match class {
            "cpu" => self.cpu_sum() > longest,
            "runq" => self.runq > longest.max(self.cpu_sum()),
            wait => longest > 0 && self.waited(wait) == longest,
        }
    }

    fn is_function(&self, name: &str) -> bool {
        self.function.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name)
    }
}

/// The rows of an answer.
pub fn rows(answer: &Value) -> Result<&Vec<Value>> {
    answer.get("rows").and_then(Value::as_array).context("the answer has no rows")
}

fn number(row: &Value, key: &str) -> Result<u64> {
    row.get(key).and_then(Value::as_u64).with_context(|| format!("`{key}` is not a count in {row}"))
}

fn numbers(row: &Value, key: &str) -> Result<ByName> {
    let fields = row.get(key).and_then(Value::as_object).with_context(|| format!("`{key}` is missing in {row}"))?;
    fields.keys().map(|name| Ok((name.clone(), number(&row[key], name)?))).collect()
}

fn text(row: &Value, key: &str) -> Result<Option<String>> {
    let value = row.get(key).with_context(|| format!("`{key}` is missing in {row}"))?;
    ensure!(value.is_null() || value.is_string(), "`{key}` is no text in {row}");
    Ok(value.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_mostly_its_longest_wait_or_what_exceeds_that() {
        let wait = ByName::from([("net".into(), 30), ("disk".into(), 10)]);
        let row = FunctionRow { cpu: ByName::from([("native".into(), 20)]), runq: 40, wait, ..Default::default() };
        assert!(row.is_mostly("net") && row.is_mostly("runq"));
        assert!(!row.is_mostly("disk") && !row.is_mostly("cpu"));
        assert!(!FunctionRow::default().is_mostly("net"));
    }

    #[test]
    fn a_qualified_name_is_found_by_its_last_word_but_not_by_a_part_of_a_word() {
        let row = FunctionRow { function: "Workload.compute(int)".into(), ..Default::default() };
        assert!(row.is_function("compute") && !row.is_function("comp"));
    }
}
