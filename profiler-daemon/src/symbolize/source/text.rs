//! The text of one source file, by line.

use super::super::limits;

/// A file's bytes, and where its lines begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceText {
    content: Box<[u8]>,
    begins: Box<[u32]>,
}

impl SourceText {
    /// Lines end with a line feed, a carriage return, or both, as Python counts them.
    pub(super) fn new(content: Vec<u8>) -> Self {
        let ends_line = |at: usize| match content[at] {
            b'\n' => true,
            b'\r' => content.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        let after_ends = (0..content.len()).filter(|at| ends_line(*at)).map(|at| at as u32 + 1);
        let begins = [0].into_iter().chain(after_ends).collect();
        Self { content: content.into(), begins }
    }

    /// The memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.content.len() + size_of_val(&*self.begins)
    }

    /// The line of this number, counted from one, without blanks at its end, and cut at the limit. `None` if there is no such
    /// line, nothing in it, or no text.
    pub(super) fn line(&self, number: u32) -> Option<Box<str>> {
        let at = (number as usize).checked_sub(1)?;
        let begin = *self.begins.get(at)? as usize;
        let end = self.begins.get(at + 1).map_or(self.content.len(), |next| *next as usize);
        let line = self.content[begin..end].trim_ascii_end();
        let text = String::from_utf8_lossy(&line[..line.len().min(limits::SOURCE_LINE_BYTES)]);
        if text.trim().is_empty() || text.contains('\0') {
            return None;
        }
        // Of a character that was cut, nothing is left.
        let is_cut = line.len() > limits::SOURCE_LINE_BYTES;
        Some(if is_cut { format!("{}…", text.trim_end_matches('\u{fffd}')).into() } else { text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_whatever_ends_them() {
        let text = SourceText::new(b"a = 1\r\n\tb = 2  \n\rc\n\x00d\nf\xffg".to_vec());
        let lines: Vec<_> = (0..9).map(|number| text.line(number)).collect();
        let expected = [None, Some("a = 1"), Some("\tb = 2"), None, Some("c"), None, Some("f\u{fffd}g"), None, None];
        assert_eq!(lines, expected.map(|line| line.map(Box::from)));
        assert_eq!(SourceText::new(Vec::new()).line(1), None);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let limit = limits::SOURCE_LINE_BYTES;
        for (line, expected) in [
            ("x".repeat(limit), "x".repeat(limit)),
            ("x".repeat(limit) + "  ", "x".repeat(limit)),
            ("x".repeat(limit + 1), "x".repeat(limit) + "…"),
            ("x".repeat(limit - 1) + "ä", "x".repeat(limit - 1) + "…"),
        ] {
            assert_eq!(SourceText::new((line + "\n").into_bytes()).line(1).as_deref(), Some(expected.as_str()));
        }
    }
}
