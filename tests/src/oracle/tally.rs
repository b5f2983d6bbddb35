//! How many stacks were identical, how many were not and why, and the first differences in full.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use super::pairs::{Pair, Pairs, pair};
use super::verdict::{Compared, judge};
use super::{End, Moment, Places, Sample, Verdict, Walks};

/// Differences that are shown in full, of stacks through generated code and of others.
const SHOWN: usize = 10;
/// Frames that are shown around a difference.
const AROUND: usize = 6;

/// Verdicts and how often each was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts(BTreeMap<Verdict, usize>);

/// The outcome of a comparison.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    name: String,
    took: Duration,
    /// Stacks through code of files alone, which the oracle walked whole.
    pub plain: Counts,
    /// Stacks through generated code.
    pub generated: Counts,
    /// Stacks of which the oracle does not know the end.
    pub unknown: Counts,
    on_cpu: usize,
    off_cpu: usize,
    same_leaf: usize,
    depths: Vec<usize>,
    unpaired: Unpaired,
    shown: Vec<String>,
    shown_generated: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Unpaired {
    stopped: usize,
    repeated: usize,
    unlike_the_last: usize,
    without_stop: usize,
    without_sample: usize,
}

impl Counts {
    /// How many were judged: all but those taken before there were tables.
    pub fn judged(&self) -> usize {
        self.0.iter().filter(|(verdict, _)| **verdict != Verdict::Unprepared).map(|(_, count)| count).sum()
    }

    /// How often a verdict was found.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.0.get(&verdict).copied().unwrap_or(0)
    }

    /// How many ended early and said so.
    pub fn truncated(&self) -> usize {
        let truncated = |verdict: &Verdict| matches!(verdict, Verdict::Truncated(_));
        self.0.iter().filter(|(verdict, _)| truncated(verdict)).map(|(_, count)| count).sum()
    }

    /// The part of those judged, from 0 to 1, that `count` is.
    pub fn part(&self, count: usize) -> f64 {
        count as f64 / self.judged().max(1) as f64
    }

    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_default() += 1;
    }
}

impl Tally {
    /// Pairs samples with stops and judges each pair.
    pub fn of(name: String, samples: &[Sample], walks: &Walks, took: Duration) -> Self {
        let Pairs { pairs, repeated, unlike_the_last, without_stop, without_sample } = pair(samples, &walks.stops);
        let unpaired = Unpaired { stopped: 0, repeated, unlike_the_last, without_stop, without_sample };
        let mut tally = Self { name, took, unpaired, ..Self::default() };
        for pair in &pairs {
            tally.add(pair, &walks.places);
        }
        tally.depths.sort_unstable();
        tally
    }

    fn add(&mut self, pair: &Pair, places: &Places) {
        let compared = judge(pair);
        match pair.sample.moment {
            Moment::OnCpu => self.on_cpu += 1,
            Moment::OffCpu => self.off_cpu += 1,
            // The same stack once more.
            Moment::Stopped => return self.unpaired.stopped += 1,
        }
        self.same_leaf += usize::from(compared.first_difference != Some(0) && !pair.sample.user.is_empty());
        self.depths.push(pair.stop.frames.len());
        let is_generated = pair.stop.is_through_generated_code();
        let counts = match pair.stop.end {
            _ if is_generated => &mut self.generated,
            End::Whole => &mut self.plain,
            _ => &mut self.unknown,
        };
        counts.add(compared.verdict);
        let shown = if is_generated { &mut self.shown_generated } else { &mut self.shown };
        let is_shown = !matches!(compared.verdict, Verdict::Identical | Verdict::Unprepared);
        if is_shown && shown.len() < SHOWN {
            shown.push(show(pair, &compared, places));
        }
    }

    /// The differences to look at, in full.
    pub fn differences(&self) -> &[String] {
        &self.shown
    }

    /// The part of all stacks, from 0 to 1, that were taken at the very instruction where the oracle walked.
    pub fn same_leaf(&self) -> f64 {
        self.same_leaf as f64 / self.depths.len().max(1) as f64
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identical => f.write_str("identical"),
            Self::Truncated(ending) => write!(f, "truncated ({ending:?})"),
            Self::Longer => f.write_str("longer than the oracle's"),
            Self::Unprepared => f.write_str("unprepared"),
            Self::Guessed => f.write_str("different after a guess of the oracle's"),
            Self::Different => f.write_str("different"),
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} judged", self.judged())?;
        for (verdict, count) in &self.0 {
            write!(f, ", {count} {verdict} ({:.3} %)", 100.0 * self.part(*count))?;
        }
        Ok(())
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { name, on_cpu, off_cpu, same_leaf, plain, generated, unknown, .. } = self;
        let (all, seconds) = (self.depths.len(), self.took.as_secs_f64());
        writeln!(
            f,
            "{name}: {all} stacks in {seconds:.1} s: {on_cpu} on CPU, {off_cpu} off CPU, {same_leaf} with the same leaf"
        )?;
        writeln!(f, "  {plain}")?;
        writeln!(f, "  through generated code: {generated}; where the oracle gave up: {unknown}")?;
        let depth = |part: usize| self.depths.get(self.depths.len().saturating_sub(1) * part / 100).unwrap_or(&0);
        writeln!(
            f,
            "  frames: half of the stacks have {}, one in a hundred {}, the deepest {}",
            depth(50),
            depth(99),
            depth(100)
        )?;
        let Unpaired { stopped, repeated, unlike_the_last, without_stop, without_sample } = self.unpaired;
        write!(
            f,
            "  not compared: {stopped} samples of a stop, {repeated} again before the same stop, \
             {unlike_the_last} so but unlike, {without_stop} without a stop; {without_sample} stops without a sample"
        )?;
        self.shown.iter().chain(&self.shown_generated).try_for_each(|shown| write!(f, "\n{shown}"))
    }
}

/// Both stacks around the first difference.
fn show(pair: &Pair, compared: &Compared, places: &Places) -> String {
    let (sample, stop, expected) = (pair.sample, pair.stop, &compared.expected);
    let at = compared.first_difference.unwrap_or(sample.user.len().min(expected.len()));
    let mut text = format!(
        "  {}, process {} thread {}, {:?}: {} frames ({:?}), the oracle {} ({:?}, {:?}), from frame {at} on",
        compared.verdict,
        stop.pid,
        stop.tid,
        sample.moment,
        sample.user.len(),
        sample.ending,
        expected.len(),
        stop.end,
        stop.why
    );
    let place = |address: Option<&u64>| address.map_or_else(|| "-".into(), |address| places.show(stop.pid, *address));
    for frame in at.saturating_sub(AROUND)..(at + AROUND).min(sample.user.len().max(expected.len())) {
        let mark = if frame == at { '>' } else { ' ' };
        let (found, wanted) = (place(sample.user.get(frame)), place(expected.get(frame)));
        text += &format!("\n   {mark}{frame:4} {found:<48} {wanted}");
    }
    text
}

#[cfg(test)]
mod tests {
    use profiler_daemon::profile::Ending;

    use super::super::stop::{Frame, Why};
    use super::super::{Sample, Stop};
    use super::*;

    fn stop(at_ns: u64, pcs: &[u64], generated: bool, end: End) -> Stop {
        let frames = pcs.iter().map(|pc| Frame { pc: *pc, interrupted: false, generated, guessed: false }).collect();
        Stop { pid: 1, tid: 2, stopped_ns: at_ns, resumed_ns: at_ns + 1, why: Why::Signal(19), end, frames }
    }

    fn sample(at_ns: u64, user: &[u64], ending: Ending) -> Sample {
        Sample { tid: 2, at_ns, user: user.to_vec(), ending, ..Sample::default() }
    }

    #[test]
    fn stacks_are_counted_by_where_they_went_and_how_they_compare() {
        let samples = [
            sample(10, &[1, 2], Ending::Complete),
            sample(20, &[1], Ending::NoRule),
            sample(30, &[1, 9], Ending::Complete),
            sample(40, &[1], Ending::Complete),
            sample(50, &[1, 2], Ending::Unmapped),
            sample(60, &[1], Ending::Unprepared),
        ];
        let stops = vec![
            stop(11, &[1, 2], false, End::Whole),
            stop(21, &[1, 2], false, End::Whole),
            stop(31, &[1, 2], false, End::Whole),
            stop(41, &[1, 2], true, End::Whole),
            stop(51, &[1, 2], false, End::Broken),
            stop(61, &[1, 2], false, End::Whole),
        ];
        let walks = Walks { stops, places: Places::default() };
        let tally = Tally::of("test".into(), &samples, &walks, Duration::ZERO);
        assert_eq!((tally.plain.judged(), tally.plain.truncated()), (3, 1));
        assert_eq!((tally.plain.of(Verdict::Identical), tally.plain.of(Verdict::Different)), (1, 1));
        assert_eq!((tally.generated.of(Verdict::Different), tally.unknown.of(Verdict::Identical)), (1, 1));
        assert_eq!(tally.differences().len(), 2);
        assert!(tally.to_string().contains("truncated (NoRule)"), "{tally}");
    }
}
