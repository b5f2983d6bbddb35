//! Programs built, run and symbolized by the tests: each prints the addresses it wants to have named, and waits.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::tests::{fixture_profile, user_stack};
use super::*;
use crate::process::ProcWorld;
use crate::process::fixture::FixtureProcess;
use crate::process::image::read_stat;
use crate::process::stat::TICK_NS;
use crate::profile::{ImageId, Name};

/// A folder with a program in it.
pub(super) struct Program {
    folder: TempDir,
}

impl Program {
    /// Builds the C++ program; `None`, after saying so, without a compiler.
    pub(super) fn build_cpp(flags: &[&str]) -> Option<Self> {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(program.path("shop.cpp"), include_str!("shop.cpp")).unwrap();
        fs::write(program.path("nested.s"), include_str!("nested.s")).unwrap();
        let arguments = flags.iter().copied().chain(["shop.cpp", "-o", "shop"]);
        program.run_tool("g++", arguments).then_some(program)
    }

    /// Builds the Go program without symbols and debug information.
    fn build_go(flags: &[&str], linker_flags: &str, source: &str) -> Option<Self> {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(program.path("shop.go"), source).unwrap();
        let linked = format!("-ldflags=-s -w {linker_flags}");
        let arguments = ["build", &linked].into_iter().chain(flags.iter().copied()).chain(["-o", "shop", "shop.go"]);
        program.run_tool("go", arguments).then_some(program)
    }

    /// The path of a file of the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a tool in the folder. False, after saying so, if there is no such tool.
    pub(super) fn run_tool<S: AsRef<OsStr>>(&self, tool: &str, arguments: impl IntoIterator<Item = S>) -> bool {
        let environment = [("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")];
        match Command::new(tool).args(arguments).envs(environment).current_dir(self.folder.path()).status() {
            Ok(status) => assert!(status.success(), "{tool} failed: {status}"),
            Err(error) => return skip(&format!("{tool} cannot be run: {error}")),
        }
        true
    }

    /// Runs the program and names each of the addresses it prints, as if it were interrupted there.
    fn frames(&self) -> Vec<Vec<Arc<Frame>>> {
        self.run().frames(&mut Symbolizer::new())
    }

    /// Runs the program until it waits.
    pub(super) fn run(&self) -> Running {
        Running::start(&self.path("shop"))
    }
}

/// Says loudly that a test is skipped and why, which CI takes for a failure; always false.
fn skip(why: &str) -> bool {
    assert!(std::env::var("CI").is_err(), "nothing may be skipped under CI: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}; `cargo xtask setup --for test` installs what tests need");
    false
}

/// A program that printed its line and waits.
pub(super) struct Running {
    child: Child,
    addresses: Vec<u64>,
    registry: Registry,
    image: ImageId,
}

impl Running {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let parse = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let start_ns = read_stat(child.id(), &ProcWorld).unwrap().start_ticks * TICK_NS;
        let image = ImageId { process: ProcessId { pid: child.id(), start_ns }, exec_ns: 0 };
        let registry = Registry::new();
        registry.observe(image, &ProcWorld).expect("the program waits");
        Self { child, addresses: line.split_whitespace().map(parse).collect(), registry, image }
    }

    /// The frames of each of the addresses it printed, as if it were interrupted there.
    pub(super) fn frames(&self, symbolizer: &mut Symbolizer) -> Vec<Vec<Arc<Frame>>> {
        let stacks = self.addresses.iter().map(|address| user_stack(self.image, &[*address])).collect();
        let raw = RawWindow { stacks, ..RawWindow::default() };
        let named = symbolizer.symbolize(raw, &self.registry, &ProcWorld).stacks;
        assert_eq!(named.len(), self.addresses.len());
        named.into_iter().map(|stack| stack.frames.to_vec()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// What a frame says: name or reason, file name and line, and whether it is inlined.
pub(super) fn said(frame: &Frame) -> (&str, Option<&str>, Option<u32>, bool) {
    let name = match &frame.name {
        Name::Known(name) => name,
        Name::Unknown(reason) => reason.name(),
    };
    let file = frame.file.as_deref().and_then(|file| file.rsplit('/').next());
    (name, file, frame.line, frame.inlined)
}

const PRICE: &str = "shop::Basket<int*>::price(int*)";
const DISCOUNT: &str = "shop::discount(int)";
const LAMBDA: &str = "shop::apply(int)::{lambda(int)#1}";

/// Fails unless all frames have functions, files and lines.
pub(super) fn assert_lines(frames: &[Vec<Arc<Frame>>], what: &str) {
    let said: Vec<Vec<_>> = frames.iter().map(|stack| stack.iter().map(|frame| said(frame)).collect()).collect();
    let file = Some("shop.cpp");
    assert_eq!(said[0], [(PRICE, file, Some(20), false)], "{what}");
    assert_eq!(said[1], [(DISCOUNT, file, Some(12), true), (PRICE, file, Some(21), false)], "{what}");
    let lambda = &said[2];
    assert_eq!(lambda.len(), 1, "{what}");
    assert_eq!((lambda[0].1, lambda[0].2), (file, Some(27)), "{what}: {lambda:?}");
    assert!(lambda[0].0.starts_with(LAMBDA), "{what}: {lambda:?}");
}

/// Fails unless all frames have functions, but no lines.
fn assert_names_only(frames: &[Vec<Arc<Frame>>], what: &str) {
    let said: Vec<_> = frames.iter().map(|stack| said(&stack[0])).collect();
    assert_eq!((said[0], said[1]), ((PRICE, None, None, false), (PRICE, None, None, false)), "{what}");
}

/// Fails unless the frames only tell where they are and why they have no name.
pub(super) fn assert_stripped(frames: &[Vec<Arc<Frame>>], what: &str) {
    for stack in frames {
        assert_eq!((stack.len(), &stack[0].name), (1, &Name::Unknown(Reason::Stripped)), "{what}: {stack:?}");
        assert_eq!(stack[0].module.as_deref(), Some("shop"), "{what}");
        assert!(stack[0].address > 0, "{what}");
    }
}

/// Wherever the linker put the code, and wherever the kernel loaded it.
#[test]
fn cpp_functions_have_files_lines_and_inlined_functions() {
    for flags in [
        &["-no-pie"][..],
        &["-pie", "-fPIE"],
        &["-static-pie", "-fPIE"],
        &["-static"],
        &["-no-pie", "-Wl,-Ttext-segment=0x10000000"],
        &["-no-pie", "-Wl,--section-start=.text=0x7654000"],
        &["-pie", "-fPIE", "-Wl,-z,noseparate-code"],
        &["-pie", "-fPIE", "-gz"],
        &["-pie", "-fPIE", "-gdwarf-4"],
    ] {
        let all: Vec<&str> = ["-g", "-O1"].into_iter().chain(flags.iter().copied()).collect();
        let Some(program) = Program::build_cpp(&all) else { return };
        assert_lines(&program.frames(), &format!("{all:?}"));
    }
}

#[test]
fn a_stripped_program_tells_module_offset_and_reason() {
    let Some(program) = Program::build_cpp(&["-g", "-O1", "-static-pie", "-s"]) else { return };
    let frames = program.frames();
    assert_stripped(&frames, "stripped");
    let offsets: Vec<u64> = frames.iter().map(|stack| stack[0].address).collect();
    assert!(
        offsets.iter().all(|offset| *offset < 1 << 24),
        "they count from the beginning of the module: {offsets:x?}"
    );
}

/// Splits the debug information off into a file.
fn split(program: &Program, debug: &str) -> bool {
    program.run_tool("objcopy", ["--only-keep-debug", "shop", debug])
        && program.run_tool("objcopy", ["--strip-all", &format!("--add-gnu-debuglink={debug}"), "shop"])
}

#[test]
fn debug_information_split_off_is_found_by_its_link() {
    for debug in ["shop.debug", ".debug/other name.dbg"] {
        let Some(program) = Program::build_cpp(&["-g", "-O1"]) else { return };
        fs::create_dir(program.path(".debug")).unwrap();
        if split(&program, debug) {
            assert_lines(&program.frames(), debug);
        }
    }
}

#[test]
fn debug_information_inside_the_root_of_a_container_is_found_by_its_link() {
    let Some(program) = Program::build_cpp(&["-g", "-O1", "-pie", "-fPIE"]) else { return };
    if !split(&program, "app.debug") {
        return;
    }
    let read = |name| fs::read(program.path(name)).unwrap();
    let (code, debug) = (read("shop"), read("app.debug"));
    fs::remove_file(program.path("app.debug")).unwrap();
    let stripped = program.frames();
    let named = |path: &str| {
        let files = [("/opt/shop".into(), code.clone()), (path.into(), debug.clone())].into();
        let maps = "400000-500000 r-xp 0 fe:00 77 /opt/shop\n".into();
        let process = FixtureProcess { maps, files, ..FixtureProcess::default() };
        let frames_at = |offset| fixture_profile(process.clone(), &[0x40_0000 + offset]).stacks[0].frames.to_vec();
        stripped.iter().map(|stack| frames_at(stack[0].address)).collect::<Vec<_>>()
    };
    for path in ["/opt/app.debug", "/opt/.debug/app.debug", "/usr/lib/debug/opt/app.debug"] {
        assert_lines(&named(path), path);
    }
    assert_stripped(&named("/usr/lib/debug/app.debug"), "no place for it");
}

#[test]
fn a_file_that_a_link_does_not_mean_is_not_used() {
    let Some(program) = Program::build_cpp(&["-g", "-O1"]) else { return };
    if !split(&program, "shop.debug") {
        return;
    }
    let intact = fs::read(program.path("shop.debug")).unwrap();
    for (problem, content) in [("longer", [&intact[..], b"x"].concat()), ("cut", intact[..intact.len() / 2].to_vec())] {
        fs::write(program.path("shop.debug"), content).unwrap();
        assert_stripped(&program.frames(), problem);
    }
    fs::remove_file(program.path("shop.debug")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, program.path("shop.debug"), rustix::fs::Mode::RWXU).unwrap();
    assert_stripped(&program.frames(), "a pipe");
    fs::remove_file(program.path("shop.debug")).unwrap();
    fs::write(program.path("moved"), intact).unwrap();
    std::os::unix::fs::symlink("moved", program.path("shop.debug")).unwrap();
    assert_stripped(&program.frames(), "a symbolic link");
}

#[test]
fn a_symbol_table_without_debug_information_gives_names() {
    let Some(program) = Program::build_cpp(&["-O1"]) else { return };
    assert_names_only(&program.frames(), "no debug information");
}

/// Fails unless all frames have what the runtime of Go knows of them.
fn assert_go_lines(frames: &[Vec<Arc<Frame>>], what: &str) {
    let said: Vec<_> = frames.iter().map(|stack| said(&stack[0])).collect();
    let file = Some("shop.go");
    assert_eq!(said[0], ("main.price", file, Some(13), false), "{what}");
    assert_eq!(said[1], ("main.(*basket[...]).total", file, Some(21), false), "{what}");
    assert_eq!(said[2], ("main.main.func1", file, Some(37), false), "{what}");
    assert_eq!(said[3], ("main.apply", None, None, false), "{what}: the line is one of the inlined function's");
}

/// Puts the content of a file, packed, into the stripped program.
fn pack(program: &Program, file: &str) -> bool {
    program.run_tool("xz", ["--keep", file])
        && program.run_tool("objcopy", ["--add-section", &format!(".gnu_debugdata={file}.xz"), "shop"])
}

#[test]
fn symbols_packed_into_a_stripped_program_give_names() {
    let Some(program) = Program::build_cpp(&["-O1"]) else { return };
    let only_symbols = ["--only-keep-debug", "shop", "mini"];
    if program.run_tool("objcopy", only_symbols) && program.run_tool("strip", ["shop"]) && pack(&program, "mini") {
        assert_names_only(&program.frames(), "packed");
    }
}

#[test]
fn symbols_that_unpack_to_more_than_fits_are_not_used() {
    let Some(program) = Program::build_cpp(&["-O1", "-s"]) else { return };
    File::create(program.path("zeros")).unwrap().set_len(limits::MINI_SYMBOLS_BYTES + 1).unwrap();
    if pack(&program, "zeros") {
        assert_stripped(&program.frames(), "too long");
    }
}

#[test]
fn go_functions_of_a_stripped_program_are_named_by_their_runtimes_table() {
    let plain = include_str!("shop.go");
    let with_c = plain.replacen("package main", "package main; import \"C\"", 1);
    for (flags, linker_flags, source) in [
        (&[][..], "", plain),
        (&["-buildmode=pie"], "", plain),
        (&[], "-linkmode=external", &with_c),
        (&["-buildmode=pie"], "-linkmode=external", &with_c),
    ] {
        let Some(program) = Program::build_go(flags, linker_flags, source) else { return };
        assert_go_lines(&program.frames(), &format!("{flags:?} {linker_flags}"));
    }
}

/// The library calls itself for each of them, and what overflows the stack ends the daemon.
#[test]
fn functions_inlined_into_each_other_without_end_cost_the_lines_and_not_the_daemon() {
    let Some(program) = Program::build_cpp(&["-O1", "nested.s"]) else { return };
    assert_names_only(&program.frames(), "nested");
}
