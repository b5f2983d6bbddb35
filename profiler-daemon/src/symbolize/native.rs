//! Addresses in executables and libraries: file offsets into frames, remembered per executable.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::elf::{Elf, Segments};
use super::engine::Engine;
use super::frames::{Frames, Shared};
use super::go_table::GoTable;
use super::limits;
use super::separate::{self, Origin};
use super::symbol_file::SymbolFile;
use super::vdso::{VDSO_MODULE, read_vdso};
use crate::process::{Executable, ExecutableId, FileOffset, RecentMap};
use crate::profile::{Frame, FrameKind, Name, Reason};

/// The executables whose symbols are at hand, and the frames found in them.
#[derive(Debug)]
pub(super) struct Native {
    modules: RecentMap<ExecutableId, Module>,
    bytes: u64,
    frames: RecentMap<(ExecutableId, FileOffset), Frames>,
    vdso: OnceCell<Option<Rc<Executable>>>,
}

/// What is known of one executable.
#[derive(Debug)]
struct Module {
    segments: Segments,
    /// `None` if the file could not be read.
    symbols: Option<SymbolFile>,
    /// The Go runtime's own names, where there is no debug information.
    go_table: Option<GoTable>,
}

impl Native {
    pub(super) fn new() -> Self {
        Self {
            modules: RecentMap::new(limits::SYMBOL_FILES),
            bytes: 0,
            frames: RecentMap::new(limits::NATIVE_FRAMES),
            vdso: OnceCell::new(),
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

    /// The frames at an offset of the code the kernel maps into every process.
    pub(super) fn resolve_vdso(&mut self, offset: FileOffset, engine: &mut Engine, shared: &mut Shared) -> Frames {
        let read = || Some(Rc::new(Executable::from_daemon(ExecutableId(0), VDSO_MODULE, read_vdso().ok()?).ok()?));
        match self.vdso.get_or_init(read).clone() {
            Some(vdso) => self.resolve(&vdso, offset, None, engine, shared),
            None => unknown(&shared.text(VDSO_MODULE), Reason::FileUnavailable, offset.0),
        }
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
        let name = &executable.name;
        let Some(symbols) = &module.symbols else {
            return unknown(name, Reason::FileUnavailable, offset.0);
        };
        let Some(address) = module.segments.address_of(offset) else {
            return unknown(name, Reason::NoSymbol, offset.0);
        };
        let go_function = module.go_table.as_ref().and_then(|table| table.resolve(address));
        let functions = match go_function {
            Some(function) => vec![function],
            None => engine.resolve_native(&symbols.path(), address, symbols.has_debug),
        };
        if functions.is_empty() {
            let reason = if symbols.is_stripped { Reason::Stripped } else { Reason::NoSymbol };
            return unknown(name, reason, address);
        }
        shared.functions(functions, FrameKind::Native, name, address)
    }

    fn load(&mut self, executable: &Executable, origin: Option<&Origin<'_>>, engine: &mut Engine) {
        if self.modules.find(&executable.id).is_some() {
            return;
        }
        let read = executable.file().and_then(|file| Module::read(&file, executable, origin).ok());
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
    fn read(file: &File, executable: &Executable, origin: Option<&Origin<'_>>) -> io::Result<Self> {
        let elf = Elf::read(file)?;
        let symbols = copy_symbols(file, &elf, executable, origin)?;
        let go_table = if symbols.has_debug { None } else { GoTable::read(file, &elf).ok() };
        Ok(Self { segments: elf.segments, symbols: Some(symbols), go_table })
    }

    fn unavailable() -> Self {
        Self { segments: Segments::default(), symbols: None, go_table: None }
    }

    fn bytes(&self) -> u64 {
        let symbols = self.symbols.as_ref().map_or(0, |symbols| symbols.bytes);
        symbols + self.go_table.as_ref().map_or(0, GoTable::bytes)
    }
}

/// The symbols of the executable, or those of the file that has its debug information.
fn copy_symbols(
    file: &File,
    elf: &Elf,
    executable: &Executable,
    origin: Option<&Origin<'_>>,
) -> io::Result<SymbolFile> {
    let has_debug = elf.has(b".debug_info");
    let separate = if has_debug { None } else { separate::find(file, elf, &executable.facts, origin) };
    let copied = separate.and_then(|(file, elf)| SymbolFile::copy(&file, &elf).ok());
    copied.map_or_else(|| SymbolFile::copy(file, elf), Ok)
}

fn unknown(module: &Arc<str>, reason: Reason, address: u64) -> Frames {
    let (kind, name, module) = (FrameKind::Native, Name::Unknown(reason), Some(module.clone()));
    Arc::new([Arc::new(Frame { kind, name, file: None, line: None, module, address, inlined: false })])
}
