//! Reads what names Python and Java frames and is not in memory, on a thread of its own that may wait for it.
//!
//! The collector reads what is present alone, so that no process holds it up. What was paged out is read here, while the process
//! lives; a process that keeps this thread waiting is not read for a while.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::namer::Shared;
use crate::process::ProcWorld;
use crate::profile::{AsyncEntry, ImageId, JavaFrame};

/// Stacks of which something is still to be read. Of further ones it is read with the next new stack.
const QUEUE: usize = 256;
/// How long what one stack lacks is read.
const READ_TIME: Duration = Duration::from_millis(100);

/// What a stack of an image lacks.
type Lack = (ImageId, Vec<AsyncEntry>, Vec<JavaFrame>);

/// The collector's end.
pub(super) struct Absent(SyncSender<Lack>);

/// The other end: what the thread runs.
pub(super) struct Fetcher(Receiver<Lack>);

/// Both ends.
pub(super) fn absent() -> (Absent, Fetcher) {
    let (to_fetcher, lacks) = sync_channel(QUEUE);
    (Absent(to_fetcher), Fetcher(lacks))
}

impl Absent {
    /// Tells what was not present.
    pub(super) fn note(&self, image: ImageId, python: Vec<AsyncEntry>, java: Vec<JavaFrame>) {
        if !python.is_empty() || !java.is_empty() {
            // Without room it is told again with the next new stack.
            let _ = self.0.try_send((image, python, java));
        }
    }
}

impl Fetcher {
    /// Reads, until there is nobody to tell.
    pub(super) fn run(self, shared: &Shared) {
        for (image, python, java) in self.0 {
            let Some(image) = shared.registry.image(image) else { continue };
            shared.runtimes.python.observe_place(&image, &python, Instant::now() + READ_TIME, &ProcWorld);
            shared.runtimes.java.observe(&image, &java, &ProcWorld);
        }
    }
}
