//! The rings the kernel half writes to, with a wait that wakes for the first stack of a program image.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Both rings. They are read by one thread.
pub struct Rings {
    pub(super) stacks: RingBuf<MapData>,
    pub(super) lifecycle: RingBuf<MapData>,
}

/// Which ring a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Captured stacks.
    Stacks,
    /// Ends of threads, and execs.
    Lifecycle,
}

impl Rings {
    /// Waits until the kernel half asks for attention, `waker` is readable, or the time is over.
    pub fn wait(&self, waker: BorrowedFd<'_>, at_most: Duration) {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let waker = PollFd::from_borrowed_fd(waker, PollFlags::IN);
        let mut fds = [poll_fd(&self.stacks), poll_fd(&self.lifecycle), waker];
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Hands every record to `each`, in order within each ring. Returns how many there were.
    pub fn drain(&mut self, mut each: impl FnMut(Ring, &[u8])) -> usize {
        let mut records = 0;
        while let Some(record) = self.stacks.next() {
            each(Ring::Stacks, &record);
            records += 1;
        }
        while let Some(record) = self.lifecycle.next() {
            each(Ring::Lifecycle, &record);
            records += 1;
        }
        records
    }
}

fn poll_fd(ring: &RingBuf<MapData>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)
}
