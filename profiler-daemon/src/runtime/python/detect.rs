//! Finding the interpreters of a process: in its memory alone, by the symbols they export.
//!
//! Any executable may hold one: the program itself, `libpython`, a program that embeds it under a name of its own. So each
//! mapped executable is asked for `_PyRuntime`; one without is done with after seven short reads. An interpreter that has
//! not started yet is found, too, since its threads appear later.

use std::collections::HashSet;

use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::{
    COLLECTING_IN_INTERPRETER, Interpreter, LOCK_IN_INTERPRETER, THREAD_INTERPRETER,
};

use super::debug_offsets;
use super::layout::{self, Layout, Place};
use super::refusal::Refusal;
use super::version::Version;
use crate::process::image::is_python_file;
use crate::process::{Address, Mapping, Mappings, World};
use crate::runtime::image::{Header, LoadedImage, Symbol};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The minor version from which on interpreters publish their layout.
const PUBLISHED_FROM: u8 = 13;

/// One executable that is a Python interpreter, or is to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// A mapping of the executable's code.
    pub mapping: Mapping,
    /// What walks and names need, or why there are none.
    pub found: Result<Python, Refusal>,
}

/// An interpreter in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Python {
    /// What walks need.
    pub interpreter: Interpreter,
    /// What names need.
    pub layout: Layout,
    /// The address of `_PyRuntime`.
    pub runtime: u64,
}

/// The interpreters of a process, by address; none if it has nothing to do with Python.
pub fn detect(pid: u32, mappings: &Mappings, world: &dyn World) -> Vec<Detected> {
    let memory = ProcessMemory::new(pid, world);
    let mut seen = HashSet::new();
    let images = mappings.iter().filter(|mapping| mapping.header.is_some_and(|header| seen.insert(header)));
    let found = images.take(limits::PYTHON_IMAGES).filter_map(|mapping| {
        let found = detect_in(mapping.header?, mapping, &memory)?;
        Some(Detected { mapping: mapping.clone(), found })
    });
    keep_reasons(found.collect())
}

/// That a file with the name of an interpreter has no symbols matters only if no other file has the interpreter: a small
/// program `python3` may do nothing but call `libpython`.
fn keep_reasons(mut found: Vec<Detected>) -> Vec<Detected> {
    let is_nameless = |detected: &Detected| detected.found == Err(Refusal::NoSymbols);
    if !found.iter().all(is_nameless) {
        found.retain(|detected| !is_nameless(detected));
    }
    found
}

/// What one executable is; `None` if it has nothing to do with Python. The name decides nothing but which reason is told.
pub fn detect_in(header: Address, mapping: &Mapping, memory: &ProcessMemory<'_>) -> Option<Result<Python, Refusal>> {
    let is_named = || is_python_file(&mapping.file_name());
    match Header::read(header.0, memory) {
        Some(Header::Executable(image)) => {
            detect_symbols(&image, memory).or_else(|| is_named().then_some(Err(Refusal::NoSymbols)))
        }
        Some(Header::ThirtyTwoBit) => is_named().then_some(Err(Refusal::ThirtyTwoBit)),
        Some(Header::OtherMachine) => is_named().then_some(Err(Refusal::OtherMachine)),
        Some(Header::Nameless) => is_named().then_some(Err(Refusal::NoSymbols)),
        None => is_named().then_some(Err(Refusal::Unreadable)),
    }
}

fn detect_symbols(image: &LoadedImage, memory: &ProcessMemory<'_>) -> Option<Result<Python, Refusal>> {
    let Some(runtime) = image.find("_PyRuntime", memory) else { return detect_others(image, memory).map(Err) };
    let code_type = image.find("PyCode_Type", memory);
    Some(code_type.ok_or(Refusal::NoSymbols).and_then(|code_type| read_python(image, runtime, code_type, memory)))
}

/// Pythons without a `_PyRuntime`.
fn detect_others(image: &LoadedImage, memory: &ProcessMemory<'_>) -> Option<Refusal> {
    if image.find("PyCode_Type", memory).is_some() {
        return Some(Refusal::TooOld);
    }
    image.find("pypy_setup_home", memory).map(|_| Refusal::PyPy)
}

fn read_python(
    image: &LoadedImage,
    runtime: Symbol,
    code_type: Symbol,
    memory: &ProcessMemory<'_>,
) -> Result<Python, Refusal> {
    let version = read_version(image, runtime, code_type, memory)?.check()?;
    let (interpreter, layout) = read_layout(runtime, version, memory)?;
    let interpreters = runtime.address.wrapping_add(layout.runtime_interpreters.into());
    let (lock, flag) = match layout.lock {
        // Threads of a free-threaded interpreter do not wait for it.
        _ if layout.is_free_threaded => (0, 0),
        Place::Runtime(offset) => (runtime.address.wrapping_add(offset.into()), 0),
        Place::Interpreter(offset) => (offset.into(), LOCK_IN_INTERPRETER),
    };
    let (collecting, collecting_flag) = match layout.is_collecting {
        // There is no lock whose holder collects.
        _ if layout.is_free_threaded => (0, 0),
        Place::Runtime(offset) => (runtime.address.wrapping_add(offset.into()), 0),
        Place::Interpreter(offset) => (offset.into(), COLLECTING_IN_INTERPRETER),
    };
    let flags = interpreter.flags | flag | collecting_flag;
    let code_type = code_type.address;
    let interpreter = Interpreter { interpreters, code_type, lock, collecting, flags, ..interpreter };
    let layout = Layout { asyncio: layout.asyncio.and_then(|known| with_types(known, image, memory)), ..layout };
    let python = Python { interpreter, layout, runtime: runtime.address };
    python.check(memory)?;
    Ok(python)
}

/// The types of the objects that asyncio's tasks are made of, which every interpreter exports.
fn with_types(known: Asyncio, image: &LoadedImage, memory: &ProcessMemory<'_>) -> Option<Asyncio> {
    let address = |name| image.find(name, memory).map(|symbol| symbol.address);
    Some(Asyncio {
        text_type: address("PyUnicode_Type")?,
        number_type: address("PyLong_Type")?,
        coroutine_type: address("PyCoro_Type")?,
        generator_type: address("PyGen_Type")?,
        ..known
    })
}

fn read_version(
    image: &LoadedImage,
    runtime: Symbol,
    code_type: Symbol,
    memory: &ProcessMemory<'_>,
) -> Result<Version, Refusal> {
    match image.find("Py_Version", memory) {
        Some(number) => memory.read_u32(number.address).map(Version::from_number).ok_or(Refusal::Unreadable),
        None => Version::from_sizes(code_type.size, runtime.size),
    }
}

fn read_layout(
    runtime: Symbol,
    version: Version,
    memory: &ProcessMemory<'_>,
) -> Result<(Interpreter, Layout), Refusal> {
    if version.minor >= PUBLISHED_FROM {
        return debug_offsets::read(runtime.address, runtime.size, version, memory);
    }
    layout::of_version(version).ok_or(Refusal::UnknownLayout(version))
}

impl Python {
    /// Looks whether the first interpreter's first thread belongs to that interpreter, if there are such by now.
    fn check(&self, memory: &ProcessMemory<'_>) -> Result<(), Refusal> {
        for _ in 0..limits::PYTHON_CHECKS {
            let first = memory.read_u64(self.interpreter.interpreters).ok_or(Refusal::Unreadable)?;
            if first == 0 {
                return Ok(());
            }
            match memory.read_field(first, self.interpreter.interpreter_threads) {
                Some(0) => return Ok(()),
                Some(thread) if memory.read_u64(thread.wrapping_add(THREAD_INTERPRETER)) == Some(first) => {
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Refusal::UnknownLayout(self.layout.version))
    }
}
