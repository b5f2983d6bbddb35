//! User addresses of one image into frames: each through its mapping, and where there is no name, the reason.

use std::sync::Arc;
use std::time::Instant;

use profiler_common::limits::LEAF_FRAMES;

use super::engine::Engine;
use super::frames::Shared;
use super::native::Native;
use super::separate::Origin;
use super::tasks::TaskNames;
use crate::aggregate::RawStack;
use crate::process::image::is_python_file;
use crate::process::{Address, Image, Mapping, MappingKind, Readings, Registry, World};
use crate::profile::{Activity, AsyncEntry, Frame, FrameKind, ImageId, JavaCode, JavaFrame, Name, PythonFrame, Reason};
use crate::runtime::hotspot::JavaMethod;
use crate::runtime::python::PythonFunction;
use crate::runtime::python::entries::is_entry;
use crate::runtime::{ManagedFrame, Runtimes};

/// Stands for frames that were not kept.
const GAP: &str = "[frames left out]";

/// Stands for frames of a virtual thread that are not on the stack of the thread that carries it.
const FROZEN: &str = "[frozen frames]";

/// Stands for tasks that could not be read.
const TASKS_CUT: &str = "[tasks cut]";

/// Everything that finds frames for user addresses.
pub(super) struct UserFrames<'a> {
    pub(super) registry: &'a Registry,
    pub(super) world: &'a dyn World,
    pub(super) runtimes: &'a Runtimes,
    pub(super) native: &'a mut Native,
    pub(super) engine: &'a mut Engine,
    pub(super) shared: &'a mut Shared,
    pub(super) task_names: &'a TaskNames,
    pub(super) now: Instant,
}

impl UserFrames<'_> {
    /// The frames of the user part of a stack, leaf first; the first address is an instruction pointer, the others are
    /// return addresses. Python frames take the places of the native frames that ran them. Also the image, if it is known.
    pub(super) fn resolve(&mut self, stack: &RawStack, frames: &mut Vec<Arc<Frame>>) -> Option<Arc<Image>> {
        let readings = self.registry.readings(stack.image);
        let image = readings.as_ref().map(|readings| readings.newest().clone());
        let before = frames.len();
        let (mut python, mut java, mut is_entered) = (PythonPart::of(stack), &*stack.java, false);
        for (at, address) in stack.user.iter().enumerate() {
            if at == LEAF_FRAMES && stack.has_gap {
                frames.push(self.shared.frame(Frame::marker(GAP)));
                is_entered = false;
            }
            if let Some(frame) = take_java(&mut java, at) {
                self.resolve_java(stack.image, frame, frames);
                is_entered = false;
                continue;
            }
            if let Some(run) = python.take(at) {
                self.resolve_python(stack, run, frames);
                is_entered = true;
                continue;
            }
            let address = Address(if at == 0 { *address } else { address.saturating_sub(1) });
            let native = frames.len();
            match &readings {
                Some(readings) => self.resolve_one(readings, (address, stack.code_ns), frames),
                None => frames.push(self.shared.unknown(FrameKind::Native, Reason::ProcessGone, None, address.0)),
            }
            if python.is_unplaced() && frames[native..].iter().any(|frame| is_evaluation(frame)) {
                frames.truncate(native);
                self.resolve_python(stack, python.take_one(), frames);
                is_entered = true;
            } else {
                is_entered = is_entered && leave_out_entries(frames, native);
            }
        }
        self.resolve_python(stack, python.take_rest(), frames);
        if image.as_ref().is_some_and(|image| image.is_python) {
            self.mark_interpreter(&mut frames[before..], is_python_file);
        }
        self.mark_embedded(stack, &mut frames[before..]);
        if let Some(marker) = stack.ending.marker() {
            frames.push(self.shared.frame(Frame::marker(marker)));
        }
        image
    }

    /// Names Python frames; behind the last one there is, a frame says if more are missing.
    fn resolve_python(&mut self, stack: &RawStack, run: &[PythonFrame], frames: &mut Vec<Arc<Frame>>) {
        let ends_task = usize::from(stack.task_frames).checked_sub(1).and_then(|last| stack.python.get(last));
        for frame in run {
            let is_innermost = stack.python.first().is_some_and(|innermost| std::ptr::eq(innermost, frame));
            if is_innermost && ends_task.is_none() {
                self.resolve_tasks(stack.image, &stack.tasks, frames);
            }
            let part = match (is_innermost, stack.collecting) {
                (true, true) => Part::Collecting,
                (true, false) => Part::Innermost,
                (false, _) => Part::Caller,
            };
            frames.push(self.python_frame(stack.image, frame, part));
            if ends_task.is_some_and(|last| std::ptr::eq(last, frame)) {
                self.resolve_tasks(stack.image, &stack.tasks, frames);
            }
        }
        if let (Some(last), Some(marker)) = (run.last(), stack.python_ending.marker())
            && stack.python.last().is_some_and(|outermost| std::ptr::eq(outermost, last))
        {
            frames.push(self.shared.frame(Frame::marker(marker)));
        }
    }

    /// Shows the task whose frames end here, and behind it those that await it: what a task computes is part of what
    /// awaits it.
    pub(super) fn resolve_tasks(&mut self, image: ImageId, tasks: &[AsyncEntry], frames: &mut Vec<Arc<Frame>>) {
        for entry in tasks {
            let frame = match entry {
                AsyncEntry::Frame(frame) => self.python_frame(image, frame, Part::Caller),
                AsyncEntry::Task(task) => {
                    let text = self.task_names.text(image, task, &self.runtimes.python);
                    self.shared.frame(Frame::marker(text))
                }
                AsyncEntry::Cut => self.shared.frame(Frame::marker(TASKS_CUT)),
            };
            frames.push(frame);
        }
    }

    fn python_frame(&mut self, image: ImageId, frame: &PythonFrame, part: Part) -> Arc<Frame> {
        match self.runtimes.python.resolve(image, frame) {
            Ok(function) => self.named_python(&function, frame.code, part),
            Err(reason) => self.shared.unknown(FrameKind::Python, reason, None, frame.code),
        }
    }

    fn named_python(&mut self, function: &PythonFunction, address: u64, part: Part) -> Arc<Frame> {
        let frame = Frame {
            kind: FrameKind::Python,
            name: Name::Known(self.shared.text(&function.name)),
            file: Some(self.shared.text(&function.file)),
            line: function.line,
            module: None,
            address,
            inlined: false,
            activity: match part {
                Part::Collecting => Activity::Collecting,
                Part::Innermost if function.calling => Activity::Calling,
                Part::Innermost | Part::Caller => Activity::Running,
            },
            source: None,
        };
        self.shared.frame(frame)
    }

    /// The methods of one frame of a virtual machine, inlined ones each with a frame of its own.
    fn resolve_java(&mut self, image: ImageId, java: &JavaFrame, frames: &mut Vec<Arc<Frame>>) {
        match self.runtimes.java.resolve(image, java) {
            Ok(methods) => frames.extend(methods.iter().map(|method| self.named_java(method, java.code))),
            Err(reason) => frames.push(self.shared.unknown(FrameKind::Jvm, reason, None, java.pc)),
        }
        if java.code == JavaCode::Continuation {
            frames.push(self.shared.frame(Frame::marker(FROZEN)));
        }
    }

    fn named_java(&mut self, method: &JavaMethod, code: JavaCode) -> Arc<Frame> {
        let is_method = !matches!(code, JavaCode::Stub | JavaCode::Entry | JavaCode::Continuation);
        let frame = Frame {
            kind: if is_method { FrameKind::Jvm } else { FrameKind::Interpreter },
            name: Name::Known(self.shared.text(&method.name)),
            file: method.file.as_deref().map(|file| self.shared.text(file)),
            line: method.line,
            module: None,
            address: method.start,
            inlined: method.inlined,
            activity: Activity::Running,
            source: None,
        };
        self.shared.frame(frame)
    }

    /// By the reading that shows where the address lay when code had last been mapped at `code_ns`.
    fn resolve_one(&mut self, known: &Readings, (address, code_ns): (Address, u64), frames: &mut Vec<Arc<Frame>>) {
        if let Some(image) = known.find(address, code_ns) {
            return self.resolve_mapped(image, address, frames);
        }
        let id = known.newest().id;
        self.registry.refresh(id, self.now, self.world);
        match self.registry.readings(id).as_ref().and_then(|readings| readings.find(address, code_ns)) {
            Some(image) => self.resolve_mapped(image, address, frames),
            None => frames.push(self.shared.unknown(FrameKind::Native, Reason::Unmapped, None, address.0)),
        }
    }

    fn resolve_mapped(&mut self, image: &Image, address: Address, frames: &mut Vec<Arc<Frame>>) {
        let Some((mapping, executable)) = image.find(address) else { return };
        if mapping.may_be_generated()
            && let Some(managed) = self.runtimes.resolve(image, address, self.now, self.world)
        {
            return frames.push(self.managed(&managed));
        }
        match (mapping.kind, executable) {
            (MappingKind::File | MappingKind::Vdso, Some(executable)) => {
                let offset = mapping.offset_of(address);
                let origin = Origin { process: image.id.process, mapping, world: self.world };
                let origin = (mapping.kind == MappingKind::File).then_some(&origin);
                let found = self.native.resolve(executable, offset, origin, self.engine, self.shared);
                frames.extend(found.iter().cloned());
            }
            (MappingKind::File | MappingKind::Vdso, None) => frames.push(self.without_file(mapping, address)),
            (MappingKind::Anonymous | MappingKind::Special, _) => {
                frames.push(self.shared.unknown(FrameKind::Jit, Reason::NoPerfMap, None, address.0));
            }
        }
    }

    fn without_file(&mut self, mapping: &Mapping, address: Address) -> Arc<Frame> {
        let offset = mapping.offset_of(address).0;
        self.shared.unknown(FrameKind::Native, Reason::FileUnavailable, Some(&mapping.file_name()), offset)
    }

    fn managed(&mut self, managed: &ManagedFrame) -> Arc<Frame> {
        let frame = Frame {
            kind: managed.kind,
            name: Name::Known(self.shared.text(&managed.function)),
            file: managed.file.as_deref().map(|file| self.shared.text(file)),
            line: managed.line,
            module: None,
            address: managed.start.0,
            inlined: false,
            activity: Activity::Running,
            source: None,
        };
        self.shared.frame(frame)
    }

    /// In a Python process, the frames of the interpreter's own module run on behalf of Python functions, known or not.
    fn mark_interpreter(&mut self, frames: &mut [Arc<Frame>], is_its: impl Fn(&str) -> bool) {
        for frame in frames {
            if frame.kind == FrameKind::Native && frame.module.as_deref().is_some_and(&is_its) {
                *frame = self.shared.frame(Frame { kind: FrameKind::Interpreter, ..Frame::clone(frame) });
            }
        }
    }

    /// A program that has the interpreter in it, under a name of its own, is the interpreter where Python functions called it;
    /// elsewhere it is itself.
    fn mark_embedded(&mut self, stack: &RawStack, frames: &mut [Arc<Frame>]) {
        let Some(outermost) = frames.iter().rposition(|frame| frame.kind == FrameKind::Python) else { return };
        let Some(module) = self.runtimes.python.module(stack.image) else { return };
        self.mark_interpreter(&mut frames[..outermost], |name| *name == *module);
    }
}

/// Which part of a stack a Python frame is.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// What runs.
    Innermost,
    /// What runs, while the interpreter collects garbage above it.
    Collecting,
    /// What called something in Python.
    Caller,
}

/// The frame of a virtual machine at a place, if there is one, from those that were not shown yet.
fn take_java<'a>(rest: &mut &'a [JavaFrame], place: usize) -> Option<&'a JavaFrame> {
    let (first, behind) = rest.split_first().filter(|(first, _)| usize::from(first.place) == place)?;
    *rest = behind;
    Some(first)
}

/// The Python frames of a stack that have not been shown yet.
struct PythonPart<'a> {
    rest: &'a [PythonFrame],
    /// Whether no frame knows its place, as in versions without markers: then each activation of the loop ran one of them.
    unplaced: bool,
}

impl<'a> PythonPart<'a> {
    fn of(stack: &'a RawStack) -> Self {
        Self { rest: &stack.python, unplaced: stack.python.iter().all(|frame| frame.place.is_none()) }
    }

    /// The frames that ran at a place.
    fn take(&mut self, place: usize) -> Option<&'a [PythonFrame]> {
        let is_here = |frame: &PythonFrame| frame.place.is_some_and(|at| usize::from(at) <= place);
        let count = self.rest.iter().take_while(|frame| is_here(frame)).count();
        (count > 0).then(|| self.split(count))
    }

    fn is_unplaced(&self) -> bool {
        self.unplaced && !self.rest.is_empty()
    }

    fn take_one(&mut self) -> &'a [PythonFrame] {
        self.split(1.min(self.rest.len()))
    }

    fn take_rest(&mut self) -> &'a [PythonFrame] {
        self.split(self.rest.len())
    }

    fn split(&mut self, count: usize) -> &'a [PythonFrame] {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }
}

/// Takes away what only began the activation of the loop whose Python frames stand before these; whether it was all of them.
fn leave_out_entries(frames: &mut Vec<Arc<Frame>>, first: usize) -> bool {
    let entries = frames[first..].iter().take_while(|frame| is_entry(frame)).count();
    frames.drain(first..first + entries);
    frames.len() == first
}

/// Whether a native frame is an activation of the interpreter's loop, by its name: only for versions without markers.
fn is_evaluation(frame: &Frame) -> bool {
    matches!(&frame.name, Name::Known(name) if name.starts_with("_PyEval_EvalFrameDefault"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::tests::user_stack;

    fn part(places: &[Option<u16>]) -> RawStack {
        let frame = |(code, place): (usize, &Option<u16>)| PythonFrame {
            code: code as u64,
            instruction: 0,
            fingerprint: 0,
            place: *place,
        };
        let image = ImageId { process: crate::profile::ProcessId { pid: 1, start_ns: 1 }, exec_ns: 0 };
        RawStack { python: places.iter().enumerate().map(frame).collect(), ..user_stack(image, &[]) }
    }

    fn codes(frames: &[PythonFrame]) -> Vec<u64> {
        frames.iter().map(|frame| frame.code).collect()
    }

    #[test]
    fn frames_are_taken_at_their_places_in_order() {
        let stack = part(&[Some(2), Some(2), Some(5), None]);
        let mut python = PythonPart::of(&stack);
        assert!(!python.is_unplaced());
        assert_eq!(python.take(1), None);
        assert_eq!(python.take(2).map(codes), Some(vec![0, 1]));
        assert_eq!(python.take(3), None);
        assert_eq!(python.take(5).map(codes), Some(vec![2]));
        assert_eq!((codes(python.take_rest()), codes(python.take_rest())), (vec![3], vec![]));
    }

    #[test]
    fn what_begins_the_loop_is_left_out_right_below_python_functions_only() {
        let native = |name: &&str| Arc::new(Frame { kind: FrameKind::Native, ..Frame::marker(*name) });
        for (names, left, is_all) in [
            (&["_PyEval_Vector"][..], &[][..], true),
            (&["_PyFunction_Vectorcall", "method_vectorcall"], &["method_vectorcall"], false),
            (&["slot_tp_call", "_PyEval_Vector"], &["slot_tp_call", "_PyEval_Vector"], false),
        ] {
            let mut frames = vec![native(&"_PyEval_Vector")];
            frames.extend(names.iter().map(native));
            assert_eq!(leave_out_entries(&mut frames, 1), is_all, "{names:?}");
            assert!(frames[1..].iter().eq(&left.iter().map(native).collect::<Vec<_>>()), "{names:?}");
        }
    }

    #[test]
    fn frames_that_know_no_place_are_taken_one_by_one() {
        let stack = part(&[None, None]);
        let mut python = PythonPart::of(&stack);
        assert!(python.is_unplaced() && python.take(3).is_none());
        assert_eq!(codes(python.take_one()), [0]);
        assert_eq!(codes(python.take_one()), [1]);
        assert!(!python.is_unplaced() && python.take_one().is_empty());
    }
}
