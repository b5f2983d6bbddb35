//! The text of a line of source code. Untrusted, and bounded by whoever read it.

/// One line as it stood in the file when it was read, without what ends it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// The text, with the blanks it begins with.
    pub text: Box<str>,
    /// Whether the file was changed after the process had started, which may have loaded an earlier version.
    pub is_newer: bool,
}
