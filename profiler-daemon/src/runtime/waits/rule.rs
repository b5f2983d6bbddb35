//! One rule for waits, and the files of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pattern::Pattern;
use crate::profile::{Frame, Name, WaitClass, WaitDetail};

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct Written {
    /// Patterns that other patterns, of any file, name as `{word}`.
    #[serde(default)]
    pub words: BTreeMap<&'static str, &'static str>,
    /// Functions that say nothing about a wait: they may stand before and between the steps of any rule.
    #[serde(default)]
    pub through: Vec<&'static str>,
    pub rules: Vec<WrittenRule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRule {
    pub name: &'static str,
    pub class: &'static str,
    #[serde(default)]
    pub idle: bool,
    /// The rule applies only where the kernel half tells this class, or no detail.
    pub kernel: Option<&'static str>,
    /// Functions of machine code and Java methods, innermost first: each step is one function or several in a row.
    #[serde(default)]
    pub frames: Vec<&'static str>,
    /// The innermost Python functions, as `file:function`.
    #[serde(default)]
    pub python: Vec<&'static str>,
}

/// The innermost frames of a stack, as rules see them.
pub(super) struct Innermost<'a> {
    /// Machine code and Java, and whether a frame may be passed.
    pub frames: Vec<(&'a Frame, bool)>,
    pub python: Vec<&'a Frame>,
}

/// A rule.
pub(super) struct Rule {
    pub detail: WaitDetail,
    kernel: Option<WaitClass>,
    frames: Vec<Pattern>,
    /// File and function.
    python: Vec<(&'static str, &'static str)>,
}

impl Rule {
    /// Fills the words in.
    pub fn new(written: WrittenRule, words: &BTreeMap<&str, &str>) -> Self {
        let python = written.python.iter().map(|function| function.split_once(':').expect("file and function"));
        let frames = written.frames.iter().map(|step| Pattern::parse(&fill_in(step, words)));
        Self {
            detail: WaitDetail { class: class_named(written.class), name: written.name, idle: written.idle },
            kernel: written.kernel.map(class_named),
            frames: frames.collect(),
            python: python.collect(),
        }
    }

    /// Whether a wait on this stack is this, if the kernel half told that.
    pub fn fits(&self, innermost: &Innermost<'_>, told: Option<WaitDetail>) -> bool {
        self.kernel.is_none_or(|class| told.is_none_or(|told| told.class == class))
            && self.fits_python(&innermost.python)
            && self.fits_frames(&innermost.frames)
    }

    fn fits_python(&self, python: &[&Frame]) -> bool {
        self.python.len() <= python.len()
            && self.python.iter().zip(python).all(|(function, frame)| is_python(frame, *function))
    }

    fn fits_frames(&self, mut rest: &[(&Frame, bool)]) -> bool {
        for step in &self.frames {
            let first = rest.iter().position(|(frame, passes)| step.fits(frame) || !passes);
            let Some(first) = first.filter(|first| step.fits(rest[*first].0)) else { return false };
            rest = &rest[first..];
            let end = rest.iter().position(|(frame, _)| !step.fits(frame));
            rest = &rest[end.unwrap_or(rest.len())..];
        }
        true
    }
}

fn class_named(name: &str) -> WaitClass {
    WaitClass::ALL.into_iter().find(|class| class.name() == name).expect("the class exists")
}

/// The pattern with the words in it replaced, which may name others.
pub(super) fn fill_in(pattern: &str, words: &BTreeMap<&str, &str>) -> String {
    let Some((before, rest)) = pattern.split_once('{') else { return pattern.to_owned() };
    let (word, after) = rest.split_once('}').expect("a word ends with a brace");
    let meaning = words.get(word).expect("the word is written in a file of rules");
    fill_in(&format!("{before}{meaning}{after}"), words)
}

fn is_python(frame: &Frame, (file, function): (&str, &str)) -> bool {
    let Name::Known(name) = &frame.name else { return false };
    // The standard library lies in a directory such as `python3.12`; a program may have a `queue.py` of its own.
    let is_library = |directory: &str| directory.rsplit('/').next().is_some_and(|name| name.starts_with("python3"));
    let is_file = |path: &str| path.strip_suffix(file).and_then(|rest| rest.strip_suffix('/')).is_some_and(is_library);
    name.rsplit('.').next() == Some(function) && frame.file.as_deref().is_some_and(is_file)
}
