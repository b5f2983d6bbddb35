//! Addresses in executables and libraries: file offsets into frames, remembered per executable.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::debuginfod::Debuginfod;
use super::engine::Engine;
use super::frames::{Frames, Shared};
use super::limits;
use super::module::Module;
use super::separate::Origin;
use crate::process::{Executable, ExecutableId, FileOffset, RecentMap};
use crate::profile::{Frame, FrameKind, Reason};

/// The executables whose symbols are at hand, and the frames found in them.
#[derive(Debug)]
pub(super) struct Native {
    modules: RecentMap<ExecutableId, Module>,
    bytes: u64,
    frames: RecentMap<(ExecutableId, FileOffset), Frames>,
    debuginfod: Option<Debuginfod>,
}

impl Native {
    /// `debuginfod` is asked for debug information that this host does not have.
    pub(super) fn new(debuginfod: Option<Debuginfod>) -> Self {
        Self {
            modules: RecentMap::new(limits::SYMBOL_FILES),
            bytes: 0,
            frames: RecentMap::new(limits::NATIVE_FRAMES),
            debuginfod,
        }
    }

    /// The frames at an offset of an executable.
    pub(super) fn resolve(
        &mut self,
        executable: &Executable,
        offset: FileOffset,
        origin: Option<&Origin<'_>>,
        engine: &mut Engine,
        shared: &mut Shared,
    ) -> Frames {
        let key = (executable.id, offset);
        if let Some(known) = self.frames.find(&key) {
            return known.clone();
        }
        let frames = self.read(executable, offset, origin, engine, shared);
        self.frames.insert(key, frames.clone());
        frames
    }

    /// Forgets the executables whose debug information arrived meanwhile, so that they are read again.
    pub(super) fn forget_outdated(&mut self, engine: &mut Engine) {
        let arrived = self.debuginfod.as_ref().map(Debuginfod::take_arrived).unwrap_or_default();
        if arrived.is_empty() {
            return;
        }
        let outdated = self.forget_where(engine, |module| module.wants(&arrived));
        self.frames.retain(|(id, _), _| !outdated.contains(id));
    }

    /// Lets go of symbols nobody has asked for in a while. Names that were found stay without them.
    pub(super) fn forget_unused(&mut self, now: Instant, engine: &mut Engine) {
        self.forget_where(engine, |module| module.is_unused(now));
    }

    /// Forgets the symbols of the executables `is_over` holds for, and returns which they were.
    fn forget_where(&mut self, engine: &mut Engine, is_over: impl Fn(&Module) -> bool) -> HashSet<ExecutableId> {
        let mut over = HashSet::new();
        self.modules.retain(|id, module| {
            if is_over(module) {
                over.insert(*id);
            }
            true
        });
        let forgotten = over.iter().filter_map(|id| Some((*id, self.modules.remove(id)?))).collect();
        self.forget(forgotten, engine);
        over
    }

    /// How many executables have their symbols in memory, and how much memory that takes.
    pub(super) fn usage(&self) -> (usize, u64) {
        (self.modules.len(), self.bytes)
    }

    fn read(
        &mut self,
        executable: &Executable,
        offset: FileOffset,
        origin: Option<&Origin<'_>>,
        engine: &mut Engine,
        shared: &mut Shared,
    ) -> Frames {
        self.load(executable, origin, engine);
        let module = self.modules.find(&executable.id).expect("the module was just loaded");
        module.use_at(Instant::now());
        let name = &executable.name;
        if !module.is_available() {
            return unknown(name, Reason::FileUnavailable, offset.0);
        }
        let Some(address) = module.segments.address_of(offset) else {
            return unknown(name, Reason::NoSymbol, offset.0);
        };
        let functions = module.resolve(address, engine);
        if functions.is_empty() {
            return unknown(name, if module.is_stripped() { Reason::Stripped } else { Reason::NoSymbol }, address);
        }
        shared.functions(functions, FrameKind::Native, name, address)
    }

    fn load(&mut self, executable: &Executable, origin: Option<&Origin<'_>>, engine: &mut Engine) {
        if self.modules.find(&executable.id).is_some() {
            return;
        }
        let servers = self.debuginfod.as_mut();
        let read = executable.file().and_then(|file| Module::read(&file, &executable.facts, origin, servers).ok());
        let module = read.unwrap_or_default();
        self.bytes += module.bytes();
        let forgotten = self.modules.insert(executable.id, module);
        self.forget(forgotten, engine);
        while self.bytes > limits::SYMBOL_BYTES && self.modules.len() > 1 {
            let forgotten = self.modules.forget_oldest();
            self.forget(forgotten, engine);
        }
    }

    fn forget(&mut self, forgotten: Vec<(ExecutableId, Module)>, engine: &mut Engine) {
        for (_, module) in forgotten {
            self.bytes -= module.bytes();
            module.forget(engine);
        }
    }
}

fn unknown(module: &Arc<str>, reason: Reason, address: u64) -> Frames {
    Arc::new([Arc::new(Frame::unknown(FrameKind::Native, reason, Some(module.clone()), address))])
}
