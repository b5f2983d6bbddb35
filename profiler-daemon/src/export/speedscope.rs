//! speedscope's JSON: shared frames, and one sampled profile per thread, in nanoseconds.
//!
//! Schema: <https://www.speedscope.app/file-format-schema.json>. Samples have no order in time: they are sums over the window.

use std::collections::{BTreeMap, HashMap};
use std::io;

use serde::Serialize;

use super::label::{frame_label, stack_of, state_frame};
use super::{ExportError, ExportOptions};
use crate::profile::{Frame, ProcessId, ThreadId};
use crate::report::{Calibrated, title};

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    name: &'a str,
    shared: Shared,
    profiles: Vec<Sampled>,
}

#[derive(Serialize, Default)]
struct Shared {
    frames: Vec<SharedFrame>,
}

#[derive(Serialize, Clone, PartialEq, Eq, Hash)]
struct SharedFrame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

/// Writes one JSON document.
pub fn write_speedscope(
    calibrated: &Calibrated<'_>,
    options: &ExportOptions,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let mut frames = FrameTable::default();
    let profiles = sampled_profiles(calibrated, options, &mut frames);
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        exporter: concat!("profilerd ", env!("CARGO_PKG_VERSION")),
        name: &title(calibrated),
        shared: frames.shared,
        profiles,
    };
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer(&mut out, &file)?;
    Ok(io::Write::flush(&mut out)?)
}

/// The threads in order, or an empty profile if there are none: viewers refuse a file without profiles.
fn sampled_profiles(calibrated: &Calibrated<'_>, options: &ExportOptions, frames: &mut FrameTable) -> Vec<Sampled> {
    let mut threads: BTreeMap<(ProcessId, ThreadId), Sampled> = BTreeMap::new();
    for entry in &calibrated.entries {
        let task = &calibrated.profile.tasks[entry.task as usize];
        let name = || format!("{}/{} ({})", task.process_name, task.thread_name, task.thread.tid);
        let thread = threads.entry((task.process, task.thread)).or_insert_with(|| Sampled::new(name()));
        let stack = stack_of(calibrated, entry);
        let mut sample: Vec<usize> = stack.leaf_first().rev().map(|frame| frames.frame(frame, options)).collect();
        sample.extend(state_frame(entry).map(|name| frames.index(SharedFrame { name, file: None, line: None })));
        thread.add(sample, entry.ns);
    }
    if threads.is_empty() { vec![Sampled::new("no threads".to_owned())] } else { threads.into_values().collect() }
}

impl Sampled {
    fn new(name: String) -> Self {
        let (samples, weights) = (Vec::new(), Vec::new());
        Self { kind: "sampled", name, unit: "nanoseconds", start_value: 0, end_value: 0, samples, weights }
    }

    fn add(&mut self, sample: Vec<usize>, ns: u64) {
        self.samples.push(sample);
        self.weights.push(ns);
        self.end_value += ns;
    }
}

/// The shared frames and where each stands.
#[derive(Default)]
struct FrameTable {
    shared: Shared,
    known: HashMap<SharedFrame, usize>,
}

impl FrameTable {
    /// The index of a frame. Lines make frames of their own only if asked for, else recursion would not collapse.
    fn frame(&mut self, frame: &Frame, options: &ExportOptions) -> usize {
        let file = frame.file.as_ref().or(frame.module.as_ref()).map(ToString::to_string);
        let line = frame.line.filter(|line| options.lines && *line > 0);
        let plain = ExportOptions { lines: false, ..options.clone() };
        self.index(SharedFrame { name: frame_label(frame, &plain), file, line })
    }

    fn index(&mut self, frame: SharedFrame) -> usize {
        let frames = &mut self.shared.frames;
        *self.known.entry(frame).or_insert_with_key(|frame| {
            frames.push(frame.clone());
            frames.len() - 1
        })
    }
}
