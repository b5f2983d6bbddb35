//! What the threads of a process do now, as JSON and as text.

use std::fmt::Write;

use serde::Serialize;
use utoipa::ToSchema;

use super::escape_untrusted;
use super::hotspots::text::{NEWER_MARK, NEWER_NOTE};
use super::table::{counted, duration};
use crate::profile::{Doing, Frame, FrameKind, Lasted, Place, ProcessNow, ThreadNow, WaitDetail, WaitNow};

/// All threads of a process at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Threads {
    /// The process.
    pub pid: u32,
    /// The name of the thread-group leader.
    pub comm: String,
    /// The path of the executable, if readable.
    pub executable: Option<String>,
    /// Whether it is selected: then it is known since when its threads wait.
    pub selected: bool,
    /// What is missing of all stacks, and why.
    pub notes: Vec<String>,
    /// The threads, by tid.
    pub threads: Vec<ThreadRow>,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ThreadRow {
    /// Its tid.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// `running` (on a CPU, or waiting for one), `waiting` or `ended`.
    #[schema(example = "waiting")]
    pub state: &'static str,
    /// If it waits: the class of the wait; absent if the process may not be traced.
    #[schema(example = "net")]
    pub class: Option<&'static str>,
    /// The class and what the frames tell of the wait beyond it.
    #[schema(example = "sync/idle worker")]
    pub detail: Option<String>,
    /// Whether it is parked with nothing to do, as far as the frames tell.
    pub idle: bool,
    /// The system call it is in.
    #[schema(example = "recvfrom")]
    pub call: Option<String>,
    /// What it waits for: a file, a peer, a lock and who holds it, a thread, a time.
    #[schema(example = "tcp 127.0.0.1:54321 to 127.0.0.1:5432 (descriptor 7)")]
    pub waits_for: Option<String>,
    /// For how long it has waited, in nanoseconds; absent if the process is not selected.
    pub waited_ns: Option<u64>,
    /// Whether it has waited longer than that: it was not watched before.
    pub waited_longer: bool,
    /// The time it was on a CPU so far, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// The stack, leaf first; empty if there is none.
    pub stack: Vec<FrameRow>,
    /// Why there is no stack.
    pub no_stack: Option<String>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FrameRow {
    /// The function, or module and address where its name is not known.
    pub function: String,
    /// `kernel`, `native`, `interpreter`, `python`, `jvm`, `jit`, or `marker` for a note that is not code.
    pub kind: &'static str,
    /// The executable or library.
    pub module: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
    /// The text of the line, if its file could be read.
    pub code: Option<String>,
    /// Whether the file was changed after the process had started: what runs may be another line.
    pub code_newer: bool,
    /// Whether it was inlined into the next frame.
    pub inlined: bool,
}

/// The answer for a process.
pub fn threads(process: &ProcessNow<Place>) -> Threads {
    Threads {
        pid: process.pid,
        comm: process.comm.clone(),
        executable: process.executable.as_ref().map(|path| path.to_string_lossy().into_owned()),
        selected: process.selected,
        notes: process.notes.clone(),
        threads: process.threads.iter().map(ThreadRow::of).collect(),
    }
}

impl ThreadRow {
    fn of(thread: &ThreadNow<Place>) -> Self {
        let nothing = WaitNow::default();
        let (state, wait) = match &thread.doing {
            Doing::Running => ("running", &nothing),
            Doing::Ended => ("ended", &nothing),
            Doing::Waiting(wait) => ("waiting", wait),
        };
        let stack = thread.stack.as_ref();
        let detail = stack.ok().and_then(|stack| stack.wait);
        let detail = detail.filter(|detail| wait.class.is_some_and(|class| detail.refines(class)));
        let class = detail.map(|detail| detail.class).or(wait.class);
        Self {
            tid: thread.tid,
            name: thread.name.clone(),
            state,
            class: class.map(crate::profile::WaitClass::name),
            detail: detail.as_ref().map(WaitDetail::label),
            idle: detail.is_some_and(|detail| detail.idle),
            call: wait.call.clone(),
            waits_for: wait.subject.clone(),
            waited_ns: wait.lasted.map(|lasted| lasted.ns),
            waited_longer: wait.lasted.is_some_and(|lasted| lasted.or_longer),
            cpu_ns: thread.cpu_ns,
            stack: stack.map(|stack| stack.leaf_first().map(FrameRow::of).collect()).unwrap_or_default(),
            no_stack: thread.stack.as_ref().err().cloned(),
        }
    }

    /// Without the frames that only run others: the interpreter's own, below and above Python's.
    fn shown(&self) -> impl Iterator<Item = &FrameRow> {
        let has_python = self.stack.iter().any(|frame| frame.kind == kind_name(FrameKind::Python));
        let interpreter = kind_name(FrameKind::Interpreter);
        self.stack.iter().filter(move |frame| !has_python || frame.kind != interpreter)
    }
}

impl FrameRow {
    fn of(frame: &Frame) -> Self {
        Self {
            function: frame.function().to_string(),
            kind: kind_name(frame.kind),
            module: frame.module.as_deref().map(str::to_owned),
            file: frame.file.as_deref().map(str::to_owned),
            line: frame.line,
            code: frame.source.as_ref().map(|source| source.text.trim().to_owned()),
            code_newer: frame.source.as_ref().is_some_and(|source| source.is_newer),
            inlined: frame.inlined,
        }
    }

    /// Where the function is: file and line, or the module.
    fn place(&self) -> String {
        let place = match (&self.file, self.line, &self.module) {
            (Some(file), Some(line), _) => format!("{file}:{line}"),
            (Some(file), None, _) => file.clone(),
            (None, _, Some(module)) => module.clone(),
            (None, _, None) => String::new(),
        };
        escape_untrusted(&place).into_owned()
    }
}

fn kind_name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Kernel => "kernel",
        FrameKind::Native => "native",
        FrameKind::Interpreter => "interpreter",
        FrameKind::Python => "python",
        FrameKind::Jvm => "jvm",
        FrameKind::Jit => "jit",
        FrameKind::Marker => "marker",
    }
}

impl Threads {
    /// A line for the process, and for each thread what it does and its stack, leaf first. Names are escaped.
    pub fn text(&self) -> String {
        let mut text = format!("{} (pid {})", escape_untrusted(&self.comm), self.pid);
        if let Some(path) = &self.executable {
            text += &format!(", {}", escape_untrusted(path));
        }
        text += &format!(": {}\n", counted(self.threads.len(), "thread"));
        for note in &self.notes {
            text += &format!("{}\n", escape_untrusted(note));
        }
        for thread in &self.threads {
            text.push('\n');
            thread.write_to(&mut text);
        }
        if self.threads.iter().any(|thread| thread.stack.iter().any(|frame| frame.code_newer)) {
            text += &format!("\n{NEWER_NOTE}");
        }
        text
    }
}

impl ThreadRow {
    fn write_to(&self, text: &mut String) {
        let cpu = self.cpu_ns.map_or_else(String::new, |ns| format!(", {} of CPU time", duration(ns)));
        let line = format!("\"{}\" tid {}: {}{cpu}", escape_untrusted(&self.name), self.tid, self.doing());
        writeln!(text, "{line}").expect("writing to a string succeeds");
        let width = self.shown().map(|frame| escape_untrusted(&frame.function).chars().count()).max();
        let width = width.unwrap_or_default().min(LONGEST_NAME);
        for frame in self.shown() {
            let (name, place) = (escape_untrusted(&frame.function), frame.place());
            let mark = if frame.code_newer { NEWER_MARK } else { "" };
            let code = frame.code.as_deref();
            let code = code.map_or_else(String::new, |code| format!("    {mark}{}", escape_untrusted(code)));
            let line = format!("    {name:<width$}  {place}{code}");
            writeln!(text, "{}", line.trim_end()).expect("writing to a string succeeds");
        }
        if let Some(reason) = &self.no_stack {
            writeln!(text, "    no stack: {}", escape_untrusted(reason)).expect("writing to a string succeeds");
        }
    }

    /// `waiting (lock/gil) in futex for mutex 0x…, for 3.2 s`
    fn doing(&self) -> String {
        let mut text = self.state.to_owned();
        if let Some(class) = self.detail.as_deref().or(self.class) {
            text += &format!(" ({class})");
        }
        if let Some(call) = &self.call {
            text += &format!(" in {call}");
        }
        if let Some(subject) = &self.waits_for {
            text += &format!(", for {}", escape_untrusted(subject));
        }
        let lasted = self.waited_ns.map(|ns| Lasted { ns, or_longer: self.waited_longer });
        if let Some(lasted) = lasted {
            text += &format!(", since {}{}", duration(lasted.ns), if lasted.or_longer { " or longer" } else { "" });
        }
        text
    }
}

/// Characters of a name to which the places behind all names are aligned.
const LONGEST_NAME: usize = 48;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{Name, SourceLine, Stack, WaitClass};

    fn frame(kind: FrameKind, name: &str, place: Option<(&str, u32)>) -> Arc<Frame> {
        let source = place.map(|_| Arc::new(SourceLine { text: "q.get()".into(), is_newer: true }));
        let (file, line) = (place.map(|(file, _)| file.into()), place.map(|(_, line)| line));
        let module = place.is_none().then(|| "libc.so.6".into());
        Arc::new(Frame { kind, name: Name::Known(name.into()), file, line, module, source, ..Frame::marker("") })
    }

    fn process() -> ProcessNow<Place> {
        let frames = vec![
            frame(FrameKind::Native, "sem_wait", None),
            frame(FrameKind::Interpreter, "_PyEval_EvalFrame", None),
            frame(FrameKind::Python, "get\u{1b}", Some(("/srv/a.py", 7))),
        ];
        let wait = WaitDetail { class: WaitClass::Sync, name: "idle worker", idle: true };
        let now = WaitNow {
            class: Some(WaitClass::Lock),
            call: Some("futex".into()),
            subject: Some("futex 0x10".into()),
            lasted: Some(Lasted { ns: 3_200_000_000, or_longer: true }),
        };
        let thread =
            |tid, name: &str, doing, stack| ThreadNow { tid, name: name.into(), doing, cpu_ns: Some(50), stack };
        ProcessNow {
            pid: 7,
            comm: "app".into(),
            executable: Some("/usr/bin/app".into()),
            selected: true,
            notes: vec!["no Python frames: PyPy is not supported".into()],
            threads: vec![
                thread(7, "main", Doing::Waiting(now), Ok(Stack::new(frames).with_wait(Some(wait)))),
                thread(8, "busy", Doing::Running, Err("it runs".into())),
            ],
        }
    }

    #[test]
    fn text_shows_what_each_thread_does_and_where() {
        let expected = "\
app (pid 7), /usr/bin/app: 2 threads
no Python frames: PyPy is not supported

\"main\" tid 7: waiting (sync/idle worker) in futex, for futex 0x10, since 3.20 s or longer, 50 ns of CPU time
    sem_wait   libc.so.6
    get\\u{1b}  /srv/a.py:7    * q.get()

\"busy\" tid 8: running, 50 ns of CPU time
    no stack: it runs

* The file was changed after the process had started; what ran may be another line.
";
        assert_eq!(threads(&process()).text(), expected);
    }

    #[test]
    fn json_has_every_frame_and_what_frames_tell_of_the_wait() {
        let json = serde_json::to_value(threads(&process())).unwrap();
        let thread = &json["threads"][0];
        assert_eq!((&thread["class"], &thread["detail"]), (&"sync".into(), &"sync/idle worker".into()));
        assert_eq!((&thread["idle"], &thread["waited_ns"]), (&true.into(), &3_200_000_000_u64.into()));
        let kinds: Vec<_> = thread["stack"].as_array().unwrap().iter().map(|frame| frame["kind"].clone()).collect();
        assert_eq!(kinds, ["native", "interpreter", "python"]);
        assert_eq!(json["threads"][1]["no_stack"], "it runs");
    }
}
