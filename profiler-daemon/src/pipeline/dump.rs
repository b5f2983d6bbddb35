//! The threads of one process without a daemon: read, named, and that is all. Nothing is loaded into the kernel.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use crate::aggregate::RawStack;
use crate::outside::{Accounts, Host, RawPlace, Reader};
use crate::process::{ProcWorld, ProcessError, Registry};
use crate::profile::{Place, ProcessNow, Stack};
use crate::runtime::Runtimes;
use crate::settings::SamplingSettings;
use crate::symbolize::Symbolizer;
use crate::sys::private_directory::PrivateDirectory;
use crate::unwind::TableCache;

/// What all threads of a process do now.
pub fn dump(pid: u32, settings: &SamplingSettings) -> Result<ProcessNow<Place>, ProcessError> {
    let (registry, runtimes) = (Registry::new(), Arc::<Runtimes>::default());
    let host = Host { registry: &registry, runtimes: &runtimes, world: &ProcWorld };
    let tables = settings.cache_dir.as_deref().and_then(|path| open_cache(path, settings.cache_limit));
    let mut reader = Reader::new(Arc::new(tables.unwrap_or_else(TableCache::disabled)));
    let raw = reader.read_process(pid, Accounts::new, |_| host)?;
    let mut symbolizer = Symbolizer::with_sources(runtimes.clone(), None).with_source_text(settings.source_text);
    let name = |stacks: Vec<RawStack>| {
        Ok::<_, Infallible>(symbolizer.name_stacks(&stacks, (&registry, &runtimes), &ProcWorld))
    };
    Ok(with_names(raw, name).unwrap_or_else(|never| match never {}))
}

/// Where tables cannot be kept, as whoever is not root sees it, they are made.
fn open_cache(path: &Path, limit_bytes: u64) -> Option<TableCache> {
    let directory = PrivateDirectory::open(path).ok()?;
    TableCache::open(&directory, limit_bytes).ok()
}

/// The same threads with the names of their frames.
pub(super) fn with_names<E>(
    raw: ProcessNow<RawPlace>,
    name: impl FnOnce(Vec<RawStack>) -> Result<Vec<Stack>, E>,
) -> Result<ProcessNow<Place>, E> {
    let stacks = raw.threads.iter().filter_map(|thread| thread.stack.as_ref().ok().cloned()).collect();
    let mut named = name(stacks)?.into_iter();
    Ok(raw.map_stacks(|place| place.map(|_| named.next().unwrap_or_default()).map_err(|reason| reason.to_string())))
}
