//! pprof: the gzip-compressed protobuf that `go tool pprof`, Pyroscope, Parca and many others read.
//!
//! Every sample has five values: captures, and nanoseconds of computing, of waiting for a CPU, off the CPU for any other reason, and their
//! sum. The state, the wait reason, process and thread are labels. Inlined functions are lines of one location.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::label::stack_of;
use super::{ExportError, ExportOptions};
use crate::profile::{Frame, FrameKind, State, Task, Waker};
use crate::report::{Calibrated, Entry, escape_untrusted, title};

pub mod proto;

/// One of the values of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueKind {
    /// How many captures.
    Samples,
    /// Computing.
    #[default]
    Cpu,
    /// Waiting for a CPU.
    Runq,
    /// Off the CPU for any other reason: waits, quotas, the hypervisor.
    OffCpu,
    /// The sum of the three.
    Wall,
}

impl ValueKind {
    /// All values, in the order samples carry them.
    pub const ALL: [Self; 5] = [Self::Samples, Self::Cpu, Self::Runq, Self::OffCpu, Self::Wall];

    /// The name and the unit in the format.
    pub fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Samples => ("samples", "count"),
            Self::Cpu => ("cpu", "nanoseconds"),
            Self::Runq => ("runq", "nanoseconds"),
            Self::OffCpu => ("off_cpu", "nanoseconds"),
            Self::Wall => ("wall", "nanoseconds"),
        }
    }

    fn of(self, entry: &Entry) -> i64 {
        let counts = match self {
            Self::Samples => return entry.count as i64,
            Self::Cpu => matches!(entry.state, State::OnCpu(_)),
            Self::Runq => entry.state == State::RunQueue,
            Self::OffCpu => !matches!(entry.state, State::OnCpu(_) | State::RunQueue),
            Self::Wall => true,
        };
        if counts { entry.ns as i64 } else { 0 }
    }
}

/// Writes a profile, compressed. The same profile always gives the same bytes.
pub fn write_pprof(
    calibrated: &Calibrated<'_>,
    options: &ExportOptions,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let profile = Builder::new(calibrated).build(options);
    let mut gzip = GzEncoder::new(out, Compression::default());
    io::Write::write_all(&mut gzip, &profile.encode_to_vec())?;
    gzip.finish()?;
    Ok(())
}

/// Gives each distinct value an id from 1 on and remembers it.
struct Interner<K>(HashMap<K, u64>);

impl<K: Eq + Hash> Interner<K> {
    /// The id of `key`, and whether it is new.
    fn id(&mut self, key: K) -> (u64, bool) {
        let next = self.0.len() as u64 + 1;
        let id = *self.0.entry(key).or_insert(next);
        (id, id == next)
    }
}

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// What makes two locations one: the module, the address, and the functions and lines.
type LocationKey = (u64, u64, Vec<(u64, i64)>);

struct Builder<'a> {
    calibrated: &'a Calibrated<'a>,
    profile: proto::Profile,
    strings: HashMap<Arc<str>, i64>,
    mappings: Interner<Arc<str>>,
    functions: Interner<(i64, i64)>,
    locations: Interner<LocationKey>,
    stacks: HashMap<u32, Vec<u64>>,
}

impl<'a> Builder<'a> {
    fn new(calibrated: &'a Calibrated<'a>) -> Self {
        let mut builder = Self {
            calibrated,
            profile: proto::Profile::default(),
            strings: HashMap::new(),
            mappings: Interner::default(),
            functions: Interner::default(),
            locations: Interner::default(),
            stacks: HashMap::new(),
        };
        builder.string("");
        builder
    }

    fn build(mut self, options: &ExportOptions) -> proto::Profile {
        self.header(options);
        for entry in &self.calibrated.entries {
            let sample = self.sample(entry);
            self.profile.sample.push(sample);
        }
        self.profile
    }

    fn header(&mut self, options: &ExportOptions) {
        for kind in ValueKind::ALL {
            let value_type = self.value_type(kind);
            self.profile.sample_type.push(value_type);
        }
        let source = self.calibrated.profile;
        self.profile.period_type = Some(self.value_type(ValueKind::Cpu));
        self.profile.period = source.cpu_period_ns as i64;
        self.profile.time_nanos = source.range.from.0 as i64;
        self.profile.duration_nanos = source.range.duration_ns() as i64;
        self.profile.default_sample_type = self.string(options.default_value.name_and_unit().0);
        let title = self.string(&title(self.calibrated));
        self.profile.comment.push(title);
    }

    fn value_type(&mut self, kind: ValueKind) -> proto::ValueType {
        let (name, unit) = kind.name_and_unit();
        proto::ValueType { r#type: self.string(name), unit: self.string(unit) }
    }

    /// The index of a text. Readers print texts as they are, so what could steer a terminal is spelled out here.
    fn string(&mut self, text: &str) -> i64 {
        let text = &*escape_untrusted(text);
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let at = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.into(), at);
        at
    }

    fn sample(&mut self, entry: &Entry) -> proto::Sample {
        let task = self.calibrated.profile.tasks[entry.task as usize].clone();
        proto::Sample {
            location_id: self.locations_of(entry),
            value: ValueKind::ALL.iter().map(|kind| kind.of(entry)).collect(),
            label: self.labels(&task, entry),
        }
    }

    fn labels(&mut self, task: &Task, entry: &Entry) -> Vec<proto::Label> {
        let mut labels = vec![
            self.text_label("process", &task.process_name),
            self.number_label("pid", task.process.pid),
            self.text_label("thread", &task.thread_name),
            self.number_label("tid", task.thread.tid),
        ];
        let (state, detail) = match entry.state {
            State::OnCpu(kind) => ("cpu", entry.stack.map(|_| ("code", kind.name()))),
            State::Wait(class) => ("wait", Some(("wait", class.name()))),
            state => (state.name(), None),
        };
        labels.push(self.text_label("state", state));
        labels.extend(detail.map(|(key, value)| self.text_label(key, value)));
        let stack = entry.stack.map(|stack| &self.calibrated.profile.stacks[stack as usize]);
        let waker = stack.and_then(|stack| stack.waker.clone()).filter(|_| matches!(entry.state, State::Wait(_)));
        if let Some(named) = waker {
            labels.push(self.text_label("waker", &named.label(entry.state)));
            if let Waker::Thread { pid, .. } = named.waker {
                labels.push(self.number_label("waker_pid", pid));
            }
        }
        labels.extend(entry.idle.then(|| self.text_label("idle", "true")));
        labels.extend(entry.awaits.map(|_| self.text_label("attributed", "true")));
        labels
    }

    fn text_label(&mut self, key: &str, text: &str) -> proto::Label {
        proto::Label { key: self.string(key), str: self.string(text), ..proto::Label::default() }
    }

    fn number_label(&mut self, key: &str, number: u32) -> proto::Label {
        proto::Label { key: self.string(key), num: i64::from(number), ..proto::Label::default() }
    }

    /// The locations of a stack, leaf first; worked out once per stack.
    fn locations_of(&mut self, entry: &Entry) -> Vec<u64> {
        if let Some(known) = entry.place().and_then(|stack| self.stacks.get(&stack)) {
            return known.clone();
        }
        let stack = stack_of(self.calibrated, entry);
        let frames: Vec<&Frame> = stack.leaf_first().collect();
        let physical = frames.chunk_by(|inner, _| inner.inlined);
        let locations: Vec<u64> = physical.map(|frames| self.location(frames)).collect();
        if let Some(stack) = entry.place() {
            self.stacks.insert(stack, locations.clone());
        }
        locations
    }

    /// The location of a physical frame and the functions inlined into it, innermost first.
    fn location(&mut self, frames: &[&Frame]) -> u64 {
        let lines: Vec<(u64, i64)> = frames.iter().map(|frame| self.line(frame)).collect();
        let frame = frames.last().expect("a chunk has at least one frame");
        let mapping_id = self.mapping(frame);
        let (id, new) = self.locations.id((mapping_id, frame.address, lines.clone()));
        if new {
            let line = lines.into_iter().map(|(function_id, line)| proto::Line { function_id, line }).collect();
            self.profile.location.push(proto::Location { id, mapping_id, address: frame.address, line });
        }
        id
    }

    fn line(&mut self, frame: &Frame) -> (u64, i64) {
        let name = self.string(&frame.function());
        let filename = self.string(frame.file.as_deref().unwrap_or_default());
        let (id, new) = self.functions.id((name, filename));
        if new {
            self.profile.function.push(proto::Function { id, name, system_name: name, filename });
        }
        (id, i64::from(frame.line.unwrap_or_default()))
    }

    /// The mapping of a frame's module, by name; 0 for markers. Addresses of mappings are not kept, and symbols are complete.
    fn mapping(&mut self, frame: &Frame) -> u64 {
        let module: Arc<str> = match (&frame.module, frame.kind) {
            (_, FrameKind::Marker) => return 0,
            (Some(module), _) => module.clone(),
            (None, FrameKind::Kernel) => "[kernel]".into(),
            (None, _) => "[generated code]".into(),
        };
        let (id, new) = self.mappings.id(module.clone());
        if new {
            let filename = self.string(&module);
            self.profile.mapping.push(proto::Mapping::symbolized(id, filename));
        }
        id
    }
}
