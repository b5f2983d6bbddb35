//! The code of processes: which mapping an address lies in, and which unwind rule applies there.

use aya_ebpf::btf_maps::{Array as BtfArray, ArrayOfMaps};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap};
use profiler_common::limits;
use profiler_common::record::Identity;
use profiler_common::unwind::code::{KEY_BITS, Mapping, NewCode, Range, Space, TICK_NS, UNTABLED, key};
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{Directory, ENTRY_WORDS, Entry, PAGE_SHIFT, Row, SHARD_WORDS, search};
use profiler_common::unwind::walk::{Code, Process};

use crate::task::Task;
use crate::{lifecycle, memory, offsets, threads};

/// The space of each process whose mappings are known, by tgid. Preallocated: before Linux 6.1, programs of perf events
/// may use no other hash.
#[map]
static SPACES: HashMap<u32, Space> = HashMap::with_max_entries(limits::SPACES, 0);

/// Where memory was mapped since in each of these processes, by tgid. Nothing is evicted: what was there would be believed again.
#[map]
static NEW_CODE: HashMap<u32, NewCode> = HashMap::with_max_entries(limits::NEW_CODE, 0);

/// The blocks of mappings, by space and address.
#[map]
static MAPPINGS: LpmTrie<[u32; 3], Mapping> = LpmTrie::with_max_entries(limits::MAPPING_BLOCKS, 0);

/// Where the directory of each table is.
#[map]
static DIRECTORIES: Array<Directory> = Array::with_max_entries(limits::TABLES, 0);

/// Rows and directories, allocated shard by shard.
#[btf_map]
static SHARDS: ArrayOfMaps<BtfArray<[u32; SHARD_WORDS], 1>, { limits::SHARDS as usize }> = ArrayOfMaps::new();

/// Every distinct rule.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(limits::RULES, 0);

/// The space of a process, if its mappings are known for the image that runs.
#[inline(always)]
pub fn find_space(identity: &Identity) -> Option<Space> {
    // SAFETY: the entry is copied at once; an aliased copy fails the comparison.
    let space = unsafe { SPACES.get(identity.tgid) }?;
    let fits = space.start_ticks == identity.process_start_ns / TICK_NS && space.exec_ns == identity.exec_ns;
    if fits { Some(*space) } else { None }
}

/// A new process has its parent's mappings.
#[inline(always)]
pub fn inherit(parent: Task, child: Task) {
    // SAFETY: the entry is copied at once; it may be another process's by then, which its start time shows.
    let Some(space) = (unsafe { SPACES.get(parent.tgid()) }) else { return };
    let mut space = *space;
    if space.start_ticks != parent.leader().start_ns() / TICK_NS {
        return;
    }
    space.start_ticks = child.start_ns() / TICK_NS;
    // Without room the child's stacks say that it was not prepared.
    let new = new_code(parent.tgid());
    if new.at_ns == 0 || NEW_CODE.insert(child.tgid(), new, 0).is_ok() {
        let _ = SPACES.insert(child.tgid(), space, 0);
    }
}

/// The process ended or executes another program.
#[inline(always)]
pub fn forget(task: Task) {
    let _ = SPACES.remove(task.tgid());
    let _ = NEW_CODE.remove(task.tgid());
}

/// When memory was last about to be mapped where code of a process is known; zero if it never was.
#[inline(always)]
pub fn reserved_ns(tgid: u32) -> u64 {
    // SAFETY: the entry is read at once.
    unsafe { NEW_CODE.get(tgid) }.map_or(0, |new| new.at_ns)
}

/// Where memory was mapped in a process since its mappings were first known.
#[inline(always)]
fn new_code(tgid: u32) -> NewCode {
    // SAFETY: the entry is copied at once.
    unsafe { NEW_CODE.get(tgid) }.copied().unwrap_or(NewCode::NONE)
}

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Where code is looked for in a place that was found to be free: so many times, evenly, and at the second page, where small
/// libraries have theirs.
const PROBES: u64 = 16;

/// The current task is about to map memory where nothing is: what is known to lie there is gone, and what comes may be code.
#[inline(always)]
pub fn reserved(start: u64, request: u64) {
    // Otherwise it is an error's number.
    if start & (PAGE - 1) != 0 {
        return;
    }
    let Some(thread) = threads::find(Task::current()) else { return };
    let identity = &thread.identity;
    let Some(space) = find_space(identity) else { return };
    let length: u64 = memory::kernel(request, offsets::area_length());
    if !shows_code(space.space, start, length) {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    note_reserved(identity, Range { start, end: start.wrapping_add(length) }, space.read_ns, now_ns);
}

/// One process reserves one place at a time, under the lock of its mappings.
#[inline(always)]
fn note_reserved(identity: &Identity, range: Range, read_ns: u64, now_ns: u64) {
    let before = new_code(identity.tgid);
    let still_new = before.since(read_ns);
    let is_told = still_new.covers(range) && now_ns.wrapping_sub(before.told_ns) < limits::NEW_CODE_QUIET_NS;
    let mut new = still_new.add(now_ns, range);
    if !is_told {
        new.told_ns = now_ns;
    }
    if NEW_CODE.insert(identity.tgid, new, 0).is_err() {
        let _ = SPACES.remove(identity.tgid);
    }
    if !is_told {
        lifecycle::report_mapped(identity, range, (before.at_ns, now_ns), before.at_ns >= read_ns);
    }
}

/// Whether code of a file is known to lie in a range.
#[inline(always)]
fn shows_code(space: u32, start: u64, length: u64) -> bool {
    if length > PAGE && is_of_file(space, start.wrapping_add(PAGE)) {
        return true;
    }
    for probe in 0..PROBES {
        if is_of_file(space, start.wrapping_add(length / PROBES * probe)) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn is_of_file(space: u32, address: u64) -> bool {
    MAPPINGS.get(Key::new(KEY_BITS, key(space, address))).is_some_and(|mapping| mapping.kind != UNTABLED)
}

/// The current process, as a walk sees it.
pub struct Current<'a> {
    /// Its space.
    pub space: u32,
    /// The mapping found last: most frames lie in the same.
    pub last: &'a mut Mapping,
}

impl Process for Current<'_> {
    #[inline(always)]
    fn find_code(&mut self, address: u64) -> Code {
        if self.last.contains(address) {
            return self.last.code();
        }
        match MAPPINGS.get(Key::new(KEY_BITS, key(self.space, address))) {
            Some(mapping) => {
                *self.last = *mapping;
                mapping.code()
            }
            None => Code::Nowhere,
        }
    }

    #[inline(always)]
    fn find_rule(&mut self, table: u32, address: u64) -> Rule {
        match find_row(table, address) {
            Some(row) => RULES.get(u32::from(row.rule)).copied().unwrap_or(Rule::NONE),
            None => Rule::NONE,
        }
    }

    #[inline(always)]
    fn read(&mut self, address: u64) -> Option<u64> {
        memory::user_word(address)
    }
}

#[inline(always)]
fn find_row(table: u32, address: u64) -> Option<Row> {
    let directory = DIRECTORIES.get(table)?;
    let page = (address >> PAGE_SHIFT).wrapping_sub(u64::from(directory.first_page));
    if page >= u64::from(directory.pages) {
        return None;
    }
    let at = directory.start.wrapping_add(page as u32 * ENTRY_WORDS);
    let shard = shard(directory.shard)?;
    let entry = Entry::from_words([word(shard, at), word(shard, at + 1)]);
    if entry.count == 0 {
        return None;
    }
    let shard = self::shard(u32::from(entry.shard))?;
    Some(search(u32::from(entry.start), u32::from(entry.count), address as u16, |at| word(shard, at)))
}

#[inline(always)]
fn shard(number: u32) -> Option<&'static [u32; SHARD_WORDS]> {
    // A key on the stack: a constant of the object would be one more map to look at.
    let only = core::hint::black_box(0);
    SHARDS.get_value(number, &only)
}

/// The mask keeps the index where verifiers see its bound.
#[inline(always)]
fn word(shard: &[u32; SHARD_WORDS], at: u32) -> u32 {
    let at = core::hint::black_box(at) as usize & (SHARD_WORDS - 1);
    // SAFETY: masked to be within the shard.
    unsafe { *shard.get_unchecked(at) }
}
