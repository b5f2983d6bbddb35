//! What a Java program says about its own threads: the stacks of `workloads/Frames.java`, and what agrees with them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::stacks::{Place, Sample};

/// What a virtual machine is told to say about hidden frames: all of them, since a walk sees them too.
pub const TELLING: [&str; 2] = ["-XX:+UnlockDiagnosticVMOptions", "-XX:+ShowHiddenFrames"];

/// One thread. Frames are those of methods whose source file is known, leaf first.
#[derive(Debug, Clone)]
pub struct ThreadTruth {
    /// Its name.
    pub name: String,
    /// Whether it waits at one line of the leaf that it told.
    pub stays: bool,
    /// What it told when it was in its leaf; nothing of threads that are only looked at.
    pub told: Vec<Place>,
    /// Where it was when the program printed.
    pub now: Vec<Place>,
}

/// How a stack agrees with what a thread told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Every method and every caller's line.
    Right,
    /// The same, but for what is inlined into the innermost compiled frame. Where that was interrupted, debug information tells
    /// of no place but the nearest, which may lie in another method that was inlined.
    Approximate,
    /// Anything else.
    Wrong,
}

/// The Java frames of a stack, leaf first.
#[derive(Debug, Clone, Default)]
pub struct JavaStack {
    /// Those of methods whose source file is known.
    pub frames: Vec<Place>,
    /// How many of them are the innermost compiled frame: the method that was compiled, after what is inlined into it.
    innermost: usize,
    /// Whether the last of these is that method; otherwise its source file is not known.
    is_named: bool,
}

impl JavaStack {
    /// The Java frames of a sample.
    pub fn of(sample: &Sample) -> Self {
        let frames: Vec<_> = sample.frames.iter().filter(|place| is_java(place)).cloned().collect();
        let Some(first) = sample.frames.iter().position(is_java) else { return Self::default() };
        let inlined = sample.inlined.iter().skip(first).take_while(|inlined| **inlined).count();
        let compiled = &sample.frames[first..sample.frames.len().min(first + inlined + 1)];
        let innermost = compiled.iter().filter(|place| is_java(place)).count();
        Self { frames, innermost, is_named: compiled.last().is_some_and(is_java) }
    }
}

impl ThreadTruth {
    /// How a stack agrees. What the leaf called may be anything; its own line counts if `at_line`, and nothing is approximate
    /// then.
    pub fn agreement(&self, found: &JavaStack, at_line: bool) -> Agreement {
        if self.is_right(&found.frames, at_line) {
            Agreement::Right
        } else if !at_line && self.is_approximate(found) {
            Agreement::Approximate
        } else {
            Agreement::Wrong
        }
    }

    fn is_right(&self, found: &[Place], at_line: bool) -> bool {
        let Some((leaf, callers)) = self.told.split_first() else { return false };
        let is_leaf = |place: &Place| place.function == leaf.function && (place.line == leaf.line || !at_line);
        let inner = found.len().checked_sub(callers.len());
        inner.is_some_and(|inner| inner > 0 && found[inner..] == *callers && is_leaf(&found[inner - 1]))
    }

    /// Whether the compiled method and its callers are those that were told.
    fn is_approximate(&self, found: &JavaStack) -> bool {
        let (compiled, callers) = found.frames.split_at(found.innermost);
        let Some((told, told_callers)) = self.told.split_at_checked(self.told.len().saturating_sub(callers.len()))
        else {
            return false;
        };
        let Some((compiled, told)) = compiled.last().zip(told.last()) else { return false };
        told_callers == callers && (!found.is_named || compiled.function == told.function)
    }

    /// The outermost method.
    fn outermost(&self) -> Option<&str> {
        self.told.last().or(self.now.last()).map(|place| place.function.as_str())
    }

    /// Whether a stack reaches the outermost method, and beyond it the code that starts threads.
    pub fn is_reached(&self, sample: &Sample) -> bool {
        let Some(outermost) = sample.frames.iter().rposition(is_java) else { return false };
        let is_beyond = sample.frames.len() > outermost + 1;
        let is_cut = sample.frames.last().is_some_and(|last| last.function.starts_with('['));
        is_beyond && !is_cut && self.outermost() == Some(&sample.frames[outermost].function)
    }
}

/// Whether a frame is that of a method whose source file is known.
pub fn is_java(place: &Place) -> bool {
    place.file.ends_with(".java")
}

/// Reads what the workload printed.
pub fn parse_truth(printed: &Value) -> Result<Vec<ThreadTruth>> {
    let threads = printed["threads"].as_array().context("there are no threads")?;
    threads.iter().map(parse_thread).collect()
}

fn parse_thread(thread: &Value) -> Result<ThreadTruth> {
    Ok(ThreadTruth {
        name: thread["name"].as_str().context("a thread has no name")?.to_owned(),
        stays: thread["stays"].as_bool().context("a thread does not say whether it stays")?,
        told: parse_frames(&thread["told"])?,
        now: parse_frames(&thread["now"])?,
    })
}

fn parse_frames(frames: &Value) -> Result<Vec<Place>> {
    let frames: Vec<(String, String, u32)> = serde_json::from_value(frames.clone())?;
    let places = frames.into_iter().map(|(function, file, line)| Place { file, line, function });
    Ok(places.filter(is_java).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, line: u32) -> Place {
        Place { file: "A.java".to_owned(), line, function: function.to_owned() }
    }

    fn native(function: &str) -> Place {
        Place { file: String::new(), line: 0, function: function.to_owned() }
    }

    fn truth() -> ThreadTruth {
        let frame = |function, line| serde_json::json!([function, "A.java", line]);
        let told =
            [frame("A.leaf", 3), frame("A.mid", 5), serde_json::json!(["A$$Lambda.run", "", 0]), frame("A.run", 9)];
        let printed = serde_json::json!({ "threads": [{ "name": "x", "stays": true, "told": told, "now": [] }] });
        parse_truth(&printed).unwrap_or_default().remove(0)
    }

    /// A stack whose first frames are inlined into the one after them.
    fn stack(frames: &[Place], inlined: usize) -> JavaStack {
        let flags = (0..frames.len()).map(|at| at < inlined).collect();
        JavaStack::of(&Sample { frames: frames.to_vec(), inlined: flags, ..Sample::default() })
    }

    #[test]
    fn methods_and_callers_lines_count_and_the_leafs_line_where_it_stays() {
        let frames = |leaf| [place("B.called", 1), place("A.leaf", leaf), place("A.mid", 5), place("A.run", 9)];
        let agreement = |frames: &[Place], at_line| truth().agreement(&stack(frames, 0), at_line);
        assert_eq!(agreement(&frames(3), true), Agreement::Right);
        assert_eq!(agreement(&frames(4), false), Agreement::Right);
        assert_eq!(agreement(&frames(4), true), Agreement::Wrong);
        let mut moved = frames(3);
        moved[2].line = 6;
        assert_eq!(agreement(&moved, false), Agreement::Wrong);
        assert_eq!(agreement(&frames(3)[1..], true), Agreement::Right);
        assert_eq!(agreement(&frames(3)[..3], true), Agreement::Wrong);
        assert_eq!(agreement(&[], false), Agreement::Wrong);
    }

    #[test]
    fn only_what_is_inlined_into_the_innermost_frame_may_be_another() {
        let truth = truth();
        let other = [place("B.other", 1), place("A.mid", 6), place("A.run", 9)];
        assert_eq!(truth.agreement(&stack(&other, 1), false), Agreement::Approximate);
        assert_eq!(truth.agreement(&stack(&other, 1), true), Agreement::Wrong);
        assert_eq!(truth.agreement(&stack(&other, 0), false), Agreement::Wrong);
        assert_eq!(truth.agreement(&stack(&other[1..], 0), false), Agreement::Approximate);
        let compiled = [place("B.other", 1), place("A.strange", 6), place("A.run", 9)];
        assert_eq!(truth.agreement(&stack(&compiled, 1), false), Agreement::Wrong);
        let proxy = [place("B.other", 1), native("A$$Lambda.run"), place("A.run", 9)];
        assert_eq!(truth.agreement(&stack(&proxy, 1), false), Agreement::Approximate);
        assert_eq!(truth.agreement(&stack(&[place("B.other", 1), place("B.run", 9)], 1), false), Agreement::Wrong);
    }

    #[test]
    fn a_stack_that_is_cut_or_ends_in_java_is_not_complete() {
        let sample = |frames: &[Place]| Sample { frames: frames.to_vec(), ..Sample::default() };
        let (truth, run) = (truth(), place("A.run", 9));
        assert!(truth.is_reached(&sample(&[run.clone(), native("start_thread")])));
        assert!(!truth.is_reached(&sample(std::slice::from_ref(&run))));
        assert!(!truth.is_reached(&sample(&[run.clone(), native("x"), native("[truncated: unmapped]")])));
        assert!(!truth.is_reached(&sample(&[place("A.mid", 5), native("start_thread")])));
    }
}
