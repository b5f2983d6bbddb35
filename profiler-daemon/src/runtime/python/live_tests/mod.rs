//! Real interpreters as children of the test, read from outside and compared with what they say themselves.
//!
//! Those of pyenv and of the system are taken, and, for whoever may change roots, those in roots of their own under the target
//! folder. No version has to be there: the test says which ones it saw.

mod suspended;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use profiler_common::python::interpreter::LOCK_HOLDER;
use profiler_common::python::stop;

use super::threads::{ThreadFrames, read_threads};
use super::{CodeObject, Python, Refusal, detect};
use crate::process::{Mappings, ProcFile, ProcWorld, World};
use crate::runtime::memory::ProcessMemory;

const PARKED: &str = include_str!("parked.py");
const BUSY: &str = include_str!("busy.py");
/// How often the busy threads are read.
const READINGS: usize = 100;

/// Function, file and line.
type Frame = (String, String, u32);

/// What a child says of itself.
#[derive(Debug, serde::Deserialize)]
struct Told {
    version: String,
    main: u64,
    /// The frames of its threads, innermost first, by thread pointer.
    threads: BTreeMap<u64, Vec<Frame>>,
}

/// An interpreter, possibly in a root of its own.
#[derive(Debug)]
struct Installed {
    root: Option<PathBuf>,
    program: PathBuf,
}

/// A running interpreter; killed with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Installed {
    fn all() -> Vec<Self> {
        let pyenv = PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".pyenv/versions");
        let roots = env::current_exe().unwrap().ancestors().nth(3).unwrap().join("test-roots");
        let own = |program| Self { root: None, program };
        let pyenv = entries(&pyenv).into_iter().map(|folder| folder.join("bin/python3"));
        let system = programs_in(Path::new("/usr/bin"));
        let unpacked = entries(&roots).into_iter().flat_map(|root| {
            let programs = programs_in(&root.join("usr/bin"));
            let inside = |program: PathBuf| Path::new("/").join(program.strip_prefix(&root).unwrap());
            programs
                .into_iter()
                .map(|program| Self { root: Some(root.clone()), program: inside(program) })
                .collect::<Vec<_>>()
        });
        pyenv.filter(|program| program.exists()).chain(system).map(own).chain(unpacked).collect()
    }

    /// Whether the program's name ends with this version.
    fn is_of(&self, version: &str) -> bool {
        self.program.to_string_lossy().ends_with(version)
    }

    /// Runs the script; `None` if this interpreter cannot be run here.
    fn run(&self, script: &Path) -> Option<Running> {
        let inside = Path::new("/tmp").join(script.file_name()?);
        let mut command = match &self.root {
            None => Command::new(&self.program),
            Some(root) => {
                fs::copy(script, root.join(inside.strip_prefix("/").ok()?)).ok()?;
                let mut chroot = Command::new("chroot");
                chroot.arg(root).arg(&self.program);
                chroot
            }
        };
        let script = if self.root.is_some() { &inside } else { script };
        command.arg("-u").arg(script).env("PYTHONUTF8", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok().map(Running)
    }

    /// Removes the copy of the script that [`Self::run`] made.
    fn clean(&self, script: &Path) {
        if let (Some(root), Some(name)) = (&self.root, script.file_name()) {
            let _ = fs::remove_file(root.join("tmp").join(name));
        }
    }
}

/// The entries of a folder, in order; none if there is no folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The files `python3.N`.
fn programs_in(folder: &Path) -> Vec<PathBuf> {
    let is_python = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.strip_prefix("python3.").is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
    };
    entries(folder).into_iter().filter(is_python).collect()
}

fn detect_in(child: &Running) -> Vec<super::Detected> {
    let pid = child.0.id();
    let mappings = Mappings::parse(&ProcWorld.read(pid, ProcFile::Maps).unwrap());
    detect(pid, &mappings, &ProcWorld)
}

/// Runs the script in an interpreter and waits for the line it says.
fn start(installed: &Installed, script: &Path) -> Option<(Running, String)> {
    let mut child = installed.run(script)?;
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    installed.clean(script);
    if line.is_empty() {
        eprintln!("SKIPPED: {installed:?} does not run here");
        return None;
    }
    Some((child, line))
}

fn read_all(child: &Running, python: &Python) -> Vec<ThreadFrames> {
    read_threads(python, &ProcessMemory::new(child.0.id(), &ProcWorld))
}

/// Names what was recorded of a thread.
fn name(thread: &ThreadFrames, child: &Running, python: &Python) -> Vec<Frame> {
    let memory = ProcessMemory::new(child.0.id(), &ProcWorld);
    let frames = thread.entries.iter().filter(|[code, ..]| *code != 0);
    let name = |[code, instruction, fingerprint]: &[u64; 3]| {
        let object = CodeObject::read(*code, *fingerprint, python, &memory).unwrap();
        let line = object.line_of(*instruction).unwrap_or_default();
        assert!(object.holds(*instruction), "{object:?}");
        (object.qualified_name, object.file, line)
    };
    frames.map(name).collect()
}

fn check_threads(child: &Running, python: &Python, told: &Told) {
    let read = read_all(child, python);
    assert_eq!(read.len(), told.threads.len() + 1, "{}", told.version);
    for thread in read {
        let frames = name(&thread, child, python);
        assert_eq!(thread.stop, stop::COMPLETE);
        let markers = thread.entries.iter().filter(|[code, ..]| *code == 0).count();
        assert_eq!(markers > 0, python.layout.version.minor >= 10, "{}: {thread:?}", told.version);
        if thread.thread_pointer == told.main {
            let functions: Vec<_> = frames.iter().map(|(function, ..)| function.as_str()).collect();
            assert_eq!(functions.iter().rev().take(2).collect::<Vec<_>>(), [&"<module>", &"main"]);
        } else {
            assert_eq!(frames, told.threads[&thread.thread_pointer], "{}", told.version);
        }
    }
}

/// Nobody runs Python while all wait, and the last that did is one of the threads.
fn check_lock(child: &Running, python: &Python) {
    let memory = ProcessMemory::new(child.0.id(), &ProcWorld);
    let states: Vec<_> = read_all(child, python).iter().map(|thread| thread.state).collect();
    let lock = python.interpreter.lock_address(states[0], &mut &memory).unwrap();
    let holder = memory.read_u64(lock + LOCK_HOLDER).unwrap();
    assert!(states.contains(&holder), "{holder:#x} {states:?}");
    assert!(!python.interpreter.collects(holder, lock, &mut &memory));
    let key = python.layout.thread_key.and_then(|field| memory.read_field(python.runtime, field));
    let is_made = |key: u64| key as u32 == 1 && key >> 32 < 32;
    assert!(key.is_none_or(is_made) && key.is_some() == (python.layout.version.minor < 15), "{key:?}");
}

/// Every thread but the main one waits below a call.
fn check_calls(child: &Running, python: &Python, told: &Told) {
    let memory = ProcessMemory::new(child.0.id(), &ProcWorld);
    for thread in read_all(child, python).iter().filter(|thread| thread.thread_pointer != told.main) {
        let [code, instruction, fingerprint] = thread.entries[0];
        let object = CodeObject::read(code, fingerprint, python, &memory).unwrap();
        // `__getattr__` and `with` are not calls by their instructions.
        if object.qualified_name != "waits_for_lock" {
            assert_eq!(object.is_at_call(instruction, &memory), Some(true), "{}: {object:?}", told.version);
        }
    }
}

/// A code object whose fingerprint is another one is not named.
fn check_fingerprint(child: &Running, python: &Python) {
    let memory = ProcessMemory::new(child.0.id(), &ProcWorld);
    let [code, _, fingerprint] = read_all(child, python)[0].entries[0];
    assert_eq!(CodeObject::read(code, fingerprint ^ 1, python, &memory), Err(super::Unnamed::Changed));
    assert_eq!(CodeObject::read(8, fingerprint, python, &memory), Err(super::Unnamed::Unreadable));
}

/// Compares what is read of a child with what it told.
fn check(child: &Running, told: &Told) {
    let found = detect_in(child);
    assert_eq!(found.len(), 1, "{}: {found:?}", told.version);
    let is_old = ["3.6.", "3.7."].iter().any(|old| told.version.starts_with(old));
    let python = match found[0].found {
        Ok(python) => python,
        Err(refusal) => return assert_eq!((refusal, is_old), (Refusal::TooOld, true), "{}", told.version),
    };
    assert!(told.version.starts_with(&python.layout.version.to_string()), "{} {python:?}", told.version);
    check_threads(child, &python, told);
    check_calls(child, &python, told);
    check_lock(child, &python);
    check_fingerprint(child, &python);
}

#[test]
fn each_interpreter_is_read_as_it_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("gepàrkt.py");
    fs::write(&script, PARKED).unwrap();
    let mut seen = Vec::new();
    for installed in Installed::all() {
        let Some((child, line)) = start(&installed, &script) else { continue };
        let told: Told = serde_json::from_str(&line).unwrap();
        check(&child, &told);
        seen.push(told.version);
    }
    if seen.is_empty() {
        eprintln!("SKIPPED: there is no Python");
    }
    eprintln!("read: {}", seen.join(", "));
}

#[test]
fn a_process_without_python_has_no_interpreter() {
    let mappings = Mappings::parse(&ProcWorld.read(std::process::id(), ProcFile::Maps).unwrap());
    assert!(mappings.iter().any(|mapping| mapping.header.is_some()));
    assert_eq!(detect(std::process::id(), &mappings, &ProcWorld), []);
}

/// Functions of the script, and those of the standard library that start its threads.
const BUSY_FUNCTIONS: &[&str] = &[
    "recurse",
    "numbers",
    "generate",
    "fail",
    "make",
    "made",
    "made.<locals>.<listcomp>",
    "<listcomp>",
    "spin",
    "start_interpreter",
    "apart",
    "main",
    "<module>",
];

/// The names of a thread that runs on; those that changed meanwhile are left out and counted.
fn name_busy(thread: &ThreadFrames, python: &Python, memory: &ProcessMemory<'_>, changed: &mut usize) -> Vec<String> {
    let frames = thread.entries.iter().filter(|[code, ..]| *code != 0);
    let named = frames.filter_map(|[code, instruction, fingerprint]| {
        let object = CodeObject::read(*code, *fingerprint, python, memory).map_err(|_| *changed += 1).ok()?;
        let _ = (object.line_of(*instruction), object.is_at_call(*instruction, memory));
        Some(object).filter(|object| !object.file.ends_with("threading.py")).map(|object| object.qualified_name)
    });
    named.collect()
}

fn check_busy(child: &Running, python: &Python) {
    let memory = ProcessMemory::new(child.0.id(), &ProcWorld);
    let (mut changed, mut named, mut pointers) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for _ in 0..READINGS {
        let threads = read_threads(python, &memory);
        pointers = threads.iter().map(|thread| thread.thread_pointer).collect();
        for name in threads.iter().flat_map(|thread| name_busy(thread, python, &memory, &mut changed)) {
            *named.entry(name).or_default() += 1;
        }
    }
    eprintln!("{}: {changed} changed, {named:?}", python.layout.version);
    let strange: Vec<_> = named.keys().filter(|name| !BUSY_FUNCTIONS.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(["recurse", "spin", "apart"].iter().all(|name| named.contains_key(*name)), "{named:?}");
    let own = pointers.len();
    pointers.sort_unstable();
    pointers.dedup();
    assert!(pointers.len() < own, "a thread has a state in each of two interpreters");
}

#[test]
fn threads_that_run_on_and_other_interpreters_are_read_without_strange_names() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("busy.py");
    fs::write(&script, BUSY).unwrap();
    for installed in Installed::all() {
        let Some((child, _)) = start(&installed, &script) else { continue };
        if let Ok(python) = detect_in(&child)[0].found {
            check_busy(&child, &python);
        }
    }
}
