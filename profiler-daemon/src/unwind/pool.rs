//! Tables packed into the kernel half's maps: shards shared by all executables, one dictionary of rules.
//!
//! In comes a [`Table`], out go the shards, rules and the directory that make it usable; the number of the table is what
//! mappings refer to. A shard is freed when no table lies in it any more, a rule when no table has it. All executables of a
//! machine together have some ten thousand distinct rules.

use std::collections::HashMap;

use profiler_common::limits::{RULES, SHARDS, TABLES};
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{Directory, Entry, Row, SHARD_WORDS};

use super::table::Table;
use crate::bpf::{CodeMaps, LoadError, Shard};

/// The kernel half's side of the pool: the maps, or a fixture in tests.
pub trait TableMaps {
    /// Writes a rule.
    fn write_rule(&mut self, number: u16, rule: &Rule) -> Result<(), LoadError>;
    /// Writes a whole shard.
    fn write_shard(&mut self, number: u32, words: &Shard) -> Result<(), LoadError>;
    /// Frees a shard.
    fn free_shard(&mut self, number: u32) -> Result<(), LoadError>;
    /// Writes where the directory of a table is.
    fn write_directory(&mut self, table: u32, directory: &Directory) -> Result<(), LoadError>;
}

impl TableMaps for CodeMaps {
    fn write_rule(&mut self, number: u16, rule: &Rule) -> Result<(), LoadError> {
        Self::write_rule(self, number, rule)
    }

    fn write_shard(&mut self, number: u32, words: &Shard) -> Result<(), LoadError> {
        Self::write_shard(self, number, words)
    }

    fn free_shard(&mut self, number: u32) -> Result<(), LoadError> {
        Self::free_shard(self, number)
    }

    fn write_directory(&mut self, table: u32, directory: &Directory) -> Result<(), LoadError> {
        Self::write_directory(self, table, directory)
    }
}

/// Why a table could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no room left: evict a table first.
    #[error("the kernel half's maps of unwind tables are full")]
    Full,
    /// The kernel refused a write.
    #[error(transparent)]
    Refused(#[from] LoadError),
}

/// What the maps hold.
#[derive(Debug)]
pub struct Pool {
    rules: Dictionary,
    /// For each shard, how many tables lie in it.
    shards: Vec<u32>,
    open: Option<Open>,
    tables: Vec<Option<Taken>>,
    max_shards: usize,
}

/// What one table takes.
#[derive(Debug, Default)]
struct Taken {
    shards: Vec<u32>,
    rules: Vec<u16>,
}

/// Distinct rules, each with a number and a count of the tables that have it.
#[derive(Debug, Default)]
struct Dictionary {
    numbers: HashMap<Rule, u16>,
    entries: Vec<(Rule, u32)>,
    free: Vec<u16>,
}

impl Dictionary {
    /// The number of a rule, and whether it is new; none if there is no number left.
    fn take(&mut self, rule: &Rule) -> Option<(u16, bool)> {
        if let Some(number) = self.numbers.get(rule) {
            self.entries[usize::from(*number)].1 += 1;
            return Some((*number, false));
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.entries.len() < RULES as usize => {
                self.entries.push((*rule, 0));
                (self.entries.len() - 1) as u16
            }
            None => return None,
        };
        self.entries[usize::from(number)] = (*rule, 1);
        self.numbers.insert(*rule, number);
        Some((number, true))
    }

    fn release(&mut self, number: u16) {
        let (rule, tables) = &mut self.entries[usize::from(number)];
        *tables -= 1;
        if *tables == 0 {
            self.numbers.remove(rule);
            self.free.push(number);
        }
    }
}

/// The shard that is being filled.
#[derive(Debug)]
struct Open {
    number: u32,
    used: usize,
    words: Box<Shard>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_shards(SHARDS as usize)
    }
}

impl Pool {
    /// A pool of at most `shards` shards.
    pub fn with_shards(shards: usize) -> Self {
        Self { rules: Dictionary::default(), shards: Vec::new(), open: None, tables: Vec::new(), max_shards: shards }
    }

    /// Places a table and returns its number.
    pub fn place(&mut self, table: &Table, maps: &mut dyn TableMaps) -> Result<u32, PlaceError> {
        let number = self.free_number().ok_or(PlaceError::Full)?;
        let mut placing = Placing { pool: self, maps, taken: Taken::default() };
        match placing.place(table, number) {
            Ok(()) => {
                let taken = std::mem::take(&mut placing.taken);
                self.tables[number as usize] = Some(taken);
                Ok(number)
            }
            Err(error) => {
                let taken = std::mem::take(&mut placing.taken);
                self.release(taken, maps);
                Err(error)
            }
        }
    }

    /// Removes a table.
    pub fn remove(&mut self, number: u32, maps: &mut dyn TableMaps) {
        let Some(taken) = self.tables.get_mut(number as usize).and_then(Option::take) else { return };
        if let Err(error) = maps.write_directory(number, &Directory::default()) {
            tracing::warn!("{error}");
        }
        self.release(taken, maps);
    }

    /// How many tables, shards in use and rules there are.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            tables: self.tables.iter().flatten().count(),
            shards: self.shards.iter().filter(|tables| **tables > 0).count(),
            rules: self.rules.numbers.len(),
        }
    }

    fn free_number(&mut self) -> Option<u32> {
        let free = self.tables.iter().position(Option::is_none).unwrap_or(self.tables.len());
        if free == self.tables.len() {
            if free >= TABLES as usize {
                return None;
            }
            self.tables.push(None);
        }
        Some(free as u32)
    }

    fn release(&mut self, taken: Taken, maps: &mut dyn TableMaps) {
        taken.rules.into_iter().for_each(|rule| self.rules.release(rule));
        for shard in taken.shards {
            let tables = &mut self.shards[shard as usize];
            *tables -= 1;
            if *tables > 0 {
                continue;
            }
            self.open = self.open.take().filter(|open| open.number != shard);
            if let Err(error) = maps.free_shard(shard) {
                tracing::warn!("{error}");
            }
        }
    }
}

/// What a [`Pool`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUsage {
    /// Tables.
    pub tables: usize,
    /// Shards with at least one table in them.
    pub shards: usize,
    /// Distinct rules.
    pub rules: usize,
}

/// A table on its way into the pool.
struct Placing<'a> {
    pool: &'a mut Pool,
    maps: &'a mut dyn TableMaps,
    taken: Taken,
}

impl Placing<'_> {
    fn place(&mut self, table: &Table, number: u32) -> Result<(), PlaceError> {
        let rules = self.intern_rules(&table.rules)?;
        let mut entries = Vec::with_capacity(table.pages.len() * 2);
        for page in &table.pages {
            entries.extend(self.place_page(table.rows_of(page), &rules)?.to_words());
        }
        let (shard, start) = self.reserve(entries.len())?;
        self.words(start, entries.len()).copy_from_slice(&entries);
        self.flush()?;
        let pages = table.pages.len() as u32;
        let directory = Directory { shard, start: start as u32, first_page: table.first_page, pages };
        Ok(self.maps.write_directory(number, &directory)?)
    }

    fn place_page(&mut self, rows: &[u32], rules: &[u16]) -> Result<Entry, PlaceError> {
        if rows.is_empty() {
            return Ok(Entry { shard: 0, start: 0, count: 0 });
        }
        let (shard, start) = self.reserve(rows.len())?;
        for (word, row) in self.words(start, rows.len()).iter_mut().zip(rows) {
            let Row { low, rule } = Row::from_word(*row);
            *word = Row { low, rule: rules[usize::from(rule)] }.to_word();
        }
        Ok(Entry { shard: shard as u16, start: start as u16, count: rows.len() as u16 })
    }

    /// The numbers of the table's rules in the dictionary.
    fn intern_rules(&mut self, rules: &[Rule]) -> Result<Vec<u16>, PlaceError> {
        rules.iter().map(|rule| self.intern_rule(rule)).collect()
    }

    fn intern_rule(&mut self, rule: &Rule) -> Result<u16, PlaceError> {
        let (number, is_new) = self.pool.rules.take(rule).ok_or(PlaceError::Full)?;
        self.taken.rules.push(number);
        if is_new {
            self.maps.write_rule(number, rule)?;
        }
        Ok(number)
    }

    /// Room for so many words in one shard: the open one, or a new one.
    fn reserve(&mut self, words: usize) -> Result<(u32, usize), PlaceError> {
        if self.pool.open.as_ref().is_none_or(|open| open.used + words > SHARD_WORDS) {
            self.flush()?;
            self.open_shard()?;
        }
        let open = self.pool.open.as_mut().ok_or(PlaceError::Full)?;
        let start = open.used;
        open.used += words;
        if start + words > SHARD_WORDS {
            return Err(PlaceError::Full);
        }
        if !self.taken.shards.contains(&open.number) {
            self.taken.shards.push(open.number);
            self.pool.shards[open.number as usize] += 1;
        }
        Ok((open.number, start))
    }

    fn open_shard(&mut self) -> Result<(), PlaceError> {
        let free = self.pool.shards.iter().position(|tables| *tables == 0).unwrap_or(self.pool.shards.len());
        if free >= self.pool.max_shards {
            return Err(PlaceError::Full);
        }
        if free == self.pool.shards.len() {
            self.pool.shards.push(0);
        }
        let words = vec![0; SHARD_WORDS].into_boxed_slice().try_into().expect("the length is that of a shard");
        self.pool.open = Some(Open { number: free as u32, used: 0, words });
        Ok(())
    }

    fn words(&mut self, start: usize, count: usize) -> &mut [u32] {
        let open = self.pool.open.as_mut().expect("room was just reserved");
        &mut open.words[start..start + count]
    }

    fn flush(&mut self) -> Result<(), PlaceError> {
        match &self.pool.open {
            Some(open) if open.used > 0 => Ok(self.maps.write_shard(open.number, &open.words)?),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;

    use profiler_common::unwind::table::{PAGE_SHIFT, search};

    use super::*;
    use crate::unwind::Source;

    #[derive(Default)]
    struct Fixture {
        rules: BTreeMap<u16, Rule>,
        shards: BTreeMap<u32, Box<Shard>>,
        directories: BTreeMap<u32, Directory>,
    }

    impl TableMaps for Fixture {
        fn write_rule(&mut self, number: u16, rule: &Rule) -> Result<(), LoadError> {
            self.rules.insert(number, *rule);
            Ok(())
        }

        fn write_shard(&mut self, number: u32, words: &Shard) -> Result<(), LoadError> {
            self.shards.insert(number, Box::new(*words));
            Ok(())
        }

        fn free_shard(&mut self, number: u32) -> Result<(), LoadError> {
            self.shards.remove(&number);
            Ok(())
        }

        fn write_directory(&mut self, table: u32, directory: &Directory) -> Result<(), LoadError> {
            self.directories.insert(table, *directory);
            Ok(())
        }
    }

    impl Fixture {
        /// The rule at an address, found as the kernel half does.
        fn find(&self, table: u32, address: u64) -> Rule {
            let directory = self.directories[&table];
            let page = (address >> PAGE_SHIFT) as u32 - directory.first_page;
            let at = (directory.start + 2 * page) as usize;
            let words = &self.shards[&directory.shard][at..at + 2];
            let entry = Entry::from_words([words[0], words[1]]);
            if entry.count == 0 {
                return Rule::NONE;
            }
            let rows = &self.shards[&u32::from(entry.shard)];
            let row = search(u32::from(entry.start), u32::from(entry.count), address as u16, |at| rows[at as usize]);
            self.rules[&row.rule]
        }
    }

    fn own_table() -> Table {
        Source::open(&File::open(std::env::current_exe().unwrap()).unwrap()).unwrap().build()
    }

    fn addresses(table: &Table) -> impl Iterator<Item = u64> {
        let first = u64::from(table.first_page) << PAGE_SHIFT;
        (first..first + ((table.pages.len() as u64) << PAGE_SHIFT)).step_by(97)
    }

    #[test]
    fn a_placed_table_gives_the_rules_it_was_made_of() {
        let (mut pool, mut maps, table) = (Pool::default(), Fixture::default(), own_table());
        let numbers: Vec<u32> = (0..3).map(|_| pool.place(&table, &mut maps).unwrap()).collect();
        for number in numbers {
            for address in addresses(&table) {
                assert_eq!(maps.find(number, address), table.find(address), "{address:#x}");
            }
        }
    }

    #[test]
    fn removed_tables_leave_nothing_behind() {
        let (mut pool, mut maps, table) = (Pool::default(), Fixture::default(), own_table());
        let first = pool.place(&table, &mut maps).unwrap();
        let second = pool.place(&table, &mut maps).unwrap();
        pool.remove(first, &mut maps);
        assert!(addresses(&table).all(|address| maps.find(second, address) == table.find(address)));
        pool.remove(second, &mut maps);
        assert!(maps.shards.is_empty());
        assert_eq!(pool.usage(), PoolUsage::default());
    }

    #[test]
    fn a_table_without_room_is_refused_and_leaves_the_others_alone() {
        let table = own_table();
        let (mut pool, mut maps) = (Pool::default(), Fixture::default());
        pool.place(&table, &mut maps).unwrap();
        let shards = pool.usage().shards;
        let (mut pool, mut maps) = (Pool::with_shards(shards + 1), Fixture::default());
        let number = pool.place(&table, &mut maps).unwrap();
        assert!(matches!(pool.place(&table, &mut maps), Err(PlaceError::Full)));
        assert!(addresses(&table).all(|address| maps.find(number, address) == table.find(address)));
        pool.remove(number, &mut maps);
        let number = pool.place(&table, &mut maps).unwrap();
        assert!(addresses(&table).all(|address| maps.find(number, address) == table.find(address)));
    }
}
