//! User addresses of one image into frames: each through its mapping, and where there is no name, the reason.

use std::sync::Arc;
use std::time::Instant;

use profiler_common::limits::LEAF_FRAMES;

use super::engine::Engine;
use super::frames::Shared;
use super::native::Native;
use super::separate::Origin;
use crate::aggregate::RawStack;
use crate::process::image::is_python_file;
use crate::process::{Address, Image, Mapping, MappingKind, Registry, World};
use crate::profile::{Activity, Frame, FrameKind, Name, Reason};
use crate::runtime::{ManagedFrame, Runtimes};

/// Stands for frames that were not kept.
const GAP: &str = "[frames left out]";

/// Everything that finds frames for user addresses.
pub(super) struct UserFrames<'a> {
    pub(super) registry: &'a Registry,
    pub(super) world: &'a dyn World,
    pub(super) runtimes: &'a Runtimes,
    pub(super) native: &'a mut Native,
    pub(super) engine: &'a mut Engine,
    pub(super) shared: &'a mut Shared,
    pub(super) now: Instant,
}

impl UserFrames<'_> {
    /// The frames of the user part of a stack, leaf first; the first address is an instruction pointer, the others are
    /// return addresses. Also the image, if it is known.
    pub(super) fn resolve(&mut self, stack: &RawStack, frames: &mut Vec<Arc<Frame>>) -> Option<Arc<Image>> {
        let image = self.registry.image(stack.image);
        let before = frames.len();
        for (at, address) in stack.user.iter().enumerate() {
            if at == LEAF_FRAMES && stack.has_gap {
                frames.push(self.shared.frame(Frame::marker(GAP)));
            }
            let address = Address(if at == 0 { *address } else { address.saturating_sub(1) });
            match &image {
                Some(image) => self.resolve_one(image, address, frames),
                None => frames.push(self.shared.unknown(FrameKind::Native, Reason::ProcessGone, None, address.0)),
            }
        }
        if image.as_ref().is_some_and(|image| image.is_python) {
            self.mark_interpreter(&mut frames[before..]);
        }
        if let Some(marker) = stack.ending.marker() {
            frames.push(self.shared.frame(Frame::marker(marker)));
        }
        image
    }

    fn resolve_one(&mut self, image: &Arc<Image>, address: Address, frames: &mut Vec<Arc<Frame>>) {
        if image.mappings.find(address).is_some() {
            return self.resolve_mapped(image, address, frames);
        }
        match self.registry.refresh(image.id, self.now, self.world) {
            Some(newer) if newer.mappings.find(address).is_some() => self.resolve_mapped(&newer, address, frames),
            _ => frames.push(self.shared.unknown(FrameKind::Native, Reason::Unmapped, None, address.0)),
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
    fn mark_interpreter(&mut self, frames: &mut [Arc<Frame>]) {
        for frame in frames {
            if frame.kind == FrameKind::Native && frame.module.as_deref().is_some_and(is_python_file) {
                *frame = self.shared.frame(Frame { kind: FrameKind::Interpreter, ..Frame::clone(frame) });
            }
        }
    }
}
