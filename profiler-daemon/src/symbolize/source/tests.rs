//! Source text of made-up processes.

use super::*;
use crate::process::Registry;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::profile::ProcessId;

/// A start that lies in the future, so that every file is older.
const LATER: u64 = 1 << 62;

fn frame(kind: FrameKind, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame { kind, file: Some(file.into()), line: Some(line), ..Frame::marker("f") })
}

fn python(file: &str, line: u32) -> Arc<Frame> {
    frame(FrameKind::Python, file, line)
}

struct Host {
    world: FixtureWorld,
    image: Arc<Image>,
    sources: Sources,
    shared: Shared,
}

impl Host {
    fn new(start_ns: u64, files: &[(&str, &str)]) -> Self {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        let start_ns = start_ns / 10_000_000 * 10_000_000;
        world.insert(7, process(start_ns, files));
        let id = ImageId { process: ProcessId { pid: 7, start_ns }, exec_ns: 0 };
        let image = registry.observe(id, &world).unwrap();
        Self { world, image, sources: Sources::new(), shared: Shared::new() }
    }

    /// The frames with their text.
    fn annotate(&mut self, frames: &[Arc<Frame>]) -> Vec<Arc<Frame>> {
        let mut frames = frames.to_vec();
        self.sources.annotate(&mut frames, &self.image, &self.world, &mut self.shared);
        frames
    }

    fn text(&mut self, frame: Arc<Frame>) -> Option<String> {
        let annotated = self.annotate(&[frame]);
        annotated[0].source.as_ref().map(|source| source.text.to_string())
    }
}

fn process(start_ns: u64, files: &[(&str, &str)]) -> FixtureProcess {
    FixtureProcess {
        start_ns,
        root: "/host/root".into(),
        directory: "/host/root/srv".into(),
        files: files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect(),
        ..FixtureProcess::default()
    }
}

#[test]
fn a_line_has_the_text_of_the_file_in_the_root_of_its_process() {
    let mut host = Host::new(LATER, &[("/srv/a.py", "import os\n  x = 1\n"), ("/srv/b.c", "f();\n")]);
    for (frame, text) in [
        (python("/srv/a.py", 2), Some("  x = 1")),
        (python("a.py", 1), Some("import os")),
        (python("/srv/a.py", 3), None),
        (python("/srv/missing.py", 1), None),
        (python("<frozen os>", 1), None),
        (python("<string>", 1), None),
        (frame(FrameKind::Native, "/srv/b.c", 1), Some("f();")),
        (frame(FrameKind::Native, "b.c", 1), None),
        (frame(FrameKind::Kernel, "/srv/b.c", 1), None),
    ] {
        assert_eq!(host.text(frame.clone()).as_deref(), text, "{frame:?}");
    }
}

#[test]
fn a_relative_path_outside_the_root_has_no_text() {
    let mut host = Host::new(LATER, &[("/srv/a.py", "x\n")]);
    let outside = FixtureProcess { directory: "/host/srv".into(), ..process(host.image.id.process.start_ns, &[]) };
    host.world.insert(7, outside);
    assert_eq!(host.text(python("a.py", 1)), None);
}

#[test]
fn a_file_changed_after_the_start_of_the_process_is_marked() {
    for (start_ns, is_newer) in [(0, true), (LATER, false)] {
        let mut host = Host::new(start_ns, &[("/a.py", "x\n")]);
        let annotated = host.annotate(&[python("/a.py", 1)]);
        assert_eq!(annotated[0].source.as_ref().unwrap().is_newer, is_newer);
    }
}

#[test]
fn a_file_is_opened_once_for_all_its_lines_and_for_all_windows() {
    let mut host = Host::new(LATER, &[("/a.py", "x\ny\nz\n")]);
    let (frames, missing) = ([1, 2, 3].map(|line| python("/a.py", line)), python("/b.py", 1));
    let first = host.annotate(&frames);
    let again = host.annotate(&[&frames[..], &[missing.clone(), missing]].concat());
    assert!(Arc::ptr_eq(&first[1], &again[1]));
    host.sources.end_window();
    let later = host.annotate(&frames);
    assert!(Arc::ptr_eq(&first[1], &later[1]), "windows share the frame");
    assert_eq!((host.world.opens(), host.sources.annotated.len()), (2, 1));
}

#[test]
fn text_read_while_the_process_lived_stays() {
    let mut host = Host::new(LATER, &[("/a.py", "x\ny\n")]);
    assert_eq!(host.text(python("/a.py", 1)).as_deref(), Some("x"));
    host.world.remove(7);
    host.sources.end_window();
    assert_eq!(host.text(python("/a.py", 2)).as_deref(), Some("y"));
    assert_eq!(host.text(python("/b.py", 2)), None);
}

#[test]
fn a_file_of_another_process_with_the_same_pid_is_not_read() {
    let mut host = Host::new(LATER, &[]);
    host.world.insert(7, process(0, &[("/a.py", "x\n")]));
    assert_eq!(host.text(python("/a.py", 1)), None);
}

#[test]
fn a_file_above_the_limit_is_not_read_and_those_below_are_bounded_together() {
    let lines = "x = 1\n".repeat(limits::SOURCE_FILE_BYTES as usize / 6);
    let files: Vec<_> =
        (0..24).map(|at| (format!("/{at}.py"), format!("{at}\n{lines}")[..lines.len()].to_owned())).collect();
    let mut named: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let large = lines.clone() + &lines;
    named.push(("/large.py", &large));
    let mut host = Host::new(LATER, &named);
    assert_eq!(host.text(python("/large.py", 1)), None);
    for at in 0..24 {
        host.sources.end_window();
        assert_eq!(host.text(python(&format!("/{at}.py"), 1)), Some(at.to_string()));
        assert!(host.sources.bytes <= limits::SOURCE_BYTES);
    }
    host.sources.end_window();
    assert_eq!(host.text(python("/0.py", 2)).as_deref(), Some("x = 1"), "it is read again");
}

#[test]
fn a_path_that_may_have_been_cut_has_no_text() {
    let path = format!("/{}", "x".repeat(limits::TEXT_BYTES - 1));
    let mut host = Host::new(LATER, &[(&path, "x\n")]);
    assert_eq!(host.text(python(&path, 1)), None);
}
