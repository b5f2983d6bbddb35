//! The edges of past windows, so that a wait that spans several is cut into one part for each.

use std::collections::VecDeque;

use super::limits::EDGES;

/// The monotonic times at which windows began, oldest first; the last is that of the open window.
#[derive(Debug, Default)]
pub(super) struct Edges {
    starts: VecDeque<u64>,
}

/// A part of a wait within one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// When the window began.
    pub(super) window_start_ns: u64,
    /// How much of the wait lies in it.
    pub(super) length_ns: u64,
}

impl Edges {
    /// A new window begins.
    pub(super) fn begin_window(&mut self, at_ns: u64) {
        if self.starts.len() == EDGES {
            self.starts.pop_front();
        }
        self.starts.push_back(at_ns);
    }

    /// Whether an interval lies wholly within the open window.
    pub(super) fn is_within_open(&self, from_ns: u64) -> bool {
        self.starts.back().is_none_or(|start| *start <= from_ns)
    }

    /// Cuts `[from, to)` at the edges, newest part first.
    pub(super) fn cut(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = Part> + '_ {
        let mut end = to_ns;
        self.starts.iter().rev().map_while(move |start| {
            if end <= from_ns {
                return None;
            }
            let begin = (*start).clamp(from_ns, end);
            let length_ns = end - begin;
            end = begin;
            Some(Part { window_start_ns: *start, length_ns })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_over_three_windows_has_three_parts_that_add_up() {
        let mut edges = Edges::default();
        [0, 100, 200, 300].into_iter().for_each(|edge| edges.begin_window(edge));
        let parts: Vec<Part> = edges.cut(150, 320).collect();
        let expected = [(300, 20), (200, 100), (100, 50)];
        assert_eq!(parts, expected.map(|(window_start_ns, length_ns)| Part { window_start_ns, length_ns }));
    }

    #[test]
    fn what_began_before_the_oldest_edge_is_cut_off() {
        let mut edges = Edges::default();
        edges.begin_window(100);
        assert!(!edges.is_within_open(50));
        let parts: Vec<Part> = edges.cut(50, 130).collect();
        assert_eq!(parts, [Part { window_start_ns: 100, length_ns: 30 }]);
    }
}
