//! Figures with stated errors: what an application's own statistics say against what the daemon says.

use std::fmt;

use anyhow::{Result, ensure};

use crate::books::FunctionRow;
use crate::host::tell;

/// Standard errors two figures may be apart by chance; with some thirty of them, one in fifty thousand runs has one further
/// apart.
const ERRORS: f64 = 5.0;

/// What one sample of the timer stands for, in seconds: where none fell, a row says nothing of less, nor does its error.
const TIMER: f64 = 1.0 / 97.0;

/// A value, and how far it may be off: by chance, and for certain.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub stderr: f64,
    /// What else it may be off by at the most: how a source rounds, or when it was asked.
    pub bound: f64,
}

impl Estimate {
    /// A value that is what it says.
    pub fn exact(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// What a row says of its whole time, in seconds.
    pub fn total_of(row: &FunctionRow) -> Self {
        Self { value: row.total as f64 / 1e9, stderr: (row.stderr as f64 / 1e9).hypot(TIMER), bound: 0.0 }
    }

    /// What a row says of its waits and the queueing for a CPU at their ends, in seconds.
    pub fn waiting_of(row: &FunctionRow) -> Self {
        Self { value: (row.wait_sum() + row.runq) as f64 / 1e9, ..Self::total_of(row) }
    }

    /// The middle of two values between which it is.
    pub fn between(least: f64, most: f64) -> Self {
        Self { value: (least + most) / 2.0, stderr: 0.0, bound: (most - least) / 2.0 }
    }

    /// The same, off by as much more at the most.
    pub fn within(self, bound: f64) -> Self {
        Self { bound: self.bound + bound, ..self }
    }

    /// The mean of looks at random moments, which is what a sampler says of the time between: its error is that of their number,
    /// whatever there was to see.
    pub fn mean(looks: &[f64]) -> Self {
        let count = looks.len().max(2) as f64;
        let value = looks.iter().sum::<f64>() / count;
        let squares: f64 = looks.iter().map(|one| (one - value).powi(2)).sum();
        Self { value, stderr: (squares / (count - 1.0) / count).sqrt(), bound: 0.0 }
    }

    /// Whether it may be as much as that.
    pub fn may_reach(self, least: f64) -> bool {
        self.value + ERRORS * self.stderr + self.bound >= least
    }

    /// All of it as part of an exact total.
    pub fn part_of(self, total: f64) -> Self {
        Self { value: self.value / total, stderr: self.stderr / total, bound: self.bound / total }
    }
}

impl std::ops::Sub for Estimate {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + Self { value: -other.value, ..other }
    }
}

impl std::ops::Add for Estimate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let stderr = self.stderr.hypot(other.stderr);
        Self { value: self.value + other.value, stderr, bound: self.bound + other.bound }
    }
}

/// One figure from both sides.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What it is.
    pub what: String,
    /// What the application says.
    pub own: Estimate,
    /// What the daemon says.
    pub found: Estimate,
}

impl Figure {
    /// A figure from both sides.
    pub fn new(what: impl Into<String>, own: Estimate, found: Estimate) -> Self {
        Self { what: what.into(), own, found }
    }

    /// How far both may be apart.
    fn most_apart(&self) -> f64 {
        ERRORS * self.own.stderr.hypot(self.found.stderr) + self.own.bound + self.found.bound
    }

    fn agrees(&self) -> bool {
        (self.own.value - self.found.value).abs() <= self.most_apart()
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, own, found } = self;
        let apart = self.most_apart();
        write!(f, "{what:<44} itself {:>9.4}, profilerd {:>9.4}, may be {apart:.4} apart", own.value, found.value)
    }
}

/// Prints all figures, and fails with those that are further apart than both sides' errors allow.
pub fn check_agreement(figures: &[Figure]) -> Result<()> {
    figures.iter().for_each(|figure| tell(&format!("  {figure}")));
    let apart: Vec<_> = figures.iter().filter(|figure| !figure.agrees()).map(ToString::to_string).collect();
    ensure!(apart.is_empty(), "too far apart:\n{}", apart.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_looks_of_which_half_saw_it_are_five_per_cent_off() {
        let looks: Vec<_> = (0..100).map(|at| f64::from(at % 2)).collect();
        let seen = Estimate::mean(&looks);
        assert!(seen.value == 0.5 && (seen.stderr - 0.05).abs() < 1e-3, "{seen:?}");
    }

    #[test]
    fn figures_agree_within_the_errors_of_both() {
        let own = Estimate { value: 1.0, stderr: 0.03, bound: 0.1 };
        let found = Estimate { value: 1.34, stderr: 0.04, bound: 0.0 };
        assert!(Figure::new("", own, found).agrees());
        assert!(!Figure::new("", own, Estimate { value: 1.36, ..found }).agrees());
    }
}
