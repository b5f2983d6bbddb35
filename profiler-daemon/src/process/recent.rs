//! A map of bounded size that forgets what was not used for the longest time.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that, when full, forgets the least recently used quarter at once, so that an insertion costs little on average.
#[derive(Debug)]
pub struct RecentMap<K, V> {
    entries: HashMap<K, Entry<V>>,
    capacity: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used: u64,
}

impl<K: Eq + Hash + Clone, V> RecentMap<K, V> {
    /// An empty map of at most `capacity` entries, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity: capacity.max(1), clock: 0 }
    }

    /// The value of the key, which counts as a use.
    pub fn find(&mut self, key: &K) -> Option<&mut V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(&mut entry.value)
    }

    /// Keeps the value, and returns what was forgotten for it.
    pub fn insert(&mut self, key: K, value: V) -> Vec<(K, V)> {
        self.clock += 1;
        let full = self.entries.len() >= self.capacity && !self.entries.contains_key(&key);
        let forgotten = if full { self.forget_oldest() } else { Vec::new() };
        self.entries.insert(key, Entry { value, used: self.clock });
        forgotten
    }

    /// Forgets the key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// Keeps only the entries `keep` holds for.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain(|key, entry| keep(key, &mut entry.value));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the least recently used quarter, at least one entry if there is any, and returns it.
    pub fn forget_oldest(&mut self) -> Vec<(K, V)> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let last = (uses.len() / 4).min(uses.len() - 1);
        let (_, &mut youngest, _) = uses.select_nth_unstable(last);
        let old = self.entries.extract_if(|_, entry| entry.used <= youngest);
        old.map(|(key, entry)| (key, entry.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_forgets_what_was_not_used_for_the_longest_time() {
        let mut map = RecentMap::new(4);
        for key in 0..4 {
            assert!(map.insert(key, key).is_empty());
        }
        assert!(map.find(&0).is_some());
        let mut forgotten: Vec<i32> = map.insert(4, 4).into_iter().map(|(key, _)| key).collect();
        forgotten.sort_unstable();
        assert_eq!(forgotten, [1, 2]);
        assert!(map.find(&0).is_some() && map.find(&4).is_some());
    }

    #[test]
    fn the_map_never_exceeds_its_capacity() {
        let mut map = RecentMap::new(10);
        for key in 0..1000 {
            map.insert(key, ());
            assert!(map.len() <= 10);
        }
        assert!(map.find(&999).is_some());
    }

    #[test]
    fn a_map_of_one_entry_keeps_the_last() {
        let mut map = RecentMap::new(0);
        map.insert(1, "a");
        map.insert(2, "b");
        assert_eq!((map.len(), map.find(&2).copied()), (1, Some("b")));
    }
}
