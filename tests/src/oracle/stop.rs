//! One stop of a thread as the oracle saw it. In come lines of `workloads/oracle.c`, which says what they mean.

/// A thread that stopped, and its user stack there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// When the oracle learnt of the stop, on the monotonic clock.
    pub stopped_ns: u64,
    /// When it let the thread go on.
    pub resumed_ns: u64,
    /// Why it stopped.
    pub why: Why,
    /// How the walk ended.
    pub end: End,
    /// Frames, leaf first.
    pub frames: Vec<Frame>,
}

/// Why a thread stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A signal of this number, before its delivery.
    Signal(u32),
    /// It made a thread or a process, or is one that has just been made.
    Event,
    /// It executed a program: what was sampled before is gone.
    Exec,
}

/// How a walk of the oracle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the outermost frame.
    Whole,
    /// At its own limit.
    Deep,
    /// It could not go on.
    Broken,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The instruction: interrupted, or returned to.
    pub pc: u64,
    /// A signal interrupted it there. The leaf is not marked.
    pub interrupted: bool,
    /// It lies in memory that no file is mapped to.
    pub generated: bool,
    /// Nothing is said about its frame: the next one was guessed.
    pub guessed: bool,
}

impl Stop {
    /// The stop of a line that begins with `stop `; `None` for any other line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("stop ")?.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (pid, tid, stopped_ns, resumed_ns) = (number()? as u32, number()? as u32, number()?, number()?);
        let (why, end) = (parse_why(words.next()?)?, parse_end(words.next()?)?);
        let frames = words.map(parse_frame).collect::<Option<_>>()?;
        Some(Self { pid, tid, stopped_ns, resumed_ns, why, end, frames })
    }

    /// Whether a frame lies in generated code.
    pub fn is_through_generated_code(&self) -> bool {
        self.frames.iter().any(|frame| frame.generated)
    }
}

fn parse_why(word: &str) -> Option<Why> {
    match word {
        "event" => Some(Why::Event),
        "exec" => Some(Why::Exec),
        number => number.parse().ok().map(Why::Signal),
    }
}

fn parse_end(word: &str) -> Option<End> {
    match word {
        "whole" => Some(End::Whole),
        "deep" => Some(End::Deep),
        "broken" => Some(End::Broken),
        _ => None,
    }
}

/// An address with its marks.
pub fn parse_frame(word: &str) -> Option<Frame> {
    let digits = word.trim_end_matches(['!', '~', '?', '*']);
    let marks = &word[digits.len()..];
    let pc = u64::from_str_radix(digits, 16).ok()?;
    let has = |mark| marks.contains(mark);
    Some(Frame { pc, interrupted: has('!'), generated: has('~'), guessed: has('?') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_stopped_when_and_where() {
        let stop = Stop::parse("stop 7 8 100 200 19 whole 4a0 5b1! 6c2~?").unwrap();
        assert_eq!((stop.pid, stop.tid, stop.stopped_ns, stop.resumed_ns), (7, 8, 100, 200));
        assert_eq!((stop.why, stop.end), (Why::Signal(19), End::Whole));
        let frame = |pc, interrupted, generated| Frame { pc, interrupted, generated, guessed: generated };
        assert_eq!(stop.frames, [frame(0x4a0, false, false), frame(0x5b1, true, false), frame(0x6c2, false, true)]);
    }

    #[test]
    fn a_stop_without_frames_is_one_and_other_lines_are_none() {
        assert_eq!(Stop::parse("stop 7 8 100 200 event broken").unwrap().frames, []);
        assert_eq!(Stop::parse("map 7 1000 2000 0 /bin/x"), None);
        assert_eq!(Stop::parse("stop 7 8 100 200 19 whole zzz"), None);
    }
}
