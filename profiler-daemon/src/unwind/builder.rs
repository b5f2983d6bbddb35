//! Makes a table from a source.

use std::ops::Range;

use gimli::{DebugFrame, EhFrame, UnwindContext};
use profiler_common::unwind::rule::Rule;

use super::expression::Bytes;
use super::fixed::Fixed;
use super::frames::{Frame, Frames, Kind};
use super::limits;
use super::omission::{Omission, Omissions};
use super::source::Source;
use super::span::{Origin, Span, fill_gaps, sort_apart};
use super::table::Table;
use super::translation::{Storage, translate};
use super::writer::Writer;

/// A table under construction.
pub(super) struct Builder<'a> {
    source: &'a Source,
    eh_frames: Option<Frames<'a, EhFrame<Bytes<'a>>>>,
    debug_frames: Option<Frames<'a, DebugFrame<Bytes<'a>>>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            eh_frames: source.eh_frame.as_ref().map(|section| Frames::new(section, source.machine)),
            debug_frames: source.debug_frame.as_ref().map(|section| Frames::new(section, source.machine)),
        }
    }

    pub(super) fn build(mut self) -> Table {
        let mut omissions = Omissions::default();
        let spans = self.collect_spans(&mut omissions);
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return Table::empty(omissions);
        };
        let (end, mut pen) = (last.end, Pen::new(self.source, first.start));
        pen.writer.omissions = omissions;
        for span in &spans {
            self.write_span(span, &mut pen);
        }
        pen.writer.finish(end)
    }

    /// All spans, in order and apart. Those of functions that are described for exceptions count more than those for
    /// debuggers, and those more than what is only known by its place.
    fn collect_spans(&mut self, omissions: &mut Omissions) -> Vec<Span> {
        let code = &self.source.code;
        let mut spans = self.eh_frames.as_mut().map(|frames| frames.collect(code, omissions)).unwrap_or_default();
        if let Some(frames) = &mut self.debug_frames {
            spans = fill_gaps(spans, frames.collect(code, omissions));
        }
        spans = fill_gaps(spans, self.source.stubs());
        fill_gaps(spans, self.source.entry_code())
    }

    fn write_span(&mut self, span: &Span, pen: &mut Pen<'a>) {
        pen.move_to(span.start);
        match span.origin {
            Origin::Fixed(fixed) => pen.writer.push(span.start, &fixed.rule()),
            Origin::EhFrame(offset) => write_frame(&mut self.eh_frames, offset, span, pen),
            Origin::DebugFrame(offset) => write_frame(&mut self.debug_frames, offset, span, pen),
        }
        pen.reached = span.end;
    }
}

fn write_frame<'a, S: Kind<'a>>(frames: &mut Option<Frames<'a, S>>, offset: u32, span: &Span, pen: &mut Pen<'a>) {
    let frame = frames.as_mut().and_then(|frames| Some((frames.parse(offset as usize)?, &*frames)));
    match frame {
        Some((frame, frames)) => pen.write_frame(&frame, frames, span),
        None => pen.give_up(span.start, Omission::MalformedFrame),
    }
}

/// What writes the rows of one span after the other.
struct Pen<'a> {
    source: &'a Source,
    writer: Writer,
    context: UnwindContext<usize, Storage>,
    /// The end of what was written.
    reached: u64,
    instruction_bytes: u64,
    rows: u64,
}

impl<'a> Pen<'a> {
    fn new(source: &'a Source, start: u64) -> Self {
        let context = UnwindContext::new_in();
        Self { source, writer: Writer::new(start), context, reached: start, instruction_bytes: 0, rows: 0 }
    }

    /// Leaves a gap up to an address.
    fn move_to(&mut self, address: u64) {
        if self.reached < address {
            self.writer.push(self.reached, &Rule::NONE);
        }
    }

    /// Says that nothing is known from an address on.
    fn give_up(&mut self, address: u64, reason: Omission) {
        self.writer.omissions.note(reason, 1);
        self.writer.push(address, &Rule::UNSUPPORTED);
    }

    fn write_frame<S: Kind<'a>>(&mut self, frame: &Frame<'a>, frames: &Frames<'a, S>, span: &Span) {
        if frame.is_signal_trampoline() {
            return self.writer.push(span.start, &Rule::SIGNAL);
        }
        if self.source.is_program && frame.initial_address() == self.source.entry {
            return self.writer.push(span.start, &Rule::OUTERMOST);
        }
        if frame.cie().return_address_register().0 != self.source.machine.return_address {
            return self.give_up(span.start, Omission::ReturnAddress);
        }
        self.instruction_bytes += (frame.entry_len() + frame.cie().entry_len()) as u64;
        if self.instruction_bytes > limits::INSTRUCTION_BYTES {
            return self.give_up(span.start, Omission::TooManyFrames);
        }
        self.write_rows(frame, frames, span);
    }

    fn write_rows<S: Kind<'a>>(&mut self, frame: &Frame<'a>, frames: &Frames<'a, S>, span: &Span) {
        let Self { context, writer, rows, source, .. } = self;
        let mut written = span.start;
        let Ok(mut table) = frame.rows(&frames.section, &frames.bases, context) else {
            return self.give_up(written, Omission::MalformedFrame);
        };
        let stopped = loop {
            let row = match table.next_row() {
                Ok(Some(row)) if *rows < limits::ROWS => row,
                Ok(Some(_)) => break Omission::TooManyFrames,
                Ok(None) => return,
                Err(_) => break Omission::MalformedFrame,
            };
            *rows += 1;
            let (start, end) = (row.start_address().max(span.start), row.end_address().min(span.end));
            if start < end {
                write_rule(writer, start, translate(row, &frames.section, source.machine));
                written = end;
            }
        };
        if written < span.end {
            self.give_up(written, stopped);
        }
    }
}

fn write_rule(writer: &mut Writer, address: u64, translated: Result<(Rule, usize), Omission>) {
    let rule = match translated {
        Ok((rule, lost)) => {
            writer.omissions.note(Omission::RegisterPlace, lost);
            rule
        }
        Err(reason) => {
            writer.omissions.note(reason, 1);
            Rule::UNSUPPORTED
        }
    };
    writer.push(address, &rule);
}

impl Source {
    /// The stubs of the linkage table that lie in code, sorted and apart.
    fn stubs(&self) -> Vec<Span> {
        let mut stubs = self.linkage.spans(self.machine);
        stubs.retain(|stub| self.code.iter().any(|code| code.start <= stub.start && stub.end <= code.end));
        sort_apart(&mut stubs);
        stubs
    }

    /// The code at the entry point, which may be described or not.
    fn entry_code(&self) -> Vec<Span> {
        let code = self.code.iter().find(|code| self.entry != 0 && code.contains(&self.entry));
        let span = |code: &Range<u64>| Span {
            start: self.entry,
            end: code.end.min(self.entry + limits::ENTRY_BYTES),
            origin: Origin::Fixed(Fixed::Outermost),
        };
        code.map(span).into_iter().collect()
    }
}
