//! The clocks.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, the one the kernel half stamps its records with.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Nanoseconds since the Unix epoch.
pub fn epoch_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
