//! Spaces: sets of code mappings in the kernel half, one per process image, shared with forked children.
//!
//! A space is brought up to date by what changed: mappings that are gone are removed exactly, new ones added.

use std::collections::HashMap;

use profiler_common::unwind::code::Mapping;

use crate::bpf::{CodeMaps, LoadError};

/// The kernel half's side: the maps, or a fixture in tests.
pub trait MappingMaps {
    /// Adds a mapping to a space.
    fn add_mapping(&mut self, space: u32, mapping: &Mapping) -> Result<(), LoadError>;
    /// Removes a mapping from a space.
    fn remove_mapping(&mut self, space: u32, mapping: &Mapping);
}

impl MappingMaps for CodeMaps {
    fn add_mapping(&mut self, space: u32, mapping: &Mapping) -> Result<(), LoadError> {
        Self::add_mapping(self, space, mapping)
    }

    fn remove_mapping(&mut self, space: u32, mapping: &Mapping) {
        Self::remove_mapping(self, space, mapping);
    }
}

/// All spaces, with what lies in them.
#[derive(Debug, Default)]
pub struct Spaces {
    last: u32,
    mappings: HashMap<u32, Vec<Mapping>>,
}

impl Spaces {
    /// A new space without mappings. Numbers are used again only after four billion spaces.
    pub fn create(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.mappings.contains_key(&self.last) {
                self.mappings.insert(self.last, Vec::new());
                return self.last;
            }
        }
    }

    /// The mappings of a space, by address.
    pub fn mappings(&self, space: u32) -> &[Mapping] {
        self.mappings.get(&space).map_or(&[], Vec::as_slice)
    }

    /// Makes the mappings of a space those given, which are in order and do not overlap.
    ///
    /// # Errors
    /// If the kernel refuses a mapping, the space has those it took; the next update tries again.
    pub fn update(&mut self, space: u32, wanted: &[Mapping], maps: &mut dyn MappingMaps) -> Result<(), LoadError> {
        let Some(present) = self.mappings.get_mut(&space) else { return Ok(()) };
        let before = std::mem::take(present);
        for mapping in &before {
            // One that only says something else about the same addresses is written over.
            if find(wanted, mapping.start).is_none_or(|wanted| wanted.end != mapping.end) {
                maps.remove_mapping(space, mapping);
            }
        }
        let mut refused = None;
        for mapping in wanted {
            if find(&before, mapping.start) != Some(mapping)
                && let Err(error) = maps.add_mapping(space, mapping)
            {
                maps.remove_mapping(space, mapping);
                refused.get_or_insert(error);
                continue;
            }
            present.push(*mapping);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Removes a space and everything in it.
    pub fn remove(&mut self, space: u32, maps: &mut dyn MappingMaps) {
        for mapping in self.mappings.remove(&space).unwrap_or_default() {
            maps.remove_mapping(space, &mapping);
        }
    }

    /// The numbers of all spaces.
    pub fn numbers(&self) -> Vec<u32> {
        self.mappings.keys().copied().collect()
    }

    /// How many spaces there are.
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }
}

fn find(mappings: &[Mapping], start: u64) -> Option<&Mapping> {
    mappings.binary_search_by_key(&start, |mapping| mapping.start).ok().map(|at| &mappings[at])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Fixture(BTreeMap<(u32, u64, u64), u32>, Option<u64>);

    impl MappingMaps for Fixture {
        fn add_mapping(&mut self, space: u32, mapping: &Mapping) -> Result<(), LoadError> {
            if self.1 == Some(mapping.start) {
                return Err(LoadError::Unavailable("room"));
            }
            let before = self.0.insert((space, mapping.start, mapping.end), mapping.table);
            assert_ne!(before, Some(mapping.table), "added twice");
            Ok(())
        }

        fn remove_mapping(&mut self, space: u32, mapping: &Mapping) {
            let before = self.0.remove(&(space, mapping.start, mapping.end));
            assert!(before.is_some() || self.1 == Some(mapping.start), "not there");
        }
    }

    fn mapping(start: u64, table: u32) -> Mapping {
        Mapping { start, end: start + 0x1000, bias: 0, table, kind: 1 }
    }

    #[test]
    fn an_update_changes_only_what_differs() {
        let (mut spaces, mut maps) = (Spaces::default(), Fixture::default());
        let space = spaces.create();
        spaces.update(space, &[mapping(0x1000, 1), mapping(0x3000, 2)], &mut maps).unwrap();
        spaces.update(space, &[mapping(0x1000, 1), mapping(0x2000, 3), mapping(0x3000, 4)], &mut maps).unwrap();
        let present: Vec<_> = maps.0.iter().map(|((_, start, _), table)| (*start, *table)).collect();
        assert_eq!(present, [(0x1000, 1), (0x2000, 3), (0x3000, 4)]);
    }

    #[test]
    fn a_mapping_that_is_refused_keeps_no_other_out_and_is_tried_again() {
        let (mut spaces, mut maps) = (Spaces::default(), Fixture::default());
        let (space, wanted) = (spaces.create(), [mapping(0x1000, 1), mapping(0x2000, 2), mapping(0x3000, 3)]);
        maps.1 = Some(0x2000);
        spaces.update(space, &wanted, &mut maps).unwrap_err();
        assert_eq!((maps.0.len(), spaces.mappings(space).len()), (2, 2));
        maps.1 = None;
        spaces.update(space, &wanted, &mut maps).unwrap();
        assert_eq!(spaces.mappings(space), wanted);
        spaces.remove(space, &mut maps);
        assert!(maps.0.is_empty());
    }

    #[test]
    fn nothing_is_left_of_spaces_that_were_removed() {
        let (mut spaces, mut maps) = (Spaces::default(), Fixture::default());
        for _ in 0..100 {
            let space = spaces.create();
            spaces.update(space, &[mapping(0x1000, 1), mapping(0x3000, 2)], &mut maps).unwrap();
            spaces.update(space, &[mapping(0x5000, 1)], &mut maps).unwrap();
            spaces.remove(space, &mut maps);
        }
        assert!(maps.0.is_empty() && spaces.is_empty());
    }
}
