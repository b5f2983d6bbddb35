//! The text of source lines, from files in the root of the process whose frames name them.
//!
//! In come the frames of a stack, out come the same frames with the text of their lines where it could be read. The paths
//! are as untrusted as the process that named them: a file is opened only below its root, and only if the user the process
//! runs as may read it, so that no process makes the daemon show what it may not read itself. A file is looked for once per
//! program image and path; what was read before a change stays, because that is what the process loaded.

mod text;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frames::Shared;
use super::limits;
use crate::process::image::read_stat;
use crate::process::stat::ProcessCredentials;
use crate::process::{Image, ProcFile, RecentMap, World};
use crate::profile::{Frame, FrameKind, ImageId, SourceLine};
use crate::sys::clock::{epoch_of_boot_ns, epoch_of_monotonic_ns};
use crate::sys::identity::Reader;
use crate::sys::openat2::{FileFacts, read_changed_ns, read_facts};
use text::SourceText;

/// The source files read, and what each program image has where.
#[derive(Debug)]
pub(super) struct Sources {
    files: RecentMap<FileFacts, SourceText>,
    bytes: usize,
    places: RecentMap<(ImageId, Arc<str>), Option<Place>>,
    /// Of this window: each frame met, and the same with its text.
    annotated: HashMap<ImageId, HashMap<*const Frame, Annotated>>,
    /// The time spent on files in this window.
    spent: Duration,
}

/// A file that an image has at a path.
#[derive(Debug, Clone, Copy)]
struct Place {
    facts: FileFacts,
    is_newer: bool,
}

/// The frame is kept as well, so that no other can have its address.
#[derive(Debug)]
struct Annotated {
    _frame: Arc<Frame>,
    with_text: Arc<Frame>,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self {
            files: RecentMap::new(limits::SOURCE_FILES),
            bytes: 0,
            places: RecentMap::new(limits::SOURCE_PLACES),
            annotated: HashMap::new(),
            spent: Duration::ZERO,
        }
    }

    /// Forgets what belongs to one window.
    pub(super) fn end_window(&mut self) {
        self.annotated.clear();
        self.spent = Duration::ZERO;
    }

    /// Replaces the frames whose lines have a text.
    pub(super) fn annotate(
        &mut self,
        frames: &mut [Arc<Frame>],
        image: &Image,
        world: &dyn World,
        shared: &mut Shared,
    ) {
        let known = self.annotated.entry(image.id).or_default();
        if frames.iter().any(|frame| line_of(frame).is_some() && !known.contains_key(&Arc::as_ptr(frame))) {
            self.learn(frames, image, world, shared);
        }
        let known = &self.annotated[&image.id];
        for frame in frames {
            if let Some(annotated) = known.get(&Arc::as_ptr(frame)) {
                *frame = annotated.with_text.clone();
            }
        }
    }

    fn learn(&mut self, frames: &[Arc<Frame>], image: &Image, world: &dyn World, shared: &mut Shared) {
        self.look_for_files(frames, image, world);
        for frame in frames {
            let Some((file, line)) = line_of(frame) else { continue };
            let with_text = match self.find(image.id, file, line) {
                Some(line) => shared.frame(Frame { source: Some(Arc::new(line)), ..Frame::clone(frame) }),
                None => frame.clone(),
            };
            let known = self.annotated.entry(image.id).or_default();
            known.insert(Arc::as_ptr(frame), Annotated { _frame: frame.clone(), with_text });
        }
    }

    fn find(&mut self, image: ImageId, file: &Arc<str>, line: u32) -> Option<SourceLine> {
        let place = (*self.places.find(&(image, file.clone()))?)?;
        let text = self.files.find(&place.facts)?.line(line)?;
        Some(SourceLine { text, is_newer: place.is_newer })
    }

    /// Opens and reads the files of the frames that were not looked for yet, or not kept.
    fn look_for_files(&mut self, frames: &[Arc<Frame>], image: &Image, world: &dyn World) {
        let mut missing: Vec<&Frame> = Vec::new();
        for frame in frames.iter().filter(|frame| line_of(frame).is_some()) {
            let is_listed = missing.iter().any(|listed| listed.file == frame.file);
            if !is_listed && frame.file.as_ref().is_some_and(|file| !self.has_looked_for(image.id, file)) {
                missing.push(frame);
            }
        }
        if missing.is_empty() || self.spent >= limits::SOURCE_TIME {
            return;
        }
        let began = Instant::now();
        let opened = open_all(&missing, image, world).unwrap_or_default();
        let mut opened = opened.into_iter().chain(std::iter::repeat_with(|| None));
        for file in missing.iter().filter_map(|frame| frame.file.clone()) {
            let place = opened.next().flatten().and_then(|file| self.keep(&file, image.id).ok());
            self.places.insert((image.id, file), place);
        }
        self.spent += began.elapsed();
    }

    fn has_looked_for(&mut self, image: ImageId, file: &Arc<str>) -> bool {
        match self.places.find(&(image, file.clone())) {
            Some(Some(place)) => self.files.find(&place.facts).is_some(),
            Some(None) => true,
            None => false,
        }
    }

    /// Reads the file, unless that was done before.
    fn keep(&mut self, file: &File, image: ImageId) -> io::Result<Place> {
        let facts = read_facts(file)?;
        if self.files.find(&facts).is_none() {
            let text = read_text(file)?;
            self.bytes += text.bytes();
            let forgotten = self.files.insert(facts, text);
            self.note_forgotten(&forgotten);
            while self.bytes > limits::SOURCE_BYTES && self.files.len() > 1 {
                let forgotten = self.files.forget_oldest();
                self.note_forgotten(&forgotten);
            }
        }
        Ok(Place { facts, is_newer: read_changed_ns(file)? > i128::from(started_epoch_ns(image)) })
    }

    fn note_forgotten(&mut self, forgotten: &[(FileFacts, SourceText)]) {
        self.bytes -= forgotten.iter().map(|(_, text)| text.bytes()).sum::<usize>();
    }
}

/// The file and line of a frame whose text is not known yet. The kernel's files lie where it was built.
fn line_of(frame: &Frame) -> Option<(&Arc<str>, u32)> {
    let is_of_process = frame.kind != FrameKind::Kernel && frame.source.is_none();
    frame.file.as_ref().zip(frame.line).filter(|_| is_of_process)
}

fn started_epoch_ns(image: ImageId) -> u64 {
    let started = epoch_of_boot_ns(image.process.start_ns);
    if image.exec_ns == 0 { started } else { started.max(epoch_of_monotonic_ns(image.exec_ns)) }
}

fn read_text(file: &File) -> io::Result<SourceText> {
    let mut content = Vec::new();
    file.take(limits::SOURCE_FILE_BYTES + 1).read_to_end(&mut content)?;
    match content.len() as u64 > limits::SOURCE_FILE_BYTES {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(SourceText::new(content)),
    }
}

/// The open file of each of the frames, if the process has it and may read it.
///
/// The start time is compared after opening, so that a pid given to another process meanwhile is noticed.
fn open_all(frames: &[&Frame], image: &Image, world: &dyn World) -> io::Result<Vec<Option<File>>> {
    let pid = image.id.process.pid;
    let status = world.read(pid, ProcFile::Status)?;
    let ProcessCredentials { uid, gid, is_plain, .. } =
        ProcessCredentials::parse(&status).ok_or(io::ErrorKind::InvalidData)?;
    // It may run a set-uid program by now, whose rights are not those of the program that named the files.
    if !is_plain || (uid, gid) != (image.uid, image.gid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let directory = frames.iter().any(|frame| is_relative(frame)).then(|| directory_in_root(pid, world)).flatten();
    let paths: Vec<_> = frames.iter().map(|frame| path_of(frame, directory.as_deref())).collect();
    let known: Vec<PathBuf> = paths.iter().flatten().cloned().collect();
    let mut opened = world.open_each_as(pid, &known, Reader { uid, gid })?.into_iter();
    if !read_stat(pid, world).is_ok_and(|stat| stat.started_at(image.id.process.start_ns)) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(paths.into_iter().map(|path| path.and_then(|_| opened.next().flatten())).collect())
}

/// Where the frame's file is in the root of the process. A relative path of native code is of where it was built; a path as
/// long as the limit may have been cut.
fn path_of(frame: &Frame, directory: Option<&Path>) -> Option<PathBuf> {
    let file = frame.file.as_deref().filter(|file| file.len() + char::MAX.len_utf8() <= limits::TEXT_BYTES)?;
    match is_relative(frame) {
        true => Some(directory?.join(file)),
        false => file.starts_with('/').then(|| file.into()),
    }
}

/// Whether the path is relative to the directory the process was in. `<frozen os>` and `<string>` are no paths.
fn is_relative(frame: &Frame) -> bool {
    frame.kind == FrameKind::Python && frame.file.as_deref().is_some_and(|file| !file.starts_with(['/', '<']))
}

/// The working directory as the process itself sees it; `None` if it lies outside its root.
fn directory_in_root(pid: u32, world: &dyn World) -> Option<PathBuf> {
    let (root, directory) = (world.root_path(pid).ok()?, world.working_directory(pid).ok()?);
    Some(Path::new("/").join(directory.strip_prefix(root).ok()?))
}

#[cfg(test)]
mod tests;
