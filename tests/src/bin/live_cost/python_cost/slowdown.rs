//! How much slower a program becomes that is profiled: batches of the same work in one process, with profilerd and without.
//!
//! Whatever else changes the speed of a machine changes it slowly or hits both alike, so each batch under profilerd is compared
//! with one right beside it, once before it and once after it by turns.

use anyhow::Result;

use super::load::{Batch, Load, Running};

/// Rounds, of two comparisons each.
const ROUNDS: usize = 15;

/// The batches between two changes; one is too short for the times at which profilerd reads what it gathered.
const BATCHES: usize = 4;

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct Slowdown {
    /// Under profilerd, and without.
    pub(super) pairs: Vec<Pair>,
    /// Without it, one right after the other: what the method shows where there is nothing.
    pub(super) control: Vec<Pair>,
}

/// Two pieces of the same work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// The one in question.
    pub(super) with: Batch,
    /// What it is compared with.
    pub(super) without: Batch,
}

/// In each round: without, with, with, without.
pub(super) fn rounds(load: &Load) -> Result<Slowdown> {
    let mut running = load.start()?;
    running.batch()?;
    let (mut slowdown, mut last) = (Slowdown::default(), None);
    for _ in 0..ROUNDS {
        let before = piece(&mut running)?;
        slowdown.control.extend(last.map(|without| Pair { with: before, without }));
        let daemon = running.profile(&["--cache-dir", "none"])?;
        let with = [piece(&mut running)?, piece(&mut running)?];
        daemon.stop()?;
        let after = piece(&mut running)?;
        slowdown.pairs.extend([(with[0], before), (with[1], after)].map(|(with, without)| Pair { with, without }));
        last = Some(after);
    }
    Ok(slowdown)
}

/// Some batches as one.
fn piece(running: &mut Running) -> Result<Batch> {
    let mut sum = Batch { cpu_ns: 0.0, wall_ns: 0.0 };
    for _ in 0..BATCHES {
        let batch = running.batch()?;
        sum = Batch { cpu_ns: sum.cpu_ns + batch.cpu_ns, wall_ns: sum.wall_ns + batch.wall_ns };
    }
    Ok(sum)
}
