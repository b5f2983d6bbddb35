//! The maps that tell the kernel half what code processes have: spaces, mappings, tables of unwind rules.
//!
//! Typed writes and nothing else; what belongs where is decided by whoever fills them.

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, MapError};
use profiler_common::hotspot::HotSpot;
use profiler_common::limits::SHARDS;
use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::Interpreter;
use profiler_common::unwind::code::{Mapping, SPACE_BITS, Space, blocks, key};
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{Directory, SHARD_WORDS};

use super::LoadError;
use super::kernel::take_map;

/// The words of one shard.
pub type Shard = [u32; SHARD_WORDS];

/// An interpreter as the words its map holds.
type InterpreterWords = [u64; size_of::<Interpreter>() / 8];

/// The same of a Java virtual machine.
type HotSpotWords = [u64; size_of::<HotSpot>() / 8];

/// The same of asyncio.
type AsyncioWords = [u64; size_of::<Asyncio>() / 8];

type ShardMap = Array<MapData, Shard>;

/// The maps, owned by whoever fills them.
pub struct CodeMaps {
    spaces: HashMap<MapData, u32, [u64; 4]>,
    mappings: LpmTrie<MapData, [u32; 3], [u64; 4]>,
    directories: Array<MapData, [u32; 4]>,
    shards: ArrayOfMaps<MapData, ShardMap>,
    rules: Array<MapData, [u64; 3]>,
    interpreters: HashMap<MapData, u32, InterpreterWords>,
    asyncio: HashMap<MapData, u32, AsyncioWords>,
    hotspots: HashMap<MapData, u32, HotSpotWords>,
    /// The shard written last, which is often written again.
    last: Option<(u32, ShardMap)>,
    /// Takes the place of shards that were given back, so that their memory is freed.
    empty: Option<ShardMap>,
}

impl CodeMaps {
    /// Takes the maps out of the loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            spaces: take_map(ebpf, "SPACES", HashMap::try_from)?,
            mappings: take_map(ebpf, "MAPPINGS", LpmTrie::try_from)?,
            directories: take_map(ebpf, "DIRECTORIES", Array::try_from)?,
            shards: take_map(ebpf, "SHARDS", ArrayOfMaps::try_from)?,
            rules: take_map(ebpf, "RULES", Array::try_from)?,
            interpreters: take_map(ebpf, "INTERPRETERS", HashMap::try_from)?,
            asyncio: take_map(ebpf, "ASYNCIO", HashMap::try_from)?,
            hotspots: take_map(ebpf, "HOTSPOTS", HashMap::try_from)?,
            last: None,
            empty: None,
        })
    }

    /// The space of a process, if it has one.
    pub fn space(&self, tgid: u32) -> Option<Space> {
        self.spaces.get(&tgid, 0).ok().map(bytemuck::cast)
    }

    /// Every process that has a space, children that inherited theirs included.
    pub fn spaces(&self) -> Vec<(u32, Space)> {
        self.spaces.iter().filter_map(|entry| entry.ok().map(|(tgid, space)| (tgid, bytemuck::cast(space)))).collect()
    }

    /// Gives a process a space.
    pub fn set_space(&mut self, tgid: u32, space: &Space) -> Result<(), LoadError> {
        self.spaces.insert(tgid, bytemuck::cast::<Space, [u64; 4]>(*space), 0).map_err(|error| refused(&error))
    }

    /// Takes a process's space away, if it has one.
    pub fn remove_space(&mut self, tgid: u32) {
        // It may be gone already: the kernel half forgets processes that end.
        let _ = self.spaces.remove(&tgid);
    }

    /// Adds a mapping to a space. If that fails, parts of it may be there.
    pub fn add_mapping(&mut self, space: u32, mapping: &Mapping) -> Result<(), LoadError> {
        let value: [u64; 4] = bytemuck::cast(*mapping);
        for (address, bits) in blocks(mapping.start, mapping.end) {
            let key = Key::new(SPACE_BITS + bits, key(space, address));
            self.mappings.insert(&key, value, 0).map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    /// Removes a mapping from a space.
    pub fn remove_mapping(&mut self, space: u32, mapping: &Mapping) {
        for (address, bits) in blocks(mapping.start, mapping.end) {
            // Parts of it may never have been there.
            let _ = self.mappings.remove(&Key::new(SPACE_BITS + bits, key(space, address)));
        }
    }

    /// Tells of the Python interpreter in a space.
    pub fn set_interpreter(&mut self, space: u32, interpreter: &Interpreter) -> Result<(), LoadError> {
        let words: InterpreterWords = bytemuck::cast(*interpreter);
        self.interpreters.insert(space, words, 0).map_err(|error| refused(&error))
    }

    /// Tells where asyncio keeps its tasks in a space.
    pub fn set_asyncio(&mut self, space: u32, asyncio: &Asyncio) -> Result<(), LoadError> {
        let words: AsyncioWords = bytemuck::cast(*asyncio);
        self.asyncio.insert(space, words, 0).map_err(|error| refused(&error))
    }

    /// Tells of the Java virtual machine in a space.
    pub fn set_hotspot(&mut self, space: u32, hotspot: &HotSpot) -> Result<(), LoadError> {
        let words: HotSpotWords = bytemuck::cast(*hotspot);
        self.hotspots.insert(space, words, 0).map_err(|error| refused(&error))
    }

    /// Forgets the runtimes in a space, if it has any.
    pub fn remove_runtimes(&mut self, space: u32) {
        let _ = self.interpreters.remove(&space);
        let _ = self.asyncio.remove(&space);
        let _ = self.hotspots.remove(&space);
    }

    /// Writes a rule.
    pub fn write_rule(&mut self, number: u16, rule: &Rule) -> Result<(), LoadError> {
        self.rules.set(u32::from(number), bytemuck::cast::<Rule, [u64; 3]>(*rule), 0).map_err(|error| refused(&error))
    }

    /// Writes where the directory of a table is.
    pub fn write_directory(&mut self, table: u32, directory: &Directory) -> Result<(), LoadError> {
        let words: [u32; 4] = bytemuck::cast(*directory);
        self.directories.set(table, words, 0).map_err(|error| refused(&error))
    }

    /// Writes a whole shard, allocating it if need be. Words that stay the same can be read meanwhile.
    pub fn write_shard(&mut self, number: u32, words: &Shard) -> Result<(), LoadError> {
        debug_assert!(number < SHARDS);
        match &mut self.last {
            Some((last, map)) if *last == number => map.set(0, words, 0).map_err(|error| refused(&error)),
            _ => {
                let mut map = ShardMap::create(1, 0).map_err(|error| refused(&error))?;
                map.set(0, words, 0).map_err(|error| refused(&error))?;
                self.shards.set(number, &map, 0).map_err(|error| refused(&error))?;
                self.last = Some((number, map));
                Ok(())
            }
        }
    }

    /// Frees a shard's memory.
    pub fn free_shard(&mut self, number: u32) -> Result<(), LoadError> {
        if self.last.as_ref().is_some_and(|(last, _)| *last == number) {
            self.last = None;
        }
        let empty = match self.empty.take() {
            Some(empty) => empty,
            None => ShardMap::create(1, 0).map_err(|error| refused(&error))?,
        };
        let result = self.shards.set(number, &empty, 0).map_err(|error| refused(&error));
        self.empty = Some(empty);
        result
    }
}

fn refused(error: &MapError) -> LoadError {
    LoadError::refused("a change of what it knows of code", error)
}
