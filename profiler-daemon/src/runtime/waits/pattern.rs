//! The functions a step of a rule names: alternatives with `|` between them, each `FUNCTION` or `MODULE!FUNCTION`, in which
//! `*` stands for any text, and a function `?` for one without a name.

use crate::profile::{Frame, Name};

/// Some functions.
#[derive(Debug)]
pub struct Pattern(Vec<Alternative>);

#[derive(Debug)]
struct Alternative {
    module: Option<String>,
    function: Function,
}

#[derive(Debug)]
enum Function {
    Nameless,
    Named(String),
}

impl Pattern {
    /// Reads a pattern, in which no words are left to fill in.
    pub fn parse(text: &str) -> Self {
        Self(text.split('|').map(Alternative::parse).collect())
    }

    /// Whether the frame is one of the functions.
    pub fn fits(&self, frame: &Frame) -> bool {
        self.0.iter().any(|alternative| alternative.fits(frame))
    }
}

impl Alternative {
    fn parse(text: &str) -> Self {
        let (module, function) = match text.split_once('!') {
            Some((module, function)) => (Some(module.to_owned()), function),
            None => (None, text),
        };
        let function = if function == "?" { Function::Nameless } else { Function::Named(function.to_owned()) };
        Self { module, function }
    }

    fn fits(&self, frame: &Frame) -> bool {
        let is_function = match (&self.function, &frame.name) {
            (Function::Named(pattern), Name::Known(name)) => is_like(source_name(name), pattern),
            (Function::Named(pattern), Name::Unknown(_)) => pattern == "*",
            (Function::Nameless, name) => matches!(name, Name::Unknown(_)),
        };
        is_function && self.module.as_ref().is_none_or(|pattern| is_of_module(frame, pattern))
    }
}

fn is_of_module(frame: &Frame, pattern: &str) -> bool {
    frame.module.as_deref().is_some_and(|module| is_like(module, pattern))
}

/// The name as its callers write it: `pthread_mutex_lock` for `___pthread_mutex_lock`, `__GI___pthread_mutex_lock` and
/// `pthread_mutex_lock@@GLIBC_2.2.5`; of a method in Rust, without the bracket that may stand before its type.
fn source_name(name: &str) -> &str {
    let name = name.trim_start_matches(['_', '<']);
    let name = name.strip_prefix("GI_").map_or(name, |name| name.trim_start_matches('_'));
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// Whether the text is like the pattern, in which `*` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in between.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{FrameKind, Reason};

    #[test]
    fn a_star_stands_for_any_text() {
        for (text, pattern) in [
            ("sem_wait", "sem_wait"),
            ("sem_wait", "sem_*"),
            ("sem_wait", "*"),
            ("std::sys::sync::mutex::futex::Mutex::lock_contended", "std::sys*mutex*::lock_contended*"),
            ("std::sys::sync::mutex::futex::Mutex>::lock_contended", "*::sys*mutex*::lock_contended"),
        ] {
            assert!(is_like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("sem_waiting", "sem_wait"),
            ("my_sem_wait", "sem_*"),
            ("std::sys::Mutex", "*std::sys*mutex*::lock_contended"),
            ("aba", "ab*ba"),
        ] {
            assert!(!is_like(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn names_of_the_c_library_are_those_their_callers_write() {
        for name in ["___pthread_mutex_lock", "__GI___pthread_mutex_lock", "pthread_mutex_lock@@GLIBC_2.2.5"] {
            assert_eq!(source_name(name), "pthread_mutex_lock");
        }
        assert!(
            Pattern::parse("std::sys*mutex*::lock").fits(&Frame {
                kind: FrameKind::Native,
                ..Frame::marker("<std::sys::sync::mutex::futex::Mutex>::lock")
            })
        );
    }

    #[test]
    fn a_function_without_a_name_is_told_by_its_module() {
        let nameless = Frame::unknown(FrameKind::Native, Reason::Stripped, Some("libuv.so.1.0.0".into()), 1);
        assert!(Pattern::parse("worker|libuv.so*!?").fits(&nameless));
        assert!(Pattern::parse("libuv.so*!*").fits(&nameless));
        assert!(!Pattern::parse("worker|libgomp.so*!?").fits(&nameless));
        assert!(!Pattern::parse("libuv.so*!worker").fits(&nameless));
    }
}
