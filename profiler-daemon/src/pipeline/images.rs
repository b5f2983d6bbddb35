//! The images of the processes whose code the kernel half knows, within a bound of memory.
//!
//! Who needs the most room is forgotten first: any process can make its own mappings as many and their names as long as it
//! likes, and should pay for it alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::process::Image;

/// One image for each process.
#[derive(Debug)]
pub(super) struct Images {
    by_pid: HashMap<u32, (Arc<Image>, usize)>,
    bytes: usize,
    most_bytes: usize,
}

impl Images {
    /// No images yet, and never more than `most_bytes` of mappings.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { by_pid: HashMap::new(), bytes: 0, most_bytes }
    }

    /// Remembers an image instead of the one its process had.
    pub(super) fn insert(&mut self, image: Arc<Image>) {
        let (pid, bytes) = (image.id.process.pid, image.mappings.bytes());
        self.bytes += bytes;
        let before = self.by_pid.insert(pid, (image, bytes));
        self.bytes -= before.map_or(0, |(_, bytes)| bytes);
        while self.bytes > self.most_bytes {
            self.forget_largest();
        }
    }

    /// The image of a process.
    pub(super) fn find(&self, pid: u32) -> Option<&Arc<Image>> {
        self.by_pid.get(&pid).map(|(image, _)| image)
    }

    /// All images.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.by_pid.values().map(|(image, _)| image)
    }

    /// Keeps only the images of these processes.
    pub(super) fn retain(&mut self, pids: &HashSet<u32>) {
        self.by_pid.retain(|pid, _| pids.contains(pid));
        self.bytes = self.by_pid.values().map(|(_, bytes)| bytes).sum();
    }

    fn forget_largest(&mut self) {
        let largest = self.by_pid.iter().max_by_key(|(_, (_, bytes))| *bytes).map(|(pid, _)| *pid);
        let forgotten = largest.and_then(|pid| self.by_pid.remove(&pid));
        self.bytes -= forgotten.map_or(0, |(_, bytes)| bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Executables;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::profile::{ImageId, ProcessId};

    fn image(pid: u32, mappings: usize) -> Arc<Image> {
        let world = FixtureWorld::default();
        let maps = (1..=mappings).map(|at| format!("{at:x}000-{at:x}800 r-xp 0 00:00 0\n")).collect();
        world.insert(pid, FixtureProcess { maps, ..FixtureProcess::default() });
        let id = ImageId { process: ProcessId { pid, start_ns: 0 }, exec_ns: 0 };
        Arc::new(Image::read(id, &Executables::default(), &world).unwrap())
    }

    fn pids(images: &Images) -> Vec<u32> {
        let mut pids: Vec<u32> = images.iter().map(|image| image.id.process.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn whoever_takes_the_most_room_is_forgotten_first() {
        let mut images = Images::new(image(1, 100).mappings.bytes());
        for (pid, mappings) in [(1, 10), (2, 60), (3, 10), (4, 30)] {
            images.insert(image(pid, mappings));
        }
        assert_eq!(pids(&images), [1, 3, 4]);
        images.insert(image(5, 101));
        assert_eq!((pids(&images), images.find(5).is_none()), (vec![1, 3, 4], true));
    }

    #[test]
    fn an_image_takes_the_place_of_the_one_before_it() {
        let mut images = Images::new(image(1, 100).mappings.bytes());
        for mappings in [90, 80, 100] {
            images.insert(image(1, mappings));
            assert_eq!(images.find(1).unwrap().mappings.len(), mappings);
        }
        images.retain(&HashSet::new());
        assert_eq!((pids(&images), images.bytes), (vec![], 0));
    }
}
