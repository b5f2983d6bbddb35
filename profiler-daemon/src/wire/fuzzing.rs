//! The fuzz target of the kernel half's records.
//!
//! They come from our own programs, but from another build if the object is another one, and one wrong count must not
//! cost the daemon.

use profiler_common::python::ENTRY_WORDS;
use profiler_common::record::Snapshot;
use profiler_common::wait_lengths::Lengths;

use super::{Room, decode_lifecycle, decode_snapshot, decode_stack};

/// Decodes one record as each of the kinds there are.
pub fn stack_record(bytes: &[u8]) {
    // The rings align records to words.
    let words: Vec<u64> = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    let bytes = bytemuck::cast_slice(&words);
    let mut room = Room::default();
    if let Some(event) = decode_stack(bytes, &mut room) {
        assert!(event.kernel.len() + event.user.addresses.len() <= words.len(), "no frame is made up");
        let pointers = event.user.stack_pointers.len();
        assert!(pointers == 0 || pointers == event.user.addresses.len(), "each frame has its stack pointer");
        assert!(event.python.len() <= words.len() / ENTRY_WORDS, "no Python frame is made up");
        assert!(event.tasks.len() <= words.len() / ENTRY_WORDS + 1, "no task is made up");
        assert!(usize::from(event.task_frames) <= event.python.len(), "only frames run in a task");
        let is_known = |place: u16| usize::from(place) < event.user.addresses.len();
        assert!(event.python.iter().filter_map(|frame| frame.place).all(is_known), "each place is that of a frame");
        assert!(event.user.addresses.iter().all(|address| words.contains(address)), "no address is made up");
    }
    let _ = decode_lifecycle(bytes);
    if let Some(snapshot) = bytes.get(..size_of::<Snapshot>()) {
        let _ = decode_snapshot(&bytemuck::pod_read_unaligned(snapshot), &Lengths::NONE);
    }
}
