//! A pause that doubles: how often something may be read again.

use std::time::{Duration, Instant};

use super::limits;

/// The right to read something again, from the first pause on, at doubling intervals.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    from: Instant,
    length: Duration,
}

impl Pause {
    /// The first passage is possible one short pause after `now`, when the thing was read first.
    pub fn new(now: Instant) -> Self {
        let length = limits::REFRESH_FIRST;
        Self { from: now + length, length }
    }

    /// Whether the pause is over; then the next one begins, twice as long.
    pub fn pass(&mut self, now: Instant) -> bool {
        if now < self.from {
            return false;
        }
        self.length = (self.length * 2).min(limits::REFRESH_LONGEST);
        self.from = now + self.length;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let start = Instant::now();
        let mut pause = Pause::new(start);
        let passed: Vec<u64> =
            (0..200_000).filter(|millis| pause.pass(start + Duration::from_millis(*millis))).collect();
        assert_eq!(&passed[..4], [10, 30, 70, 150]);
        assert!(passed.windows(2).all(|pair| pair[1] - pair[0] <= limits::REFRESH_LONGEST.as_millis() as u64));
    }
}
