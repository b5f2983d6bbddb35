//! What a Python says about its own threads: the frames of `workloads/python/reference.py`, held against `faulthandler`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stacks::Place;

/// The threads of the reference program that wait at several lines.
pub const MOVING: [&str; 8] =
    ["condition", "contend", "idle_loop", "metronome", "receive_with_timeout", "slot", "sort", "worker"];

/// How many frames of a thread `faulthandler` prints at most.
const PRINTED: usize = 100;

/// One thread at one moment.
#[derive(Debug, Clone)]
pub struct ThreadTruth {
    /// What it is there for.
    pub name: String,
    /// Its tid.
    pub tid: u32,
    /// Leaf first.
    pub frames: Vec<Place>,
    /// The lines its leaf may be at; none but the leaf's own if empty.
    pub leaf_lines: Vec<u32>,
}

impl ThreadTruth {
    /// Whether a walk found these, of a deeper stack at least `most` of them.
    pub fn agrees(&self, found: &[Place], most: usize) -> bool {
        let wanted = &self.frames[..self.frames.len().min(found.len().max(most))];
        let (Some((leaf, callers)), Some((found_leaf, found_callers))) = (wanted.split_first(), found.split_first())
        else {
            return false;
        };
        let moved = Place { line: leaf.line, ..found_leaf.clone() };
        let same_leaf = found_leaf == leaf || moved == *leaf && self.leaf_lines.contains(&found_leaf.line);
        same_leaf && found_callers == callers
    }
}

/// Reads what the workload printed, and fails where `faulthandler` says otherwise about a thread.
pub fn parse_truth(printed: &Value) -> Result<Vec<ThreadTruth>> {
    parse_threads(printed)?.into_iter().collect()
}

/// The same, thread by thread: where threads run at once, one may have moved on between the two ways of asking.
pub fn parse_threads(printed: &Value) -> Result<Vec<Result<ThreadTruth>>> {
    let text = printed["faulthandler"].as_str().context("there is no text of faulthandler's")?;
    let dumps = parse_faulthandler(text);
    let threads = printed["threads"].as_array().context("there are no threads")?;
    Ok(threads.iter().map(|thread| parse_thread(thread, &dumps)).collect())
}

fn parse_thread(thread: &Value, dumps: &BTreeMap<&str, Vec<Place>>) -> Result<ThreadTruth> {
    let name = thread["name"].as_str().context("a thread has no name")?.to_owned();
    let frames = thread["frames"].as_array().context("a thread has no frames")?;
    let frames: Vec<Place> = frames.iter().map(parse_place).collect::<Option<_>>().context("a frame is not whole")?;
    let lines = thread["leaf_lines"].as_array().into_iter().flatten();
    let ident = thread["ident"].as_str().context("a thread has no ident")?;
    let dump = dumps.get(ident).with_context(|| format!("faulthandler does not know `{name}`"))?;
    ensure!(is_same(&frames, dump), "`{name}` is at {:?}, faulthandler says {:?}", frames.first(), dump.first());
    Ok(ThreadTruth {
        tid: thread["native_id"].as_u64().context("a thread has no tid")? as u32,
        leaf_lines: lines.filter_map(Value::as_u64).map(|line| line as u32).collect(),
        name,
        frames,
    })
}

fn parse_place(frame: &Value) -> Option<Place> {
    let (file, function) = (frame[0].as_str()?.to_owned(), frame[2].as_str()?.to_owned());
    Some(Place { file, line: frame[1].as_u64()? as u32, function })
}

/// `faulthandler` prints names without what qualifies them, and no more than so many frames.
fn is_same(frames: &[Place], dump: &[Place]) -> bool {
    let short = |place: &Place| place.function.rsplit('.').next().unwrap_or_default().to_owned();
    let printed = frames.iter().take(PRINTED).map(|place| Place { function: short(place), ..place.clone() });
    printed.eq(dump.iter().cloned())
}

/// The frames of each thread, by its ident as printed.
fn parse_faulthandler(text: &str) -> BTreeMap<&str, Vec<Place>> {
    let mut threads: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(at) = line.find("hread 0x") {
            current = line[at + "hread ".len()..].split(' ').next().unwrap_or_default();
        } else if let Some(place) = parse_printed(line) {
            threads.entry(current).or_default().push(place);
        }
    }
    threads
}

/// `  File "path", line 12 in name`
fn parse_printed(line: &str) -> Option<Place> {
    let (file, rest) = line.strip_prefix("  File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ")?;
    Some(Place { file: unescape(file), line: number.parse().ok()?, function: unescape(function) })
}

/// What is not ASCII is printed as `\xff`, `\uffff` or `\Uffffffff`.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let digits = match rest.as_bytes().get(at + 1) {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let code = rest.get(at + 2..at + 2 + digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        plain.push_str(&rest[..at]);
        plain.push(code.and_then(char::from_u32).unwrap_or('\\'));
        rest = &rest[at + if code.is_some() { 2 + digits } else { 1 }..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: u32, function: &str) -> Place {
        Place { file: file.to_owned(), line, function: function.to_owned() }
    }

    #[test]
    fn what_faulthandler_printed_is_read_thread_by_thread() {
        let text = "Thread 0x00007f01 (most recent call first):\n  File \"/a b.py\", line 3 in l\\xe4uft\n\n\
                    Current thread 0x00007f02 [x] (most recent call first):\n  File \"<string>\", line 1 in <module>\n";
        let threads = parse_faulthandler(text);
        assert_eq!(threads["0x00007f01"], [place("/a b.py", 3, "läuft")]);
        assert_eq!(threads["0x00007f02"], [place("<string>", 1, "<module>")]);
        assert_eq!(unescape("\\u8ba1\\U00020000\\"), "计𠀀\\");
    }

    #[test]
    fn only_the_leaf_may_be_elsewhere_and_only_on_its_lines() {
        let frames = vec![place("a.py", 5, "leaf"), place("a.py", 9, "root")];
        let truth = ThreadTruth { name: "x".into(), tid: 1, frames: frames.clone(), leaf_lines: vec![5, 6] };
        assert!(truth.agrees(&frames, 256) && truth.agrees(&frames[..1], 1) && truth.agrees(&frames, 1));
        assert!(truth.agrees(&[place("a.py", 6, "leaf"), place("a.py", 9, "root")], 256));
        assert!(!truth.agrees(&[place("a.py", 7, "leaf"), place("a.py", 9, "root")], 256));
        assert!(!truth.agrees(&frames[..1], 256) && !truth.agrees(&[], 256));
    }

    #[test]
    fn frames_that_faulthandler_does_not_confirm_are_refused() {
        let thread = |line: u32| {
            serde_json::json!({ "threads": [{ "name": "x", "native_id": 7, "ident": "0x01", "leaf_lines": [],
                "frames": [["a.py", line, "A.f.<locals>.g"]] }],
                "faulthandler": "Thread 0x01 (most recent call first):\n  File \"a.py\", line 4 in g\n" })
        };
        assert_eq!(parse_truth(&thread(4)).map(|threads| threads[0].tid).ok(), Some(7));
        assert!(parse_truth(&thread(5)).is_err());
    }
}
