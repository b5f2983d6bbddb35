//! The Pythons on this machine, 3.8 to 3.15: installed, unpacked into roots of their own, or built by pyenv.
//! Whatever lies in a folder of `$PYENV_ROOT/versions` counts as the latter.
//!
//! Debian's programs have the interpreter inside; its libraries are loaded by a program that is no Python itself
//! (`workloads/python/embed.c`). pyenv's builds are small programs linked to a library. Nothing is downloaded here:
//! `cargo xtask setup --for live` unpacks the roots.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::host::{skip, target_dir};
use crate::workload::{Build, build, scratch};

/// The minor versions of Python 3 that are supported.
pub const MINORS: std::ops::RangeInclusive<u32> = 8..=15;

/// The first of them that can be built without a lock around the interpreter.
const FREE_THREADED_FROM: u32 = 13;

/// Where Debian's packages put libraries; those of numerical packages lie in folders below, which scripts of the packages
/// would link to.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// One Python and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Major, minor and patch version, as it said itself.
    pub version: (u32, u32, u32),
    /// The root in which it runs; `None` for this machine's.
    pub root: Option<PathBuf>,
    /// The program, as seen from its root.
    pub program: PathBuf,
    /// The library that the program is to load; `None` where the program needs no telling.
    pub library: Option<PathBuf>,
    /// Whether the interpreter's code lies in a library.
    pub is_shared: bool,
    /// Whether threads run at once, without a lock around the interpreter.
    pub is_free_threaded: bool,
}

impl Interpreter {
    /// Every supported Python on this machine, in the order of their versions; asked once per process.
    pub fn all() -> &'static [Self] {
        static FOUND: OnceLock<Vec<Interpreter>> = OnceLock::new();
        FOUND.get_or_init(|| {
            let mut found: Vec<_> = candidates().into_iter().filter_map(Self::asked).collect();
            found.sort_by_key(|one| (one.version, one.is_shared, one.root.clone()));
            found
        })
    }

    /// One interpreter of each minor version, and one that is free-threaded if there is any: for what does not depend on how
    /// an interpreter is linked.
    pub fn one_of_each() -> Vec<&'static Self> {
        let kind = |one: &Self| (one.minor(), one.is_free_threaded);
        let mut chosen: Vec<&Self> = Vec::new();
        for one in Self::all() {
            if chosen.iter().all(|other| kind(other) != kind(one)) {
                chosen.push(one);
            }
        }
        chosen
    }

    /// The minor versions that are not on this machine, free-threaded builds aside.
    pub fn missing() -> Vec<u32> {
        MINORS.filter(|minor| Self::all().iter().all(|one| one.is_free_threaded || one.minor() != *minor)).collect()
    }

    /// The minor versions of which no free-threaded build is on this machine.
    pub fn missing_free_threaded() -> Vec<u32> {
        let is_here = |minor| Self::all().iter().any(|one| one.is_free_threaded && one.minor() == minor);
        MINORS.filter(|minor| *minor >= FREE_THREADED_FROM && !is_here(*minor)).collect()
    }

    /// The minor version.
    pub fn minor(&self) -> u32 {
        self.version.1
    }

    /// A command that starts the interpreter; arguments name files as its root sees them.
    pub fn command(&self) -> Command {
        let mut command = match &self.root {
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(&self.program);
                command.env("LD_LIBRARY_PATH", format!("{LIBRARIES}/blas:{LIBRARIES}/lapack"));
                command
            }
            None => Command::new(&self.program),
        };
        command
            .args(&self.library)
            .env_remove("PYTHONHOME")
            .env_remove("PYTHONPATH")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PYTHONIOENCODING", "utf-8");
        command
    }

    /// Where a file of this machine is to the interpreter; it is copied into the root if there is one.
    pub fn place(&self, file: &Path) -> Result<PathBuf> {
        let Some(root) = &self.root else { return Ok(file.to_owned()) };
        let inside = Path::new("/tmp").join(file.file_name().context("a file has a name")?);
        copy_whole(file, &root.join(inside.strip_prefix("/")?))?;
        Ok(inside)
    }

    /// Completes a candidate by what it says itself; `None` if it does not start or is not supported.
    fn asked(mut self) -> Option<Self> {
        const QUESTION: &str = "import sys, sysconfig; print(*sys.version_info[:3], \
            sysconfig.get_config_var('Py_ENABLE_SHARED'), sysconfig.get_config_var('Py_GIL_DISABLED'), \
            sys.implementation.name)";
        let output = self.command().args(["-I", "-c", QUESTION]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let words: Vec<_> = text.split_whitespace().collect();
        let [major, minor, patch, shared, free_threaded, "cpython"] = words[..] else { return None };
        self.version = (major.parse().ok()?, minor.parse().ok()?, patch.parse().ok()?);
        self.is_free_threaded = free_threaded == "1";
        self.is_shared = self.library.is_some() || shared == "1" && !is_debians(&self.program);
        (self.version.0 == 3 && MINORS.contains(&self.version.1)).then_some(self)
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        let kind = if self.is_shared { "shared" } else { "static" };
        let program = self.library.as_ref().unwrap_or(&self.program).display();
        let threads = if self.is_free_threaded { "t" } else { "" };
        write!(f, "Python {major}.{minor}.{patch}{threads}, {kind}, {program}")?;
        self.root.as_ref().map_or(Ok(()), |root| write!(f, " in {}", root.display()))
    }
}

/// Checks each of some interpreters, and says of all that fail why.
pub fn check_each<'a>(
    interpreters: impl IntoIterator<Item = &'a Interpreter>,
    check: impl Fn(&Interpreter) -> Result<()>,
) -> Result<()> {
    tell_missing();
    let outcomes: Vec<_> = interpreters.into_iter().map(|one| check(one).with_context(|| one.to_string())).collect();
    if outcomes.is_empty() {
        skip(
            "there is no Python here of a version that this test is about; `cargo xtask setup --for live` unpacks some",
        );
    }
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Says loudly which supported versions are not on this machine and therefore not run; a panic where live tests are
/// required and a version is missing that `cargo xtask setup` gets.
pub fn tell_missing() {
    /// What no suite of Debian's has: somebody must have built them.
    const BUILT_BY_HAND: [u32; 3] = [8, 10, 12];
    for minor in Interpreter::missing_free_threaded() {
        crate::tell(&format!("NOT RUN: there is no Python 3.{minor}t here; `pyenv install 3.{minor}t` builds one"));
    }
    for minor in Interpreter::missing() {
        if BUILT_BY_HAND.contains(&minor) {
            crate::tell(&format!("NOT RUN: there is no Python 3.{minor} here; `pyenv install 3.{minor}` builds one"));
        } else {
            skip(&format!("there is no Python 3.{minor} here; `cargo xtask setup --for live` unpacks one"));
        }
    }
}

/// The folder that holds the roots.
pub fn roots() -> PathBuf {
    target_dir().join("test-roots")
}

/// What may be a Python, its version still unknown.
fn candidates() -> Vec<Interpreter> {
    let mut found = Vec::new();
    for program in names("bin").map(|name| Path::new("/usr").join(name)).chain(built_by_pyenv()) {
        found.extend(program.exists().then(|| candidate(None, program, None)));
    }
    for root in entries(&roots()) {
        found.extend(programs_of(&root));
        found.extend(libraries_of(&root));
    }
    found
}

fn candidate(root: Option<&Path>, program: PathBuf, library: Option<PathBuf>) -> Interpreter {
    Interpreter {
        version: (0, 0, 0),
        root: root.map(Path::to_owned),
        program,
        library,
        is_shared: false,
        is_free_threaded: false,
    }
}

fn names(folder: &'static str) -> impl Iterator<Item = PathBuf> {
    MINORS.map(move |minor| Path::new(folder).join(format!("python3.{minor}")))
}

fn built_by_pyenv() -> Vec<PathBuf> {
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".pyenv"));
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home);
    let versions = root.map(|root| entries(&root.join("versions"))).unwrap_or_default();
    versions.into_iter().map(|folder| folder.join("bin/python3")).collect()
}

/// A root that is being unpacked has another name until it is whole.
fn programs_of(root: &Path) -> Vec<Interpreter> {
    let is_whole = root.extension().is_none();
    let inside = names("usr/bin").filter(|name| is_whole && root.join(name).exists());
    inside.map(|name| candidate(Some(root), Path::new("/").join(name), None)).collect()
}

fn libraries_of(root: &Path) -> Vec<Interpreter> {
    let library = |minor| PathBuf::from(format!("{LIBRARIES}/libpython3.{minor}.so.1.0"));
    let present = MINORS.map(library).filter(|library| root.extension().is_none() && is_within(root, library));
    let Ok(program) = embedding_program(root) else { return Vec::new() };
    present.map(|library| candidate(Some(root), program.clone(), Some(library))).collect()
}

fn is_within(root: &Path, file: &Path) -> bool {
    file.strip_prefix("/").is_ok_and(|file| root.join(file).exists())
}

/// The program that loads a library, put into the root; its path there.
fn embedding_program(root: &Path) -> Result<PathBuf> {
    let compiler = ["gcc", "-O2", "-g"];
    let source = "python/embed.c";
    let program = build(&Build { source, output: "python-embed", compiler: &compiler, libraries: &["-ldl"] })?;
    let inside = Path::new("/tmp/python-embed");
    copy_whole(&program, &root.join(inside.strip_prefix("/")?))?;
    Ok(inside.to_owned())
}

/// Debian's programs have the interpreter inside, though they say that there is a library.
fn is_debians(program: &Path) -> bool {
    program.starts_with("/usr/bin")
}

/// The copy appears whole: another test may be using the same file.
fn copy_whole(from: &Path, to: &Path) -> Result<()> {
    let is_same = |to: &Path| Some(fs::read(from).ok()? == fs::read(to).ok()?);
    if is_same(to) == Some(true) {
        return Ok(());
    }
    let fresh = scratch()?.join(format!("copy.{}", std::process::id()));
    fs::copy(from, &fresh).with_context(|| format!("failed to copy `{}`", from.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("failed to place `{}`", to.display()))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What an interpreter prints when it runs a script of `workloads/python` with these arguments.
pub fn run_script(interpreter: &Interpreter, script: &str, arguments: &[&str]) -> Result<String> {
    let script = interpreter.place(&crate::workload::sources().join("python").join(script))?;
    let output = interpreter.command().arg(script).args(arguments).output();
    let output = output.with_context(|| format!("failed to start {interpreter}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{interpreter} failed: {errors}");
    String::from_utf8(output.stdout).context("a script prints UTF-8")
}
