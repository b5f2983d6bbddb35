//! Real virtual machines as children of the test, read from outside and compared with what they, and their compiler, say.
//!
//! Those of the system are taken, and those unpacked under the target folder. No release has to be there: the test says which
//! ones it saw. All methods that were compiled are named, and all their lines; a walk is not needed for that.

mod told;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};

use profiler_common::hotspot::{Heap, HotSpot};

use super::blob::{Blob, is_method};
use super::code::{JavaMethod, Reader};
use super::debug_info::DebugInfo;
use super::heaps::read_heaps;
use super::method::Method;
use super::{Detected, HotSpots, Machine, detect};
use crate::process::image::read_stat;
use crate::process::stat::TICK_NS;
use crate::process::{Executables, Image, Mappings, ProcFile, ProcWorld, World};
use crate::profile::{ImageId, JavaCode, JavaFrame, ProcessId, Reason};
use crate::runtime::memory::ProcessMemory;

const PROGRAM: &str = include_str!("Named.java");

/// Gives the program in a root what it needs to see, in a mount namespace of its own: `/proc`, and the classes in `/mnt`.
const ENTER_ROOT: &str = "root=$1 classes=$2; shift 2; mkdir -p \"$root/mnt\" && \
    mount -t proc proc \"$root/proc\" && mount --bind \"$classes\" \"$root/mnt\" && exec chroot \"$root\" \"$@\"";

/// A running machine; killed with this.
struct Running {
    child: Child,
    /// What it calls its release.
    release: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Java, possibly in a root of its own.
#[derive(Debug, Clone)]
struct Java {
    root: Option<PathBuf>,
    /// Its home, as its root has it.
    home: PathBuf,
}

impl Java {
    fn all() -> Vec<Self> {
        let roots = env::current_exe().unwrap().ancestors().nth(3).unwrap().join("test-roots");
        let own = homes(Path::new("/usr/lib/jvm")).into_iter().map(|home| Self { root: None, home });
        let unpacked = entries(&roots).into_iter().flat_map(|root| {
            let inside = |home: PathBuf| Path::new("/").join(home.strip_prefix(&root).unwrap());
            let homes = homes(&root.join("usr/lib/jvm")).into_iter().map(inside);
            homes.map(|home| Self { root: Some(root.clone()), home }).collect::<Vec<_>>()
        });
        own.chain(unpacked).collect()
    }

    /// A command that runs a main class of the folder of classes.
    fn command(&self, options: &[&str], classes: &Path, main: &str) -> Command {
        let program = self.home.join("bin/java");
        let (mut command, folder) = match &self.root {
            None => (Command::new(program), classes),
            Some(root) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--", "sh", "-c", ENTER_ROOT, "sh"]).arg(root).arg(classes).arg(program);
                (command, Path::new("/mnt"))
            }
        };
        command.args(options).arg("-cp").arg(folder).arg(main);
        command
    }

    /// Runs the program; `None` if this Java cannot be run here.
    fn run(&self, options: &[&str], classes: &Path) -> Option<Running> {
        let mut command = self.command(options, classes, "named.Named");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let release = line.strip_prefix("ready ").unwrap_or_default().trim().to_owned();
        let running = Running { child, release };
        if running.release.is_empty() {
            eprintln!("SKIPPED: {self:?} does not run here with {options:?}");
            return None;
        }
        Some(running)
    }
}

/// The entries of a folder, in order; none if there is no folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Folders with a `java`, each once.
fn homes(folder: &Path) -> Vec<PathBuf> {
    let is_home = |path: &PathBuf| !path.is_symlink() && path.join("bin/java").exists();
    entries(folder).into_iter().filter(is_home).collect()
}

/// Compiles the program for the oldest release there is; `None` without a compiler.
fn compile() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Named.java");
    fs::write(&source, PROGRAM).unwrap();
    let mut javac = Command::new("javac");
    let javac = javac.args(["--release", "8", "-encoding", "UTF-8", "-d"]).arg(folder.path()).arg(source);
    javac.stderr(Stdio::null()).status().ok()?.success().then_some(folder)
}

fn machine_of(pid: u32) -> Machine {
    let mappings = Mappings::parse(&ProcWorld.read(pid, ProcFile::Maps).unwrap());
    match detect(pid, &mappings, &ProcWorld) {
        Some(Detected::Machine(machine)) => *machine,
        other => panic!("{other:?}"),
    }
}

/// What is read of one running machine.
struct Look<'a> {
    machine: Machine,
    hotspot: HotSpot,
    memory: ProcessMemory<'a>,
}

impl Look<'_> {
    fn at(running: &Running) -> Self {
        let pid = running.child.id();
        let (machine, memory) = (machine_of(pid), ProcessMemory::new(pid, &ProcWorld));
        let hotspot = read_heaps(&machine.layout, &memory).unwrap();
        Self { machine, hotspot, memory }
    }

    /// Every blob of the heaps.
    fn blobs(&self) -> Vec<Blob<'_>> {
        let heaps = self.hotspot.heaps.iter().filter(|heap| heap.start != 0);
        heaps.flat_map(|heap| self.starts(heap)).filter_map(|pc| self.blob(pc)).collect()
    }

    /// An instruction of the first segment of each block of a heap, as far as its map can be read.
    fn starts(&self, heap: &Heap) -> Vec<u64> {
        let mut starts = Vec::new();
        let count = (heap.end - heap.start) >> self.hotspot.segment_shift;
        for first in (0..count).step_by(4096) {
            let Some(map) = self.memory.read_bytes(heap.segments + first, 4096.min(count - first) as usize) else {
                break;
            };
            // What is not used yet is zero.
            if map.iter().all(|byte| *byte == 0) {
                break;
            }
            let zeroes = (first..).zip(map).filter(|(_, byte)| *byte == 0).map(|(segment, _)| segment);
            starts.extend(zeroes.map(|segment| heap.start + (segment << self.hotspot.segment_shift)));
        }
        starts
    }

    /// The blob of the block that begins somewhere: its code begins behind its header.
    fn blob(&self, block: u64) -> Option<Blob<'_>> {
        let address = block + u64::from(self.hotspot.block_header);
        let walk = &self.machine.layout.walk;
        let begin = if walk.flags == 0 {
            self.memory.read_field(address, walk.code_begin)?
        } else {
            address + u64::from(self.memory.read_u32(address + u64::from(walk.code_begin))?)
        };
        Blob::read(begin, &self.hotspot, &self.machine.layout, &self.memory).ok()
    }

    fn name_all(&self, frame: &JavaFrame) -> Vec<JavaMethod> {
        let methods = |address| Method::read(address, &self.machine.layout, &self.memory).map(Arc::new);
        let (machine, hotspot, memory) = (&self.machine, &self.hotspot, &self.memory);
        Reader { machine, hotspot, memory, methods: &methods }.read(frame).unwrap()
    }

    /// The frame of a compiled method at an instruction.
    fn frame(&self, blob: &Blob<'_>, pc: u64) -> JavaFrame {
        JavaFrame { place: 1, pc, code: JavaCode::Compiled { compile_id: blob.compile_id().unwrap() } }
    }
}

/// Options that change what code there is, and how it lies.
const OPTIONS: &[&[&str]] = &[&[], &["-XX:TieredStopAtLevel=1"], &["-XX:-SegmentedCodeCache"]];

/// Runs the program under each Java, and under those of the system with each of the options.
fn each_machine(mut check: impl FnMut(&Running, &Path)) {
    let Some(classes) = compile() else { return eprintln!("SKIPPED: there is no javac") };
    let mut seen = Vec::new();
    for java in Java::all() {
        let options = if java.root.is_some() { &OPTIONS[..1] } else { OPTIONS };
        for options in options {
            let Some(running) = java.run(options, classes.path()) else { continue };
            check(&running, classes.path());
            seen.push(format!("{} {}", running.release, options.join(" ")));
        }
    }
    if seen.is_empty() {
        eprintln!("SKIPPED: there is no Java");
    }
    eprintln!("read: {}", seen.join(", "));
}

/// Every compiled method the machine lists is found, with its name, and no other.
fn check_names(look: &Look<'_>, running: &Running) {
    let before = told::list(running);
    let mut named = BTreeMap::new();
    for blob in look.blobs().iter().filter(|blob| is_method(&blob.name(&look.memory).unwrap())) {
        let method = blob.number(look.machine.layout.compiled.method).unwrap();
        let method = Method::read(method, &look.machine.layout, &look.memory).unwrap();
        let compile_id = blob.compile_id().unwrap();
        named.insert(blob.address, told::Listed { compile_id, name: method.name.to_string() });
    }
    let Some(before) = before else { return eprintln!("SKIPPED: {} lists no methods", running.release) };
    let after = told::list(running).unwrap();
    let listed: Vec<_> = before.iter().filter(|(address, listed)| after.get(address) == Some(listed)).collect();
    eprintln!("{}: {} listed, {} found", running.release, listed.len(), named.len());
    for (address, listed) in &listed {
        assert_eq!(named.get(*address), Some(*listed), "{} at {address:#x}", running.release);
    }
    assert!(named.len() <= after.len() + before.len() - listed.len() + named.len() / 10);
}

/// Each instruction with debug information stands for methods of which the program's own have lines that the compiler gave
/// them; the outermost is the one that was compiled.
fn check_lines(look: &Look<'_>, lines: &told::Lines) -> (usize, usize) {
    let (mut checked, mut inlined) = (0, 0);
    for blob in look.blobs().iter().filter(|blob| blob.name(&look.memory).unwrap() == b"nmethod") {
        let layout = &look.machine.layout;
        let own = Method::read(blob.number(layout.compiled.method).unwrap(), layout, &look.memory).unwrap();
        for offset in DebugInfo::of(blob, layout).unwrap().all_places(layout, &look.memory) {
            let methods = look.name_all(&look.frame(blob, blob.code().unwrap().start + offset));
            assert!(methods.iter().all(|method| !method.approximate), "{methods:?}");
            assert_eq!(methods.last().unwrap().name, own.name);
            inlined += methods.iter().filter(|method| method.inlined).count();
            for method in methods.iter().filter(|method| lines.contains_key(&*method.name)) {
                let tables = &lines[&*method.name];
                let is_told = |line| tables.iter().flatten().any(|(_, told)| *told == line);
                assert!(method.line.is_some_and(is_told), "{method:?} {tables:?}");
                assert_eq!(method.file.as_deref(), Some("named/Named.java"));
                checked += 1;
            }
        }
    }
    (checked, inlined)
}

/// An interpreted method has for each bytecode the line the compiler gave it.
fn check_interpreted(look: &Look<'_>, lines: &told::Lines) -> usize {
    let mut checked = 0;
    for method in look.methods_of_program() {
        let name = look.name_all(&interpreted(method, 0))[0].name.clone();
        let Some([table]) = lines.get(&*name).map(Vec::as_slice) else { continue };
        for bytecode in 0..=table.iter().map(|(at, _)| *at).max().unwrap() {
            let [named] = &look.name_all(&interpreted(method, bytecode as u16))[..] else { panic!() };
            assert_eq!(named.line, told::line_in(table, bytecode), "{name} {bytecode}");
            assert!(named.interpreted && !named.approximate && named.start == method);
            checked += 1;
        }
    }
    checked
}

fn interpreted(method: u64, bytecode: u16) -> JavaFrame {
    JavaFrame { place: 1, pc: 0, code: JavaCode::Interpreted { method, bytecode } }
}

impl Look<'_> {
    /// The addresses of methods that were compiled, or inlined.
    fn methods_of_program(&self) -> Vec<u64> {
        let layout = &self.machine.layout;
        let mut methods = Vec::new();
        for blob in self.blobs().iter().filter(|blob| blob.name(&self.memory).unwrap() == b"nmethod") {
            methods.push(blob.number(layout.compiled.method).unwrap());
            let info = DebugInfo::of(blob, layout).unwrap();
            methods.extend(info.all_methods(layout, &self.memory));
        }
        methods.sort_unstable();
        methods.dedup();
        methods
    }
}

#[test]
fn each_machine_is_read_as_it_and_the_compiler_describe_it() {
    let mut lines = None;
    each_machine(|running, classes| {
        let lines = lines.get_or_insert_with(|| told::lines(classes));
        let look = Look::at(running);
        assert_eq!(*look.machine.release, *running.release);
        check_names(&look, running);
        let (checked, inlined) = check_lines(&look, lines);
        let interpreted = check_interpreted(&look, lines);
        eprintln!("{}: {checked} lines, {inlined} inlined, {interpreted} bytecodes", running.release);
        check_kept(&look, running);
        check_other_compilation(&look, running);
    });
}

fn image_of(running: &Running) -> Image {
    let pid = running.child.id();
    let start_ns = read_stat(pid, &ProcWorld).unwrap().start_ticks * TICK_NS + 1;
    let id = ImageId { process: ProcessId { pid, start_ns }, exec_ns: 0 };
    Image::read(id, &Executables::default(), &ProcWorld).unwrap()
}

/// Frames in every compiled method, and in everything else.
fn frames_of(look: &Look<'_>) -> Vec<JavaFrame> {
    let frame = |blob: &Blob<'_>| {
        let (pc, compile_id) = (blob.code()?.start, blob.compile_id()?);
        let code = match &*blob.name(&look.memory).ok()? {
            b"nmethod" => JavaCode::Compiled { compile_id },
            b"native nmethod" => JavaCode::Native { compile_id },
            _ => JavaCode::Stub,
        };
        Some(JavaFrame { place: 0, pc, code })
    };
    look.blobs().iter().filter_map(frame).collect()
}

/// Reads frames as if they came on stacks of twenty, until there was time for each; returns those that could not be read at
/// once.
fn observe_stacks(hotspots: &HotSpots, image: &Image, frames: &[JavaFrame]) -> Vec<JavaFrame> {
    let is_left =
        |frame: &JavaFrame| matches!(hotspots.resolve(image.id, frame), Err(Reason::CodeLimit | Reason::ProcessGone));
    let mut unread = Vec::new();
    for stack in frames.chunks(20) {
        while stack.iter().any(is_left) {
            unread.extend(hotspots.observe_present(image, stack, &ProcWorld));
        }
    }
    unread
}

/// What was observed is known from then on.
fn check_kept(look: &Look<'_>, running: &Running) {
    let image = image_of(running);
    let (hotspots, frames, begun) = (HotSpots::default(), frames_of(look), Instant::now());
    assert_eq!(hotspots.hotspot(&image, &ProcWorld), Some(look.hotspot));
    assert_eq!(hotspots.version(&image, &ProcWorld).unwrap().as_deref(), Ok(&*running.release));
    let detected = begun.elapsed();
    let absent = observe_stacks(&hotspots, &image, &frames);
    let named = begun.elapsed() - detected;
    let unread: Vec<_> = absent.chunks(20).flat_map(|stack| hotspots.observe(&image, stack, &ProcWorld)).collect();
    let begun = Instant::now();
    assert!(frames.chunks(20).all(|stack| hotspots.observe_present(&image, stack, &ProcWorld).len() <= unread.len()));
    let (count, reads) = (frames.len(), look.machine.reads);
    eprintln!(
        "{}: detected in {detected:?} with {reads} reads of tables; {count} frames in {named:?}, again in {:?}; \
             {} not present, {} not readable",
        running.release,
        begun.elapsed(),
        absent.len(),
        unread.len()
    );
    let names: Vec<_> = frames.iter().filter_map(|frame| hotspots.resolve(image.id, frame).ok()).collect();
    assert!(names.len() >= count - unread.len());
    let has = |name: &str| names.iter().any(|methods| &*methods[0].name == name);
    assert!(has("[Interpreter]"), "{names:?}");
}

/// A frame of another compilation has no name.
fn check_other_compilation(look: &Look<'_>, running: &Running) {
    let (image, hotspots) = (image_of(running), HotSpots::default());
    let frames = frames_of(look);
    let frame = *frames.iter().find(|frame| matches!(frame.code, JavaCode::Compiled { .. })).unwrap();
    let other = JavaFrame { code: JavaCode::Compiled { compile_id: u32::MAX }, ..frame };
    assert_eq!(hotspots.observe(&image, &[other, frame], &ProcWorld), []);
    assert_eq!(hotspots.resolve(image.id, &other), Err(Reason::CodeChanged));
    assert!(hotspots.resolve(image.id, &frame).is_ok());
    let unseen = JavaFrame { place: 1, ..frame };
    assert_eq!(hotspots.resolve(image.id, &unseen), Err(Reason::ProcessGone));
}

#[test]
fn a_process_without_java_has_no_machine() {
    let pid = std::process::id();
    let mappings = Mappings::parse(&ProcWorld.read(pid, ProcFile::Maps).unwrap());
    assert_eq!(detect(pid, &mappings, &ProcWorld), None);
}
