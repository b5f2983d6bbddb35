//! The readings of one image, and what was replaced in between: what an address meant at a time.
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
    replaced: VecDeque<Replaced>,
    /// All that were too many for it, as one.
    forgotten: Option<Replaced>,
    /// The latest time stacks have told of.
    told_ns: u64,
}

/// Other code may have come to lie in a range of addresses, once or more often between two moments.
#[derive(Debug, Clone, Copy)]
struct Replaced {
    from_ns: u64,
    until_ns: u64,
    start: u64,
    end: u64,
}

impl Replaced {
    /// What nobody told of may have been anywhere.
    fn anywhere(from_ns: u64, until_ns: u64) -> Self {
        Self { from_ns, until_ns, start: 0, end: u64::MAX }
    }

    fn merge(self, later: Self) -> Self {
        Self {
            from_ns: self.from_ns,
            until_ns: later.until_ns,
            start: self.start.min(later.start),
            end: self.end.max(later.end),
        }
    }

    /// Whether it lies between a reading and a stack captured between `code_ns` and the next time.
    fn separates(&self, image: &Image, code_ns: u64) -> bool {
        match self.until_ns > code_ns {
            true => self.from_ns <= image.read_until_ns.max(code_ns),
            false => self.until_ns >= image.read_from_ns,
        }
    }
}

impl Readings {
    /// The first reading.
    pub fn new(first: Arc<Image>) -> Self {
        Self { newest: first, former: VecDeque::new(), replaced: VecDeque::new(), forgotten: None, told_ns: 0 }
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

    /// Notes that memory is about to be mapped where code was.
    pub fn note_mapped(&mut self, code: MappedCode) {
        let last_ns = self.last_ns();
        if code.at_ns <= last_ns {
            return;
        }
        if last_ns < code.before_ns {
            self.push(Replaced::anywhere(last_ns + 1, code.before_ns));
        }
        self.push(Replaced { from_ns: code.at_ns, until_ns: code.at_ns, start: code.start, end: code.end });
    }

    /// Notes when a stack says that code was last replaced: the record that told where may be lost. If a stack captured at
    /// `at_ns` says that none was, though some had been by then, so may be what any stack says that knows of none.
    pub fn note_stack(&mut self, code_ns: u64, at_ns: u64) {
        self.told_ns = self.told_ns.max(code_ns);
        let last_ns = self.last_ns();
        if code_ns == 0 && 0 < last_ns && last_ns < at_ns {
            self.forgotten = Some(Replaced::anywhere(0, last_ns));
        }
    }

    fn push(&mut self, replaced: Replaced) {
        if self.replaced.len() == limits::MAPPED_CODE
            && let Some(oldest) = self.replaced.pop_front()
        {
            self.forgotten = Some(self.forgotten.map_or(oldest, |forgotten| forgotten.merge(oldest)));
        }
        self.replaced.push_back(replaced);
    }

    /// The latest time of which is known where code was replaced.
    fn last_ns(&self) -> u64 {
        self.replaced.back().map_or(0, |replaced| replaced.until_ns)
    }

    /// Everything that was replaced, in the order of time.
    fn all_replaced(&self) -> impl Iterator<Item = Replaced> {
        let last_ns = self.last_ns();
        let unknown = (self.told_ns > last_ns).then(|| Replaced::anywhere(last_ns + 1, self.told_ns));
        self.forgotten.into_iter().chain(self.replaced.iter().copied()).chain(unknown)
    }

    /// When code was last replaced, as far as the newest reading shows it.
    pub fn code_ns(&self) -> u64 {
        let times = self.all_replaced().map(|replaced| replaced.until_ns);
        times.filter(|at_ns| *at_ns < self.newest.read_from_ns).max().unwrap_or(0)
    }

    /// The reading that shows where an address lay in stacks captured between `code_ns`, when code was replaced last, and the
    /// next time that it was.
    pub fn find(&self, address: Address, code_ns: u64) -> Option<&Arc<Image>> {
        let shows = |image: &&Arc<Image>| {
            image.mappings.find(address).is_some() && !self.is_replaced_between(image, address, code_ns)
        };
        std::iter::once(&self.newest).chain(&self.former).find(shows)
    }

    fn is_replaced_between(&self, image: &Image, address: Address, code_ns: u64) -> bool {
        let is_there = |replaced: &Replaced| replaced.start <= address.0 && address.0 < replaced.end;
        self.all_replaced().filter(is_there).any(|replaced| replaced.separates(image, code_ns))
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
        MappedCode { image: ID, at_ns, before_ns: 0, start, end: start + 0x1000 }
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
        assert_eq!((readings.former.len(), readings.replaced.len()), (limits::FORMER_READINGS, limits::MAPPED_CODE));
    }

    #[test]
    fn stacks_from_before_what_is_remembered_have_no_names_where_code_was_replaced() {
        let mut readings = Readings::new(reading(2, &[("a", 0x1000), ("c", 0x5000)]));
        let last = limits::MAPPED_CODE as u64 + 10;
        (1..=last).for_each(|at| readings.note_mapped(mapped(10 * at, 0x1000)));
        readings.add(reading(10 * last + 5, &[("b", 0x1000), ("c", 0x5000)]));
        let names = [0, 50, 100, 10 * last].map(|at| name(&readings, 0x1800, at));
        assert_eq!(names, [Some("a".to_owned()), None, None, Some("b".to_owned())]);
        assert_eq!([50, 10 * last].map(|at| name(&readings, 0x5800, at).unwrap()), ["c", "c"]);
    }

    #[test]
    fn what_a_stack_alone_tells_of_may_have_been_anywhere() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000)]));
        readings.note_stack(20, 21);
        readings.add(reading(30, &[("b", 0x1000)]));
        let names =
            |readings: &Readings, times: [u64; 3]| times.map(|at| name(readings, 0x1800, at).unwrap_or_default());
        assert_eq!(names(&readings, [0, 15, 20]), ["", "", "b"]);
        readings.note_mapped(MappedCode { before_ns: 20, ..mapped(40, 0x9000) });
        assert_eq!(names(&readings, [0, 20, 40]), ["", "b", "b"]);
    }

    #[test]
    fn what_no_record_tells_of_may_have_been_anywhere() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000), ("c", 0x5000)]));
        readings.note_mapped(mapped(20, 0x1000));
        readings.note_mapped(MappedCode { before_ns: 30, ..mapped(40, 0x1000) });
        readings.add(reading(50, &[("b", 0x1000), ("c", 0x5000)]));
        let names = [0, 25, 30, 40].map(|at| name(&readings, 0x5800, at).unwrap_or_default());
        assert_eq!(names, ["c", "", "c", "c"]);
        assert_eq!((name(&readings, 0x1800, 0).as_deref(), name(&readings, 0x1800, 30)), (Some("a"), None));
    }

    #[test]
    fn a_stack_that_knows_of_nothing_replaced_though_something_was_has_no_names() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000)]));
        readings.note_mapped(mapped(20, 0x1000));
        readings.note_stack(0, 19);
        assert_eq!(name(&readings, 0x1800, 0).as_deref(), Some("a"));
        readings.note_stack(0, 25);
        readings.add(reading(30, &[("b", 0x1000)]));
        assert_eq!((name(&readings, 0x1800, 0), name(&readings, 0x1800, 20).as_deref()), (None, Some("b")));
    }

    #[test]
    fn what_is_told_by_a_stack_before_the_record_that_tells_where_is_there_alone() {
        let mut readings = Readings::new(reading(10, &[("a", 0x1000), ("c", 0x5000)]));
        readings.note_stack(20, 21);
        readings.note_mapped(mapped(20, 0x1000));
        assert_eq!((name(&readings, 0x5800, 20).as_deref(), name(&readings, 0x1800, 20)), (Some("c"), None));
    }
}
