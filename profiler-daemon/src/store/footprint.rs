//! How much heap a set of windows takes, with everything they share counted once.
//!
//! Windows share stacks, frames, tasks and strings behind `Arc`s. [`Footprint`] counts the users of each shared
//! allocation by its address: the first user adds its size, the last one takes it away. An allocation that something
//! else keeps alive as well (a symbolizer's cache) counts in full, because dropping the windows may not free it but
//! nothing else is bounded by this room.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use crate::profile::{
    Frame, LoopWaits, Name, NamedWaker, Profile, Sample, SourceLine, Stack, Task, TaskTotals, WaitLengths,
};

/// The two counters in front of the value behind an `Arc`.
const ARC_HEADER: usize = 2 * size_of::<usize>();
/// What the allocator adds to an allocation, at most, for its own books and for alignment.
const ALLOCATOR_OVERHEAD: usize = 16;
/// What this room's own book of one shared allocation takes: a hash map slot at its usual load.
const LEDGER_ENTRY: usize = 2 * size_of::<(usize, usize)>();

/// The heap taken by the windows added so far and not yet removed, in bytes.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    users: HashMap<usize, usize>,
    bytes: usize,
}

impl Footprint {
    /// The heap taken now, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts a window. The caller must keep it alive until it is removed: addresses are identities meanwhile.
    pub(super) fn add(&mut self, window: &Profile) {
        self.bytes += own_bytes(window);
        window.stacks.iter().for_each(|stack| self.add_stack(stack));
        window.tasks.iter().for_each(|task| self.add_task(task));
    }

    /// Takes away a window that was added.
    pub(super) fn remove(&mut self, window: &Profile) {
        self.bytes -= own_bytes(window);
        window.stacks.iter().for_each(|stack| self.remove_stack(stack));
        window.tasks.iter().for_each(|task| self.remove_task(task));
    }

    fn add_stack(&mut self, stack: &Stack) {
        if self.enter(address_of(&stack.frames), stack_bytes(stack)) {
            stack.frames.iter().for_each(|frame| self.add_frame(frame));
        }
        if let Some(waker) = &stack.waker
            && self.enter(address_of(waker), shared_bytes(size_of::<NamedWaker>()))
        {
            for text in waker_texts(waker) {
                self.enter(address_of(text), shared_bytes(text.len()));
            }
        }
        if let Some(subject) = &stack.subject {
            self.enter(address_of(subject), shared_bytes(subject.len()));
        }
    }

    fn remove_stack(&mut self, stack: &Stack) {
        if self.leave(address_of(&stack.frames), stack_bytes(stack)) {
            stack.frames.iter().for_each(|frame| self.remove_frame(frame));
        }
        if let Some(waker) = &stack.waker
            && self.leave(address_of(waker), shared_bytes(size_of::<NamedWaker>()))
        {
            for text in waker_texts(waker) {
                self.leave(address_of(text), shared_bytes(text.len()));
            }
        }
        if let Some(subject) = &stack.subject {
            self.leave(address_of(subject), shared_bytes(subject.len()));
        }
    }

    fn add_frame(&mut self, frame: &Arc<Frame>) {
        if self.enter(address_of(frame), shared_bytes(size_of::<Frame>())) {
            for text in frame_texts(frame) {
                self.enter(address_of(text), shared_bytes(text.len()));
            }
            if let Some(source) = &frame.source {
                self.enter(address_of(source), source_bytes(source));
            }
        }
    }

    fn remove_frame(&mut self, frame: &Arc<Frame>) {
        if self.leave(address_of(frame), shared_bytes(size_of::<Frame>())) {
            for text in frame_texts(frame) {
                self.leave(address_of(text), shared_bytes(text.len()));
            }
            if let Some(source) = &frame.source {
                self.leave(address_of(source), source_bytes(source));
            }
        }
    }

    fn add_task(&mut self, task: &Arc<Task>) {
        if self.enter(address_of(task), shared_bytes(size_of::<Task>())) {
            for text in [&task.process_name, &task.thread_name] {
                self.enter(address_of(text), shared_bytes(text.len()));
            }
        }
    }

    fn remove_task(&mut self, task: &Arc<Task>) {
        if self.leave(address_of(task), shared_bytes(size_of::<Task>())) {
            for text in [&task.process_name, &task.thread_name] {
                self.leave(address_of(text), shared_bytes(text.len()));
            }
        }
    }

    /// Counts one more user of an allocation; true for the first one.
    fn enter(&mut self, address: usize, bytes: usize) -> bool {
        let users = self.users.entry(address).or_insert(0);
        *users += 1;
        let first = *users == 1;
        if first {
            self.bytes += bytes;
        }
        first
    }

    /// Counts one user less of an allocation; true for the last one.
    fn leave(&mut self, address: usize, bytes: usize) -> bool {
        let users = self.users.get_mut(&address).expect("only what was added is removed");
        *users -= 1;
        let last = *users == 0;
        if last {
            self.users.remove(&address);
            self.bytes -= bytes;
        }
        last
    }
}

/// The heap that belongs to the window alone: its struct and its vectors, by capacity.
fn own_bytes(window: &Profile) -> usize {
    ARC_HEADER
        + size_of::<Profile>()
        + window.tasks.capacity() * size_of::<Arc<Task>>()
        + window.stacks.capacity() * size_of::<Stack>()
        + window.samples.capacity() * size_of::<Sample>()
        + window.samples.iter().map(length_bytes).sum::<usize>()
        + window.totals.capacity() * size_of::<TaskTotals>()
        + window.wait_lengths.capacity() * size_of::<WaitLengths>()
        + window.loop_waits.iter().map(loop_bytes).sum::<usize>()
        + 7 * ALLOCATOR_OVERHEAD
}

fn loop_bytes(waits: &LoopWaits) -> usize {
    size_of::<LoopWaits>() + waits.awaits.capacity() * size_of::<(u32, u64)>() + ALLOCATOR_OVERHEAD
}

fn length_bytes(sample: &Sample) -> usize {
    sample.lengths.as_ref().map_or(0, |lengths| lengths.bytes() + 2 * ALLOCATOR_OVERHEAD)
}

fn stack_bytes(stack: &Stack) -> usize {
    shared_bytes(stack.frames.len() * size_of::<Arc<Frame>>())
}

fn source_bytes(source: &SourceLine) -> usize {
    shared_bytes(size_of::<SourceLine>()) + source.text.len() + ALLOCATOR_OVERHEAD
}

fn shared_bytes(value: usize) -> usize {
    ARC_HEADER + value + ALLOCATOR_OVERHEAD + LEDGER_ENTRY
}

fn frame_texts(frame: &Frame) -> impl Iterator<Item = &Arc<str>> {
    let name = match &frame.name {
        Name::Known(name) => Some(name),
        Name::Unknown(_) => None,
    };
    name.into_iter().chain(&frame.file).chain(&frame.module)
}

fn waker_texts(waker: &NamedWaker) -> impl Iterator<Item = &Arc<str>> {
    waker.process_name.iter().chain(&waker.thread_name)
}

fn address_of<T: ?Sized>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).cast::<u8>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Waker;

    fn window(stacks: &[Stack]) -> Profile {
        Profile { stacks: stacks.to_vec(), ..Profile::default() }
    }

    fn stack(name: &str) -> Stack {
        Stack::new(vec![Arc::new(Frame::marker(name))])
    }

    #[test]
    fn removing_every_window_leaves_nothing() {
        let (a, b) = (stack("alpha"), stack("beta"));
        let (first, second) = (window(&[a.clone(), b.clone()]), window(&[b, a]));
        let mut footprint = Footprint::default();
        footprint.add(&first);
        footprint.add(&second);
        footprint.remove(&first);
        assert!(footprint.bytes() > own_bytes(&second));
        footprint.remove(&second);
        assert_eq!(footprint.bytes(), 0);
        assert!(footprint.users.is_empty());
    }

    #[test]
    fn a_stack_that_two_windows_share_counts_once() {
        let shared = stack("shared");
        let mut footprint = Footprint::default();
        footprint.add(&window(std::slice::from_ref(&shared)));
        let once = footprint.bytes();
        let second = window(std::slice::from_ref(&shared));
        footprint.add(&second);
        assert_eq!(footprint.bytes(), once + own_bytes(&second));
    }

    #[test]
    fn equal_stacks_in_different_allocations_count_twice() {
        let (one, two) = (stack("same"), stack("same"));
        let mut footprint = Footprint::default();
        footprint.add(&window(&[one]));
        let once = footprint.bytes();
        footprint.add(&window(&[two]));
        assert_eq!(footprint.bytes(), 2 * once);
    }

    #[test]
    fn what_a_wait_was_for_and_the_names_of_who_ended_it_count_once_for_all_stacks() {
        let bytes = |name: &str| {
            let named = NamedWaker {
                process_name: Some(name.into()),
                thread_name: Some(name.into()),
                ..NamedWaker::nameless(Waker::Thread { pid: 7, tid: 8, over_network: false })
            };
            let waiting = stack("poll").with_subject(Some(name.into())).with_waker(Some(Arc::new(named)));
            let (first, second) = (window(std::slice::from_ref(&waiting)), window(&[waiting]));
            let mut footprint = Footprint::default();
            [&first, &second].into_iter().for_each(|window| footprint.add(window));
            let bytes = footprint.bytes();
            [&first, &second].into_iter().for_each(|window| footprint.remove(window));
            assert!(footprint.bytes() == 0 && footprint.users.is_empty());
            bytes
        };
        assert_eq!(bytes(&"x".repeat(1000)) - bytes("x"), 3 * 999);
    }

    #[test]
    fn a_longer_name_takes_more() {
        let bytes = |name: &str| {
            let mut footprint = Footprint::default();
            footprint.add(&window(&[stack(name)]));
            footprint.bytes()
        };
        assert_eq!(bytes(&"x".repeat(1000)) - bytes("x"), 999);
    }
}
