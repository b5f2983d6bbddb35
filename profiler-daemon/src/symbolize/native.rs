//! Addresses in executables and libraries: file offsets into frames, remembered per executable.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::engine::Engine;
use super::frames::{Frames, Shared};
use super::limits;
use super::symbol_file::SymbolFile;
use crate::process::elf::{Elf, Segments};
use crate::process::{Executable, ExecutableId, FileOffset, RecentMap};
use crate::profile::{Frame, FrameKind, Name, Reason};

/// The executables whose symbols are at hand, and the frames found in them.
#[derive(Debug)]
pub(super) struct Native {
    modules: RecentMap<ExecutableId, Module>,
    bytes: u64,
    frames: RecentMap<(ExecutableId, FileOffset), Frames>,
}

/// What is known of one executable.
#[derive(Debug)]
struct Module {
    segments: Segments,
    /// `None` if the file could not be read.
    symbols: Option<SymbolFile>,
}

impl Native {
    pub(super) fn new() -> Self {
        Self { modules: RecentMap::new(limits::SYMBOL_FILES), bytes: 0, frames: RecentMap::new(limits::NATIVE_FRAMES) }
    }

    /// The frames at an offset of an executable.
    pub(super) fn resolve(
        &mut self,
        executable: &Executable,
        offset: FileOffset,
        engine: &mut Engine,
        shared: &mut Shared,
    ) -> Frames {
        let key = (executable.id, offset);
        if let Some(known) = self.frames.find(&key) {
            return known.clone();
        }
        let frames = self.read(executable, offset, engine, shared);
        self.frames.insert(key, frames.clone());
        frames
    }

    /// How many executables have their symbols in memory, and how much memory that takes.
    pub(super) fn usage(&self) -> (usize, u64) {
        (self.modules.len(), self.bytes)
    }

    fn read(
        &mut self,
        executable: &Executable,
        offset: FileOffset,
        engine: &mut Engine,
        shared: &mut Shared,
    ) -> Frames {
        self.load(executable, engine);
        let module = self.modules.find(&executable.id).expect("the module was just loaded");
        let name = &executable.name;
        let Some(symbols) = &module.symbols else {
            return unknown(name, Reason::FileUnavailable, offset.0);
        };
        let Some(address) = module.segments.address_of(offset) else {
            return unknown(name, Reason::NoSymbol, offset.0);
        };
        let functions = engine.resolve_native(&symbols.path(), address, symbols.has_debug);
        if functions.is_empty() {
            let reason = if symbols.is_stripped { Reason::Stripped } else { Reason::NoSymbol };
            return unknown(name, reason, address);
        }
        shared.functions(functions, FrameKind::Native, name, address)
    }

    fn load(&mut self, executable: &Executable, engine: &mut Engine) {
        if self.modules.find(&executable.id).is_some() {
            return;
        }
        let read = executable.file().and_then(|file| Module::read(&file).ok());
        let module = read.unwrap_or_else(Module::unavailable);
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
            if let Some(symbols) = module.symbols {
                engine.forget(&symbols.path());
            }
        }
    }
}

impl Module {
    fn read(file: &File) -> io::Result<Self> {
        let elf = Elf::read(file)?;
        let symbols = Some(SymbolFile::create(file, &elf)?);
        Ok(Self { segments: elf.segments, symbols })
    }

    fn unavailable() -> Self {
        Self { segments: Segments::default(), symbols: None }
    }

    fn bytes(&self) -> u64 {
        self.symbols.as_ref().map_or(0, |symbols| symbols.bytes)
    }
}

fn unknown(module: &Arc<str>, reason: Reason, address: u64) -> Frames {
    let (kind, name, module) = (FrameKind::Native, Name::Unknown(reason), Some(module.clone()));
    Arc::new([Arc::new(Frame { kind, name, file: None, line: None, module, address, inlined: false })])
}
