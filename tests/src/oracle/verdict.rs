//! One sampled stack against the oracle's.
//!
//! The record's addresses are the oracle's, with three differences that are meant:
//!
//! - A frame that a signal interrupted is one byte further in the record: it is not a return address, and every frame
//!   but the leaf has one byte taken off before it is named.
//! - The leaf of a thread in a system call that is to be started again may be two bytes further: the kernel winds it
//!   back between the sample and the stop.
//! - A thread on its way back from a signal handler may be sampled in the system call that ends it, and stop where it
//!   is back: the trampoline is a frame more.

use std::ops::Range;

use profiler_common::limits::{FRAMES_PER_PROGRAM, LEAF_FRAMES, WALK_PROGRAMS};
use profiler_daemon::profile::Ending;

use super::{End, Frame, Pair};

/// The frames of the deepest walk.
const DEEPEST: usize = (FRAMES_PER_PROGRAM * WALK_PROGRAMS) as usize;

/// The bytes of a `syscall` instruction.
const SYSCALL_BYTES: u64 = 2;

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Frame by frame the same, to the outermost. Of a deep stack, all that was kept.
    Identical,
    /// The same as far as it goes, but it ends early, for this reason.
    Truncated(Ending),
    /// It goes on where the oracle gave up.
    Longer,
    /// The tables of the process were not loaded yet.
    Unprepared,
    /// It differs just beyond a frame of which nothing is said, where the oracle guessed. Someone else must settle
    /// that.
    Guessed,
    /// Frames differ, or the record says it is whole and it is not.
    Different,
}

/// A pair, brought to the same form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// What was found.
    pub verdict: Verdict,
    /// The addresses the record should have.
    pub expected: Vec<u64>,
    /// The first place where it has not.
    pub first_difference: Option<usize>,
}

/// Compares a pair.
pub fn judge(pair: &Pair) -> Compared {
    let expected = form_expected(pair);
    let first_difference = first_difference(&pair.sample.user, &expected);
    let verdict = match first_difference {
        _ if pair.sample.ending == Ending::Unprepared => Verdict::Unprepared,
        Some(at) if is_after_guess(pair, at) => Verdict::Guessed,
        Some(_) => Verdict::Different,
        None => judge_end(pair, pair.sample.user.len(), expected.len()),
    };
    Compared { verdict, expected, first_difference }
}

fn is_after_guess(pair: &Pair, at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| pair.stop.frames.get(before));
    before.is_some_and(|frame| frame.guessed)
}

/// What is left to say of stacks that are the same as far as both go.
fn judge_end(pair: &Pair, found: usize, expected: usize) -> Verdict {
    let is_known = pair.stop.end == End::Whole;
    match pair.sample.ending {
        _ if found > expected => {
            if is_known {
                Verdict::Different
            } else {
                Verdict::Longer
            }
        }
        Ending::Complete if found < expected => Verdict::Different,
        Ending::Complete => Verdict::Identical,
        _ if found == expected && !is_known => Verdict::Identical,
        ending => Verdict::Truncated(ending),
    }
}

/// The addresses a record should have for the oracle's frames, in the form that fits what was found.
fn form_expected(pair: &Pair) -> Vec<u64> {
    let (found, mut expected) = (&pair.sample.user[..], expected(&pair.stop.frames));
    if returns_from_handler(found, &expected) {
        expected[0] += 1;
        expected.insert(0, found[0]);
    }
    if pair.sample.ending == Ending::TooDeep {
        expected.truncate(DEEPEST);
    }
    if pair.sample.has_gap && expected.len() > found.len() {
        expected.drain(gap(found.len(), expected.len()));
    }
    if let Some(leaf) = expected.first_mut()
        && found.first() == Some(&(*leaf + SYSCALL_BYTES))
    {
        *leaf += SYSCALL_BYTES;
    }
    expected
}

/// Whether the second frame found is the oracle's leaf, as an interrupted frame.
fn returns_from_handler(found: &[u64], expected: &[u64]) -> bool {
    let (Some(first), Some(leaf)) = (found.first(), expected.first()) else { return false };
    first != leaf && found.get(1) == Some(&(leaf + 1))
}

/// The addresses a record should have for the oracle's frames.
pub fn expected(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.pc + u64::from(frame.interrupted)).collect()
}

/// The frames in the middle that are not kept.
fn gap(kept: usize, walked: usize) -> Range<usize> {
    LEAF_FRAMES..LEAF_FRAMES + (walked - kept)
}

/// The first place within both where they differ.
fn first_difference(found: &[u64], expected: &[u64]) -> Option<usize> {
    found.iter().zip(expected).position(|(found, expected)| found != expected)
}

#[cfg(test)]
mod tests {
    use super::super::stop::Why;
    use super::super::{Sample, Stop};
    use super::*;

    fn frame(pc: u64, interrupted: bool, guessed: bool) -> Frame {
        Frame { pc, interrupted, generated: false, guessed }
    }

    fn judged(user: &[u64], ending: Ending, has_gap: bool, end: End, frames: &[(u64, bool)]) -> Verdict {
        let frames = frames.iter().map(|(pc, interrupted)| frame(*pc, *interrupted, false));
        let why = Why::Signal(19);
        let stop = Stop { pid: 1, tid: 1, stopped_ns: 2, resumed_ns: 3, why, end, frames: frames.collect() };
        let sample = Sample { user: user.to_vec(), ending, has_gap, ..Sample::default() };
        judge(&Pair { sample: &sample, stop: &stop }).verdict
    }

    fn verdict(user: &[u64], ending: Ending, end: End) -> Verdict {
        judged(user, ending, false, end, &[(100, false), (200, true), (300, false)])
    }

    #[test]
    fn an_interrupted_frame_is_a_byte_further_and_a_restarted_call_two() {
        let whole = |user: &[u64]| verdict(user, Ending::Complete, End::Whole);
        assert_eq!(whole(&[100, 201, 300]), Verdict::Identical);
        assert_eq!(whole(&[102, 201, 300]), Verdict::Identical);
        assert_eq!(whole(&[100, 200, 300]), Verdict::Different);
        assert_eq!(whole(&[101, 201, 300]), Verdict::Different);
        assert_eq!(whole(&[102, 201, 302]), Verdict::Different);
        assert_eq!(whole(&[98, 201, 300]), Verdict::Different);
    }

    #[test]
    fn a_thread_that_returns_from_a_handler_has_the_trampoline_more() {
        let whole = |user: &[u64]| verdict(user, Ending::Complete, End::Whole);
        assert_eq!(whole(&[7, 101, 201, 300]), Verdict::Identical);
        assert_eq!(whole(&[7, 100, 201, 300]), Verdict::Different);
        assert_eq!(whole(&[7, 101, 201]), Verdict::Different);
        assert_eq!(whole(&[7, 8, 101, 201, 300]), Verdict::Different);
    }

    #[test]
    fn a_stack_that_ends_early_is_truncated_if_it_says_so_and_different_if_it_does_not() {
        let no_rule = Verdict::Truncated(Ending::NoRule);
        assert_eq!(verdict(&[100, 201], Ending::NoRule, End::Whole), no_rule);
        assert_eq!(verdict(&[], Ending::NoRule, End::Whole), no_rule);
        assert_eq!(verdict(&[100, 201, 300], Ending::NoRule, End::Whole), no_rule);
        assert_eq!(verdict(&[100, 201], Ending::Complete, End::Whole), Verdict::Different);
        assert_eq!(verdict(&[100, 202], Ending::NoRule, End::Whole), Verdict::Different);
    }

    #[test]
    fn a_stack_with_a_gap_is_identical_if_both_its_ends_are() {
        let frames: Vec<(u64, bool)> = (0..200).map(|at| (1000 + at, false)).collect();
        let both_ends: Vec<u64> = (1000..1128).chain(1192 - 56..1200).collect();
        let whole = |user: &[u64]| judged(user, Ending::Complete, true, End::Whole, &frames);
        assert_eq!(whole(&both_ends), Verdict::Identical);
        assert_eq!(whole(&(1000..1192).collect::<Vec<_>>()), Verdict::Different);
    }

    #[test]
    fn a_stack_that_is_too_deep_keeps_the_outermost_frames_that_were_walked() {
        let walked = 1000 + DEEPEST as u64;
        let frames: Vec<(u64, bool)> = (1000..walked + 50).map(|address| (address, false)).collect();
        let kept: Vec<u64> = (1000..1128).chain(walked - 64..walked).collect();
        let too_deep = judged(&kept, Ending::TooDeep, true, End::Whole, &frames);
        assert_eq!(too_deep, Verdict::Truncated(Ending::TooDeep));
    }

    #[test]
    fn a_difference_after_a_guess_is_not_decided() {
        let frames = vec![frame(100, false, true), frame(200, false, false), frame(300, false, false)];
        let why = Why::Signal(19);
        let stop = Stop { pid: 1, tid: 1, stopped_ns: 2, resumed_ns: 3, why, end: End::Whole, frames };
        let verdict = |user: &[u64]| {
            let sample = Sample { user: user.to_vec(), ..Sample::default() };
            judge(&Pair { sample: &sample, stop: &stop }).verdict
        };
        assert_eq!(verdict(&[100, 150, 200, 300]), Verdict::Guessed);
        assert_eq!(verdict(&[100, 200, 250, 300]), Verdict::Different);
        assert_eq!(verdict(&[100, 200, 300]), Verdict::Identical);
    }

    #[test]
    fn a_longer_stack_is_different_unless_the_oracle_gave_up() {
        assert_eq!(verdict(&[100, 201, 300, 9], Ending::Complete, End::Whole), Verdict::Different);
        assert_eq!(verdict(&[100, 201, 300, 9], Ending::Complete, End::Broken), Verdict::Longer);
        assert_eq!(verdict(&[100, 201, 300], Ending::Unreadable, End::Broken), Verdict::Identical);
    }

    #[test]
    fn a_stack_taken_before_the_tables_were_there_is_not_held_against_them() {
        assert_eq!(verdict(&[100, 999], Ending::Unprepared, End::Whole), Verdict::Unprepared);
    }
}
