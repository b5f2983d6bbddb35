//! Makes a table from a source.

use std::ops::Range;

use gimli::{DebugFrame, EhFrame};
use profiler_common::unwind::rule::Rule;

use super::expression::Bytes;
use super::fixed::Fixed;
use super::frames::{Frame, Frames, Kind};
use super::limits;
use super::omission::{Omission, Omissions};
use super::program::{Malformed, Program};
use super::row::Row;
use super::source::Source;
use super::span::{Origin, Span, fill_gaps, sort_apart};
use super::table::Table;
use super::translation::translate;
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
    /// The end of what was written.
    reached: u64,
    instruction_bytes: u64,
    rows: u64,
}

impl<'a> Pen<'a> {
    fn new(source: &'a Source, start: u64) -> Self {
        Self { source, writer: Writer::new(start), reached: start, instruction_bytes: 0, rows: 0 }
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
        if let Err(stopped) = self.write_rows(frame, frames, span) {
            self.give_up(stopped.at, stopped.reason);
        }
    }

    fn write_rows<S: Kind<'a>>(
        &mut self,
        frame: &Frame<'a>,
        frames: &Frames<'a, S>,
        span: &Span,
    ) -> Result<(), Stopped> {
        let malformed = |at: u64| move |_| Stopped { at: at.max(span.start), reason: Omission::MalformedFrame };
        let mut program = Program::begin(frame, frames, self.source.machine).map_err(malformed(span.start))?;
        let mut instructions = frame.instructions(&frames.section, &frames.bases);
        while program.start < span.end {
            let next = instructions.next().map_err(|_| Malformed);
            let end = match next.map_err(malformed(program.start))? {
                Some(instruction) => program.carry_out(instruction).map_err(malformed(program.start))?,
                None => Some(span.end),
            };
            if let Some(end) = end {
                self.write_row(&program.row, program.start.max(span.start)..end.min(span.end))?;
                program.start = end;
            }
        }
        Ok(())
    }

    fn write_row(&mut self, row: &Row, addresses: Range<u64>) -> Result<(), Stopped> {
        self.rows += 1;
        if self.rows > limits::ROWS {
            return Err(Stopped { at: addresses.start, reason: Omission::TooManyFrames });
        }
        if addresses.is_empty() {
            return Ok(());
        }
        match translate(row, self.source.machine) {
            Ok((rule, lost)) => {
                self.writer.omissions.note(Omission::RegisterPlace, lost);
                self.writer.push(addresses.start, &rule);
            }
            Err(reason) => self.give_up(addresses.start, reason),
        }
        Ok(())
    }
}

/// From where on, and why, nothing is known of a function.
struct Stopped {
    at: u64,
    reason: Omission,
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
