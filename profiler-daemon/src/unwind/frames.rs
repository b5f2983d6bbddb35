//! The descriptions of functions in one section of unwind information.
//!
//! An entry is either a *common* part that many functions share, or the *frame* of one function, which refers to one. Frames
//! are found by their lengths alone, so that one that cannot be understood does not hide the others.

use std::collections::HashMap;
use std::ops::Range;

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, FrameDescriptionEntry, UnwindOffset, UnwindSection,
};

use super::expression::Bytes;
use super::limits;
use super::machine::Machine;
use super::omission::{Omission, Omissions};
use super::source::Section;
use super::span::{Origin, Span};

/// What tells the two kinds of sections apart, beyond what the library knows.
pub(super) trait Kind<'a>: UnwindSection<Bytes<'a>> {
    /// Makes the section readable.
    fn open(bytes: &'a [u8], machine: &Machine) -> Self;
    /// The number that marks a common part, by whether the entry is a long one.
    fn common_mark(long: bool) -> u64;
    /// Whether an entry of no length ends the section.
    const HAS_END: bool;
    /// The origin of the frame at an offset.
    fn origin(offset: u32) -> Origin;
}

impl<'a> Kind<'a> for EhFrame<Bytes<'a>> {
    const HAS_END: bool = true;

    fn open(bytes: &'a [u8], machine: &Machine) -> Self {
        let mut section = Self::new(bytes, gimli::LittleEndian);
        section.set_vendor(machine.vendor);
        section
    }

    fn common_mark(_: bool) -> u64 {
        0
    }

    fn origin(offset: u32) -> Origin {
        Origin::EhFrame(offset)
    }
}

impl<'a> Kind<'a> for DebugFrame<Bytes<'a>> {
    const HAS_END: bool = false;

    fn open(bytes: &'a [u8], machine: &Machine) -> Self {
        let mut section = Self::new(bytes, gimli::LittleEndian);
        section.set_vendor(machine.vendor);
        section
    }

    fn common_mark(long: bool) -> u64 {
        if long { u64::MAX } else { u64::from(u32::MAX) }
    }

    fn origin(offset: u32) -> Origin {
        Origin::DebugFrame(offset)
    }
}

/// One frame, with what it shares.
pub(super) type Frame<'a> = FrameDescriptionEntry<Bytes<'a>>;

/// The frames of a section.
pub(super) struct Frames<'a, S> {
    pub(super) section: S,
    pub(super) bases: BaseAddresses,
    bytes: &'a [u8],
    commons: Commons<'a>,
}

impl<'a, S: Kind<'a>> Frames<'a, S> {
    pub(super) fn new(section: &'a Section, machine: &Machine) -> Self {
        let bases = BaseAddresses::default().set_eh_frame(section.address);
        Self { section: S::open(&section.bytes, machine), bases, bytes: &section.bytes, commons: Commons::default() }
    }

    /// The spans of all functions that lie in `code`, sorted and apart.
    pub(super) fn collect(&mut self, code: &[Range<u64>], omissions: &mut Omissions) -> Vec<Span> {
        let (mut spans, mut at) = (Vec::new(), 0);
        while let Some(entry) = Entry::read(self.bytes, at) {
            at = entry.end;
            match entry.reference {
                None if S::HAS_END => break,
                Some(reference) if reference != S::common_mark(entry.long) => {}
                _ => continue,
            }
            if spans.len() == limits::FRAMES {
                omissions.note(Omission::TooManyFrames, 1);
                break;
            }
            match self.span_of(entry.start, code) {
                Ok(span) => spans.push(span),
                Err(reason) => omissions.note(reason, 1),
            }
        }
        omissions.note(Omission::FrameTwice, super::span::sort_apart(&mut spans));
        spans
    }

    fn span_of(&mut self, offset: usize, code: &[Range<u64>]) -> Result<Span, Omission> {
        let frame = self.parse(offset).ok_or(Omission::MalformedFrame)?;
        let start = frame.initial_address();
        let within = code.iter().find(|range| range.contains(&start)).ok_or(Omission::FrameOutside)?;
        let end = start.saturating_add(frame.len()).min(within.end);
        if start >= end {
            return Err(Omission::FrameOutside);
        }
        Ok(Span { start, end, origin: S::origin(offset as u32) })
    }

    /// The frame at an offset.
    pub(super) fn parse(&mut self, offset: usize) -> Option<Frame<'a>> {
        let partial = self.section.partial_fde_from_offset(&self.bases, S::Offset::from(offset)).ok()?;
        let (bytes, commons) = (self.bytes, &mut self.commons);
        let common = |section: &S, bases: &BaseAddresses, at: S::Offset| {
            let found = commons.find(UnwindOffset::into(at), || read_common(section, bases, bytes, at));
            found.ok_or(gimli::Error::NotCiePointer(0))
        };
        partial.parse(common).ok()
    }
}

fn read_common<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    bytes: &[u8],
    at: S::Offset,
) -> Option<CommonInformationEntry<Bytes<'a>>> {
    let entry = Entry::read(bytes, UnwindOffset::into(at))?;
    let short = (entry.end - entry.start) as u64 <= limits::COMMON_BYTES;
    if short { section.cie_from_offset(bases, at).ok() } else { None }
}

/// The common parts that were read.
#[derive(Default)]
struct Commons<'a> {
    all: HashMap<usize, Option<CommonInformationEntry<Bytes<'a>>>>,
    recent: Option<(usize, CommonInformationEntry<Bytes<'a>>)>,
}

impl<'a> Commons<'a> {
    fn find(
        &mut self,
        at: usize,
        read: impl FnOnce() -> Option<CommonInformationEntry<Bytes<'a>>>,
    ) -> Option<CommonInformationEntry<Bytes<'a>>> {
        if let Some((recent, common)) = &self.recent
            && *recent == at
        {
            return Some(common.clone());
        }
        if self.all.len() == limits::COMMONS && !self.all.contains_key(&at) {
            return None;
        }
        let common = self.all.entry(at).or_insert_with(read).clone()?;
        self.recent = Some((at, common.clone()));
        Some(common)
    }
}

/// The head of an entry.
struct Entry {
    start: usize,
    end: usize,
    long: bool,
    /// What it refers to; none if it has no length.
    reference: Option<u64>,
}

impl Entry {
    fn read(bytes: &[u8], start: usize) -> Option<Self> {
        let length = u32_at(bytes, start)?;
        let long = length == u32::MAX;
        let (length, content) = match long {
            true => (u64_at(bytes, start.checked_add(4)?)?, start.checked_add(12)?),
            false => (u64::from(length), start.checked_add(4)?),
        };
        let end = content.checked_add(usize::try_from(length).ok()?)?;
        if end > bytes.len() {
            return None;
        }
        let reference = match (length, long) {
            (0, _) => None,
            (_, false) => Some(u64::from(u32_at(bytes, content)?)),
            (_, true) => Some(u64_at(bytes, content)?),
        };
        Some(Self { start, end, long, reference })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
