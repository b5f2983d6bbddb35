//! Which source tells the rules of which addresses.

use super::fixed::Fixed;

/// A range of addresses whose rules come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) origin: Origin,
}

/// Where rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A function described in `.eh_frame`, by the offset of its description.
    EhFrame(u32),
    /// A function described in `.debug_frame`.
    DebugFrame(u32),
    /// Known without a description.
    Fixed(Fixed),
}

/// Sorts spans and cuts each where the next begins, as unwinders do that look for the last one before an address.
/// Returns how many begin where another does; the first of them stays.
pub(super) fn sort_apart(spans: &mut Vec<Span>) -> usize {
    let before = spans.len();
    spans.sort_by_key(|span| span.start);
    spans.dedup_by_key(|span| span.start);
    for at in 1..spans.len() {
        spans[at - 1].end = spans[at - 1].end.min(spans[at].start);
    }
    before - spans.len()
}

/// Adds those of `more` that begin in gaps of `spans`, cut where the gap ends. Both are sorted and apart, and so is what
/// comes out.
pub(super) fn fill_gaps(spans: Vec<Span>, more: Vec<Span>) -> Vec<Span> {
    if spans.is_empty() || more.is_empty() {
        return if spans.is_empty() { more } else { spans };
    }
    let mut filled = Vec::with_capacity(spans.len() + more.len());
    let mut more = more.into_iter().peekable();
    let mut covered = 0;
    for next in spans {
        while let Some(span) = more.next_if(|span| span.start < next.start) {
            add_between(&mut filled, span, covered, next.start);
        }
        covered = next.end;
        filled.push(next);
    }
    more.for_each(|span| add_between(&mut filled, span, covered, u64::MAX));
    filled
}

fn add_between(spans: &mut Vec<Span>, span: Span, from: u64, to: u64) {
    if span.start >= from {
        spans.push(Span { end: span.end.min(to), ..span });
    }
}
