//! What a Python thread waits for, told by the functions on its stack: the rules of `waits.json`, of which the first that
//! fits applies.
//!
//! A rule names Python functions, innermost first, as `file:function`, and native functions by the beginning of their
//! names, of which one has to run above the innermost Python function. Before 3.11 functions have no qualified names, so
//! only the last part of a name counts.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::profile::{Frame, FrameKind, Name, WaitClass, WaitDetail};

/// Waiting for the lock around the interpreter: told by the kernel half, not by frames.
pub const GIL: WaitDetail = WaitDetail { class: WaitClass::Lock, name: "gil", idle: false };

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rules: Vec<Written> = serde_json::from_str(include_str!("waits.json")).expect("the rules are tested");
    rules.into_iter().map(Rule::from).collect()
});

/// A rule as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: &'static str,
    class: &'static str,
    #[serde(default)]
    idle: bool,
    #[serde(default)]
    python: Vec<&'static str>,
    #[serde(default)]
    native: Vec<&'static str>,
}

struct Rule {
    detail: WaitDetail,
    /// File and function.
    python: Vec<(&'static str, &'static str)>,
    native: Vec<&'static str>,
}

impl From<Written> for Rule {
    fn from(written: Written) -> Self {
        let class = WaitClass::ALL.into_iter().find(|class| class.name() == written.class).expect("the class exists");
        let functions = written.python.iter().map(|function| function.split_once(':').expect("file and function"));
        Self {
            detail: WaitDetail { class, name: written.name, idle: written.idle },
            python: functions.collect(),
            native: written.native,
        }
    }
}

impl Rule {
    fn fits(&self, above: &[Arc<Frame>], python: &[&Frame]) -> bool {
        let runs = |name: &&str| above.iter().any(|frame| is_native_named(frame, name));
        self.python.len() <= python.len()
            && self.python.iter().zip(python).all(|(function, frame)| is_function(frame, *function))
            && (self.native.is_empty() || self.native.iter().any(runs))
    }
}

/// What a wait on this stack is, leaf first; `None` if no rule knows better than the kernel.
pub fn detail_of(frames: &[Arc<Frame>]) -> Option<&'static WaitDetail> {
    let innermost = frames.iter().position(|frame| frame.kind == FrameKind::Python)?;
    let (above, below) = frames.split_at(innermost);
    let python: Vec<&Frame> = below.iter().map(AsRef::as_ref).filter(|frame| frame.kind == FrameKind::Python).collect();
    RULES.iter().find(|rule| rule.fits(above, &python)).map(|rule| &rule.detail)
}

fn is_function(frame: &Frame, (file, function): (&str, &str)) -> bool {
    let Name::Known(name) = &frame.name else { return false };
    // The standard library lies in a directory such as `python3.12`; a program may have a `queue.py` of its own.
    let is_library = |directory: &str| directory.rsplit('/').next().is_some_and(|name| name.starts_with("python3"));
    let is_file = |path: &str| path.strip_suffix(file).and_then(|rest| rest.strip_suffix('/')).is_some_and(is_library);
    name.rsplit('.').next() == Some(function) && frame.file.as_deref().is_some_and(is_file)
}

fn is_native_named(frame: &Frame, beginning: &str) -> bool {
    let is_native = matches!(frame.kind, FrameKind::Native | FrameKind::Interpreter);
    is_native && matches!(&frame.name, Name::Known(name) if name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Arc<Frame> {
        let (kind, rest) = text.split_once('|').unwrap();
        let (name, file) = rest.split_once('@').unwrap_or((rest, ""));
        let kind = if kind == "py" { FrameKind::Python } else { FrameKind::Native };
        let file = (!file.is_empty()).then(|| file.into());
        Arc::new(Frame { kind, name: Name::Known(name.into()), file, ..Frame::marker("") })
    }

    #[test]
    fn waits_are_told_by_the_functions_on_the_stack() {
        const LIB: &str = "/usr/lib/python3.12";
        for (stack, expected) in [
            (
                format!("c|sem_wait py|Condition.wait@{LIB}/threading.py py|Queue.get@{LIB}/queue.py py|f@/a.py"),
                "sync/idle worker",
            ),
            (format!("c|sem_wait py|wait@{LIB}/threading.py py|get@{LIB}/queue.py"), "sync/idle worker"),
            (format!("c|sem_wait py|_worker@{LIB}/concurrent/futures/thread.py"), "sync/idle worker"),
            (format!("c|sem_wait py|Condition.wait@{LIB}/threading.py py|f@/a.py"), "sync/condition"),
            (
                format!(
                    "c|epoll_wait py|EpollSelector.select@{LIB}/selectors.py py|BaseEventLoop._run_once@{LIB}/asyncio/base_events.py"
                ),
                "poll/asyncio loop",
            ),
            ("c|sem_clockwait c|PyThread_acquire_lock_timed py|f@/a.py".to_owned(), "lock/threading lock"),
            ("c|_PySemaphore_Wait c|python3.14+0x74cb36 py|f@/a.py".to_owned(), "lock/threading lock"),
            ("c|sem_wait py|wait@/mine_threading.py".to_owned(), "lock/threading lock"),
            ("c|sem_wait py|Queue.get@/app/queue.py".to_owned(), "lock/threading lock"),
        ] {
            let frames: Vec<_> = stack.split(' ').map(frame).collect();
            assert_eq!(detail_of(&frames).map(WaitDetail::label).as_deref(), Some(expected), "{stack}");
        }
    }

    #[test]
    fn a_wait_no_rule_knows_is_left_to_the_kernel() {
        for stack in ["c|read py|f@/a.py", "c|sem_wait c|main", "py|f@/a.py c|sem_wait"] {
            let frames: Vec<_> = stack.split(' ').map(frame).collect();
            assert_eq!(detail_of(&frames), None, "{stack}");
        }
    }
}
