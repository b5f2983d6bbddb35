//! The procedure linkage table: stubs that jump to functions of other files, which some linkers do not describe.

use std::ops::Range;

use super::fixed::Fixed;
use super::machine::Machine;
use super::span::{Origin, Span};
use crate::process::elf::Elf;

/// Stubs that fall back to the dynamic linker when they are called for the first time.
const LAZY: &[u8] = b".plt";
/// Stubs that only jump, on behalf of lazy ones, and on their own.
const SECOND: &[u8] = b".plt.sec";
const PLAIN: &[u8] = b".plt.got";

/// The sections of stubs.
#[derive(Debug, Default)]
pub(super) struct Linkage {
    pub(super) lazy: Option<Range<u64>>,
    pub(super) second: Option<Range<u64>>,
    pub(super) plain: Option<Range<u64>>,
}

impl Linkage {
    pub(super) fn read(elf: &Elf) -> Self {
        let range = |name: &[u8]| {
            let section = elf.find(name)?;
            Some(section.address()..section.address().checked_add(section.size())?)
        };
        Self { lazy: range(LAZY), second: range(SECOND), plain: range(PLAIN) }
    }

    /// What is known of the stubs, in no order.
    pub(super) fn spans(&self, machine: &Machine) -> Vec<Span> {
        let mut spans = Vec::new();
        let x86_64 = machine.is_x86_64();
        for range in self.second.iter().chain(&self.plain) {
            push(&mut spans, range.clone(), if x86_64 { Fixed::Words(1) } else { Fixed::Leaf });
        }
        match &self.lazy {
            Some(lazy) if x86_64 => self.push_lazy_x86_64(&mut spans, lazy),
            Some(lazy) => push_lazy_aarch64(&mut spans, lazy),
            None => {}
        }
        spans
    }

    /// The head pushes a word at once, on top of the one the stub pushed. A stub begins with a jump of six bytes and pushes
    /// with five; if another stub jumps on its behalf, it begins with a mark of four bytes instead.
    fn push_lazy_x86_64(&self, spans: &mut Vec<Span>, lazy: &Range<u64>) {
        let pushed_from = if self.second.is_none() { 11 } else { 9 };
        push(spans, lazy.start..lazy.start.saturating_add(6), Fixed::Words(2));
        push(spans, lazy.start.saturating_add(6)..lazy.start.saturating_add(16), Fixed::Words(3));
        push(spans, lazy.start.saturating_add(16)..lazy.end, Fixed::Stubs(pushed_from));
    }
}

/// The head pushes two registers with its first instruction; stubs push none.
fn push_lazy_aarch64(spans: &mut Vec<Span>, lazy: &Range<u64>) {
    push(spans, lazy.start..lazy.start.saturating_add(4), Fixed::Leaf);
    push(spans, lazy.start.saturating_add(4)..lazy.start.saturating_add(32), Fixed::LinkPushed);
    push(spans, lazy.start.saturating_add(32)..lazy.end, Fixed::Leaf);
}

fn push(spans: &mut Vec<Span>, range: Range<u64>, fixed: Fixed) {
    if range.start < range.end {
        spans.push(Span { start: range.start, end: range.end, origin: Origin::Fixed(fixed) });
    }
}
