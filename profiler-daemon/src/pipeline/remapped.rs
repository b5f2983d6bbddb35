//! The images that map memory where code was, and are to be read again.
//!
//! Soon, so that stacks through new code are walked by its own rules; but one image not more often than ten times a second,
//! however often it does.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::profile::ImageId;

/// The time it takes to map all of a library after a place for it was found.
const DELAY: Duration = Duration::from_millis(5);

/// The shortest time between two readings of one image.
const PAUSE: Duration = Duration::from_millis(100);

/// Images whose last reading is remembered before those are forgotten that may be read at once anyway.
const REMEMBERED: usize = 1024;

/// The images that wait to be read, each once.
#[derive(Debug, Default)]
pub(super) struct Remapped {
    waiting: BTreeSet<(Instant, ImageId)>,
    /// When those that wait, or were read a short time ago, are to be or were.
    due: HashMap<ImageId, Instant>,
}

impl Remapped {
    /// Memory is about to be mapped where code of an image was.
    pub(super) fn add(&mut self, image: ImageId, now: Instant) {
        let last = self.due.get(&image).copied();
        if last.is_some_and(|at| self.waiting.contains(&(at, image))) {
            return;
        }
        let at = last.map_or(now, |at| now.max(at + PAUSE - DELAY)) + DELAY;
        self.due.insert(image, at);
        self.waiting.insert((at, image));
    }

    /// When the next image is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The next image, if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ImageId> {
        let (_, image) = self.waiting.first().filter(|(at, _)| *at <= now).copied()?;
        self.waiting.pop_first();
        self.due.insert(image, now);
        if self.due.len() > REMEMBERED {
            self.due.retain(|image, at| self.waiting.contains(&(*at, *image)) || *at + PAUSE > now);
        }
        Some(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProcessId;

    fn image(pid: u32) -> ImageId {
        ImageId { process: ProcessId { pid, start_ns: 0 }, exec_ns: 0 }
    }

    #[test]
    fn an_image_that_maps_code_all_the_time_is_read_soon_and_ten_times_a_second() {
        let (start, mut remapped) = (Instant::now(), Remapped::default());
        let mut readings = Vec::new();
        for millis in 0..=250 {
            let now = start + Duration::from_millis(millis);
            remapped.add(image(7), now);
            readings.extend(remapped.take_due(now).map(|_| millis));
            assert_eq!(remapped.take_due(now), None);
        }
        assert_eq!(readings, [5, 105, 205]);
        assert_eq!(remapped.due(), Some(start + Duration::from_millis(305)));
    }

    #[test]
    fn nothing_is_left_of_images_that_were_read_long_ago() {
        let (start, mut remapped) = (Instant::now(), Remapped::default());
        for pid in 0..100_000 {
            let now = start + Duration::from_millis(pid.into());
            remapped.add(image(pid), now);
            assert_eq!(remapped.take_due(now + DELAY), Some(image(pid)));
            assert!(remapped.due.len() <= REMEMBERED + 1);
        }
        assert_eq!(remapped.due(), None);
    }
}
