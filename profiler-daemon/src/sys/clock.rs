//! The clocks.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, the one the kernel half stamps its records with.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The wall-clock time of a moment given in nanoseconds since boot, suspended time included.
pub fn epoch_of_boot_ns(boot_ns: u64) -> u64 {
    epoch_ns().saturating_sub(nanoseconds(ClockId::Boottime).saturating_sub(boot_ns))
}

/// Nanoseconds since boot, suspended time included, of a moment of the monotonic clock.
pub fn boot_of_monotonic_ns(moment_ns: u64) -> u64 {
    nanoseconds(ClockId::Boottime).saturating_sub(monotonic_ns().saturating_sub(moment_ns))
}

/// The wall-clock time of a moment of the monotonic clock.
pub fn epoch_of_monotonic_ns(moment_ns: u64) -> u64 {
    epoch_ns().saturating_sub(monotonic_ns().saturating_sub(moment_ns))
}

/// Wall-clock time that passes steadily from the moment it is made: it starts at the system's and does not follow when
/// that is set. What it stamps stays in order, and as far apart as it was. Suspended time counts.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    epoch_ns: u64,
    boot_ns: u64,
}

impl SteadyClock {
    /// A clock that starts with the system's wall-clock time.
    pub fn start() -> Self {
        Self { epoch_ns: epoch_ns(), boot_ns: nanoseconds(ClockId::Boottime) }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn epoch_ns(&self) -> u64 {
        self.at_boot_ns(nanoseconds(ClockId::Boottime))
    }

    fn at_boot_ns(&self, boot_ns: u64) -> u64 {
        self.epoch_ns.saturating_add(boot_ns.saturating_sub(self.boot_ns))
    }
}

/// Nanoseconds since the Unix epoch by the system's clock, which may be set at any time.
pub fn epoch_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_advances_by_what_passed_since_boot_whatever_the_wall_clock_says() {
        let clock = SteadyClock { epoch_ns: 1_000, boot_ns: 70 };
        assert_eq!((clock.at_boot_ns(70), clock.at_boot_ns(95)), (1_000, 1_025));
        let (clock, began) = (SteadyClock { epoch_ns: 5, ..SteadyClock::start() }, epoch_ns());
        assert!(clock.epoch_ns() < began, "the wall clock is not asked again");
    }
}
