//! What a thread waits for, told by the functions on its stack: the rules of the files here, of which the first that fits
//! applies. The files are asked in the order of [`FILES`], what is built upon others first.
//!
//! A rule names functions of machine code and Java methods by [patterns](pattern), innermost first. Its first step has to be where
//! the wait begins, and each next one right behind: only functions that say nothing, listed under `through`, and inlined ones without a
//! full name may lie in between.
//! So the work of a pool's thread is never taken for its waiting for work. Python functions are named as `file:function`
//! and apart from the others; before 3.11 they have no qualified names, so only the last part of a name counts.

mod pattern;
mod rule;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use self::pattern::Pattern;
use self::rule::{Innermost, Rule, Written, fill_in};
use crate::profile::{Frame, FrameKind, Name, WaitClass, WaitDetail};

/// Waiting for the lock around the interpreter: told by the kernel half, not by frames.
pub const GIL: WaitDetail = WaitDetail { class: WaitClass::Lock, name: "gil", idle: false };

/// How many frames are looked at: rules know no deeper ones.
const FRAMES: usize = 24;

const FILES: [&str; 5] = [
    include_str!("python.json"),
    include_str!("jvm.json"),
    include_str!("rust.json"),
    include_str!("go.json"),
    include_str!("native.json"),
];

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new(read_files()));

struct Rules {
    through: Vec<Pattern>,
    rules: Vec<Rule>,
}

fn read_files() -> Vec<Written> {
    FILES.iter().map(|file| serde_json::from_str(file).expect("the rules are tested")).collect()
}

impl Rules {
    fn new(files: Vec<Written>) -> Self {
        let words: BTreeMap<&str, &str> =
            files.iter().flat_map(|file| &file.words).map(|(word, is)| (*word, *is)).collect();
        let through = files.iter().flat_map(|file| &file.through).map(|text| Pattern::parse(&fill_in(text, &words)));
        let through = through.collect();
        let rules = files.iter().flat_map(|file| &file.rules).map(|rule| Rule::new(rule.clone(), &words)).collect();
        Self { through, rules }
    }

    fn innermost<'a>(&self, frames: &'a [Arc<Frame>]) -> Innermost<'a> {
        let passes = |frame: &Frame| is_unqualified(frame) || self.through.iter().any(|pattern| pattern.fits(frame));
        let is_code = |frame: &&Frame| !matches!(frame.kind, FrameKind::Kernel | FrameKind::Marker);
        let user = || frames.iter().map(AsRef::as_ref).filter(is_code);
        let of_code = user().take(FRAMES).take_while(|frame| frame.kind != FrameKind::Python);
        Innermost {
            frames: of_code.map(|frame| (frame, passes(frame))).collect(),
            python: user().filter(|frame| frame.kind == FrameKind::Python).take(FRAMES).collect(),
        }
    }
}

/// Whether the frame is of an inlined function of which debug information tells only the last part of the name: the function
/// it was inlined into tells more.
fn is_unqualified(frame: &Frame) -> bool {
    let is_short = |name: &str| !name.split('<').next().is_some_and(|path| path.contains("::"));
    frame.inlined && matches!(&frame.name, Name::Known(name) if is_short(name))
}

/// What a wait on this stack is, leaf first, of which the kernel half told `told`; `None` if no rule knows better.
pub fn detail_of(frames: &[Arc<Frame>], told: Option<WaitDetail>) -> Option<&'static WaitDetail> {
    let innermost = RULES.innermost(frames);
    RULES.rules.iter().find(|rule| rule.fits(&innermost, told)).map(|rule| &rule.detail)
}

#[cfg(test)]
mod tests;
