//! Which native frame ran which Python frames.
//!
//! The frames one activation of the interpreter's loop runs are followed by a marker, an address in the part of the C stack
//! that belongs to the activation. The native frame it lies in is the activation's: at or above its stack pointer, below
//! that of its caller. No name, no address of the loop and no calling convention comes into it.
//!
//! A thread that runs code of subinterpreters has a state in each, and the record the frames of one state after the other. Stacks
//! grow downwards, so the activation with the lowest marker is the innermost, whichever state it belongs to.

use profiler_common::python::{ENTRY_WORDS, NEXT_STATE};

use super::UserStack;
use crate::profile::PythonFrame;

/// Decodes entries of Python frames and markers into `frames`, each with the place of its native frame.
pub fn place_frames(entries: &[u64], user: &UserStack<'_>, frames: &mut Vec<PythonFrame>) {
    frames.clear();
    let mut begin = 0;
    let sorted = in_order(entries);
    let entries = sorted.as_deref().unwrap_or(entries);
    for entry in entries.chunks_exact(ENTRY_WORDS) {
        match *entry {
            [0, 0, 0] => {}
            [0, marker, _] => {
                let place = place_of(marker, user);
                frames[begin..].iter_mut().for_each(|frame| frame.place = place);
                begin = frames.len();
            }
            [code, instruction, fingerprint] => {
                frames.push(PythonFrame { code, instruction, fingerprint, place: None });
            }
            _ => {}
        }
    }
}

/// How many of the first entries are frames.
pub(super) fn count_frames(entries: &[u64], first: usize) -> u16 {
    entries.chunks_exact(ENTRY_WORDS).take(first).filter(|entry| entry[0] != 0).count() as u16
}

/// The entries with the activations from the innermost to the outermost; `None` if they are those of one state, which lie
/// so already, on whatever stacks its frames run. What has no marker stays at the end.
fn in_order(entries: &[u64]) -> Option<Vec<u64>> {
    let marker_of = |run: &[[u64; ENTRY_WORDS]]| match run.last() {
        Some([0, marker, _]) => *marker,
        _ => u64::MAX,
    };
    let (entries, _) = entries.as_chunks::<ENTRY_WORDS>();
    let states = entries.split(|entry| *entry == NEXT_STATE).filter(|state| !state.is_empty());
    states.clone().nth(1)?;
    let mut sorted: Vec<_> = states.flat_map(|state| state.split_inclusive(|[code, ..]| *code == 0)).collect();
    sorted.sort_by_key(|run| marker_of(run));
    Some(sorted.into_iter().flatten().flatten().copied().collect())
}

/// The native frame whose part of the stack an address lies in. Beyond the outermost frame there is none, unless the stack
/// is whole.
fn place_of(marker: u64, user: &UserStack<'_>) -> Option<u16> {
    let pointers = user.stack_pointers;
    let place = pointers.partition_point(|pointer| *pointer <= marker).checked_sub(1)?;
    let is_bounded = place + 1 < pointers.len() || user.ending == crate::profile::Ending::Complete;
    is_bounded.then_some(place as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Ending;

    fn places(entries: &[u64], ending: Ending) -> Vec<(u64, Option<u16>)> {
        let user =
            UserStack { addresses: &[1, 2, 3], stack_pointers: &[100, 200, 300], ending, ..UserStack::default() };
        let mut frames = Vec::new();
        place_frames(entries, &user, &mut frames);
        frames.iter().map(|frame| (frame.code, frame.place)).collect()
    }

    #[test]
    fn frames_take_the_place_of_the_native_frame_their_marker_lies_in() {
        let entries = [7, 0, 0, 8, 0, 0, 0, 150, 0, 9, 0, 0, 0, 200, 0];
        assert_eq!(places(&entries, Ending::Unreadable), [(7, Some(0)), (8, Some(0)), (9, Some(1))]);
    }

    #[test]
    fn the_activations_of_several_states_stand_in_the_order_of_the_stack() {
        let entries = [7, 0, 0, 0, 250, 0, 0, 0, 0, 8, 0, 0, 9, 0, 0, 0, 150, 0, 0, 0, 0];
        let expected = [(8, Some(0)), (9, Some(0)), (7, Some(1))];
        assert_eq!(places(&entries, Ending::Unreadable), expected);
        let without_end = [7, 0, 0, 0, 250, 0, 0, 0, 0, 8, 0, 0, 0, 150, 0, 9, 0, 0];
        assert_eq!(places(&without_end, Ending::Unreadable), [(8, Some(0)), (7, Some(1)), (9, None)]);
    }

    #[test]
    fn the_frames_of_one_state_keep_their_order_on_whatever_stacks_they_run() {
        let entries = [7, 0, 0, 0, 250, 0, 8, 0, 0, 0, 150, 0, 0, 0, 0];
        assert_eq!(places(&entries, Ending::Unreadable), [(7, Some(1)), (8, Some(0))]);
    }

    #[test]
    fn frames_without_a_marker_have_no_place() {
        assert_eq!(places(&[7, 0, 0, 0, 150, 0, 8, 0, 0], Ending::Complete), [(7, Some(0)), (8, None)]);
    }

    #[test]
    fn a_marker_outside_of_the_frames_that_are_known_is_no_place() {
        assert_eq!(places(&[7, 0, 0, 0, 50, 0], Ending::Complete), [(7, None)]);
        assert_eq!(places(&[7, 0, 0, 0, 350, 0], Ending::Unreadable), [(7, None)]);
        assert_eq!(places(&[7, 0, 0, 0, 350, 0], Ending::Complete), [(7, Some(2))]);
    }
}
