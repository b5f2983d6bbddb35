//! The readings of one image, and the code it mapped in between: what an address meant at a time.
//!
//! Mappings may be read long before or after a stack is captured. An address of the stack lies in what a reading shows there unless
//! other code was mapped there in between, of which the kernel half tells. What is only unmapped does no harm: nothing runs there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::image::Image;
use super::limits;
use super::maps::Address;
use crate::wire::MappedCode;

/// The readings of one image.
#[derive(Debug, Clone)]
pub struct Readings {
    newest: Arc<Image>,
    /// Earlier ones that show what the next one does not, newest first.
    former: VecDeque<Arc<Image>>,
    /// In the order of time.
    mapped: VecDeque<MappedCode>,
}

impl Readings {
    /// The first reading.
    pub fn new(first: Arc<Image>) -> Self {
        Self { newest: first, former: VecDeque::new(), mapped: VecDeque::new() }
    }

    /// The newest reading.
    pub fn newest(&self) -> &Arc<Image> {
        &self.newest
    }

    /// A later reading takes the place of the newest.
    pub fn add(&mut self, newer: Arc<Image>) {
        let before = std::mem::replace(&mut self.newest, newer);
        if !before.mappings.are_in(&self.newest.mappings) {
            self.former.push_front(before);
            self.former.truncate(limits::FORMER_READINGS);
        }
    }

    /// Notes that code was mapped.
    pub fn note_mapped(&mut self, code: MappedCode) {
        if self.mapped.len() == limits::MAPPED_CODE {
            self.mapped.pop_front();
        }
        self.mapped.push_back(code);
    }

    /// When code was mapped last, as far as the newest reading shows it.
    pub fn code_ns(&self) -> u64 {
        let shown = self.mapped.iter().rev().find(|code| code.at_ns < self.newest.read_from_ns);
        shown.map_or(0, |code| code.at_ns)
    }

    /// The reading that shows where an address lay in stacks captured between `code_ns`, when code was mapped last, and the next
    /// time that it was.
    pub fn find(&self, address: Address, code_ns: u64) -> Option<&Arc<Image>> {
        let shows = |image: &&Arc<Image>| {
            image.mappings.find(address).is_some() && !self.is_replaced_between(image, address, code_ns)
        };
        std::iter::once(&self.newest).chain(&self.former).find(shows)
    }

    fn is_replaced_between(&self, image: &Image, address: Address, code_ns: u64) -> bool {
        self.mapped.iter().filter(|code| code.start <= address.0 && address.0 < code.end).any(|code| {
            match code.at_ns > code_ns {
                true => code.at_ns <= image.read_until_ns,
                false => code.at_ns >= image.read_from_ns,
            }
        })
    }

    /// The memory the mappings take, in bytes.
    pub fn bytes(&self) -> usize {
        std::iter::once(&self.newest).chain(&self.former).map(|image| image.mappings.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Executables;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::profile::{ImageId, ProcessId};

    const ID: ImageId = ImageId { process: ProcessId { pid: 7, start_ns: 0 }, exec_ns: 0 };

    /// A reading at a time, of files at addresses.
    fn reading(at_ns: u64, files: &[(&str, u64)]) -> Arc<Image> {
        let world = FixtureWorld::default();
        let line = |(name, start): &(&str, u64)| {
            format!("{start:x}-{:x} r-xp 0 fe:00 {} /{name}\n", start + 0x1000, name.as_bytes()[0])
        };
        world.insert(7, FixtureProcess { maps: files.iter().map(line).collect(), ..FixtureProcess::default() });
        let mut image = Image::read(ID, &Executables::default(), &world).unwrap();
        (image.read_from_ns, image.read_until_ns) = (at_ns, at_ns);
        Arc::new(image)
    }

    fn mapped(at_ns: u64, start: u64) -> MappedCode {
        MappedCode { image: ID, at_ns, start, end: start + 0x1000 }
    }

    /// The file an address lay in.
    fn name(readings: &Readings, address: u64, code_ns: u64) -> Option<String> {
        let image = readings.find(Address(address), code_ns)?;
        Some(image.mappings.find(Address(address))?.file_name())
    }

    #[test]
    fn an_address_means_what_lay_there_when_its_stack_was_captured() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000), ("c", 0x5000)]));
        readings.note_mapped(mapped(20, 0x1000));
        assert_eq!((name(&readings, 0x1800, 0).as_deref(), name(&readings, 0x1800, 20)), (Some("a"), None));
        readings.add(reading(30, &[("b", 0x1000), ("c", 0x5000)]));
        let names: Vec<_> = [(0x1800, 0), (0x1800, 20), (0x5800, 0), (0x5800, 20)]
            .map(|(address, code_ns)| name(&readings, address, code_ns).unwrap_or_default())
            .into();
        assert_eq!(names, ["a", "b", "c", "c"]);
    }

    #[test]
    fn what_was_replaced_before_it_was_read_has_no_name() {
        let mut readings = Readings::new(reading(10, &[("c", 0x5000)]));
        [20, 21, 22].into_iter().for_each(|at_ns| readings.note_mapped(mapped(at_ns, 0x1000)));
        readings.add(reading(30, &[("b", 0x1000), ("c", 0x5000)]));
        let names = [0, 20, 21, 22].map(|code_ns| name(&readings, 0x1800, code_ns));
        assert_eq!(names, [None, None, None, Some("b".to_owned())]);
        assert_eq!(name(&readings, 0x5800, 20).as_deref(), Some("c"));
    }

    #[test]
    fn what_was_only_unmapped_keeps_its_name() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000), ("c", 0x5000)]));
        readings.note_mapped(mapped(20, 0x9000));
        readings.add(reading(30, &[("c", 0x5000), ("d", 0x9000)]));
        let names =
            [(0x1800, 0), (0x1800, 20), (0x9800, 20)].map(|(at, code_ns)| name(&readings, at, code_ns).unwrap());
        assert_eq!(names, ["a", "a", "d"]);
    }

    #[test]
    fn a_stack_read_from_outside_belongs_to_what_its_reading_shows() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000)]));
        assert_eq!(readings.code_ns(), 0);
        readings.note_mapped(mapped(20, 0x1000));
        assert_eq!(readings.code_ns(), 0);
        readings.add(reading(30, &[("b", 0x1000)]));
        assert_eq!(readings.code_ns(), 20);
    }

    #[test]
    fn readings_that_only_add_are_not_kept_and_others_are_bounded() {
        let mut readings = Readings::new(reading(0, &[("a", 0x1000)]));
        readings.add(reading(1, &[("a", 0x1000), ("b", 0x2000)]));
        assert_eq!(readings.bytes(), readings.newest().mappings.bytes());
        for at in 0..1000 {
            readings.add(reading(at, &[(if at % 2 == 0 { "c" } else { "d" }, 0x1000)]));
            readings.note_mapped(mapped(at, 0x1000));
        }
        assert_eq!((readings.former.len(), readings.mapped.len()), (limits::FORMER_READINGS, limits::MAPPED_CODE));
    }
}
