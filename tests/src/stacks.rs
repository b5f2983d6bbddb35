//! Stacks of threads as the daemon exports them: read from its pprof profile, which keeps threads, states, files and lines.

use std::collections::HashMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use profiler_daemon::export::pprof::proto;
use prost::Message;

use crate::Daemon;

/// A function on a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The source file; empty if it is not known.
    pub file: String,
    /// The line; 0 if it is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// All captures of one thread in one state on one stack.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The thread.
    pub tid: u32,
    /// Its name.
    pub thread: String,
    /// `cpu`, `runq`, `wait`, …
    pub state: String,
    /// How many captures; 0 where a marker stands for time without a stack.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
    /// Leaf first.
    pub frames: Vec<Place>,
    /// Of each frame, whether it is part of the next one's code.
    pub inlined: Vec<bool>,
}

impl Sample {
    /// The frames in Python that run, leaf first: those whose file is a script, or says that it is none. What awaits the task of
    /// asyncio that runs stands between the first task and the last, and is left out.
    pub fn python(&self) -> Vec<Place> {
        let is_python = |place: &&Place| place.file.ends_with(".py") || place.file.starts_with('<');
        let is_task = |place: &Place| place.function.starts_with("[task");
        let first = self.frames.iter().position(is_task).unwrap_or(self.frames.len());
        let last = self.frames.iter().rposition(is_task).unwrap_or(first);
        let running = self.frames[..first].iter().chain(&self.frames[last..]);
        running.filter(is_python).cloned().collect()
    }
}

/// Every sample of a process within the last hour, idle time included.
pub fn samples_of(daemon: &Daemon, pid: u32) -> Result<Vec<Sample>> {
    let path = format!("/api/v1/profile.pb.gz?last=1h&idle=show&pid={pid}");
    let response = daemon.get_text(&path)?;
    ensure!(response.status == 200, "GET {path} answered {}: {}", response.status, response.text());
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(response.body.as_slice()).read_to_end(&mut bytes)?;
    Reader::new(proto::Profile::decode(bytes.as_slice())?).samples()
}

struct Reader {
    profile: proto::Profile,
    /// The functions of each location, innermost first.
    places: HashMap<u64, Vec<Place>>,
}

impl Reader {
    fn new(profile: proto::Profile) -> Self {
        let functions: HashMap<_, _> = profile.function.iter().map(|function| (function.id, function)).collect();
        let text = |at: i64| profile.string_table.get(at as usize).cloned().unwrap_or_default();
        let place = |line: &proto::Line| {
            let function = functions.get(&line.function_id)?;
            Some(Place { file: text(function.filename), line: line.line as u32, function: text(function.name) })
        };
        let places = profile.location.iter().map(|one| (one.id, one.line.iter().filter_map(place).collect())).collect();
        Self { places, profile }
    }

    fn samples(&self) -> Result<Vec<Sample>> {
        self.profile.sample.iter().map(|sample| self.sample(sample)).collect()
    }

    fn sample(&self, sample: &proto::Sample) -> Result<Sample> {
        let value = |at: usize| sample.value.get(at).copied().unwrap_or_default() as u64;
        let tid = self.label(sample, "tid").context("a sample has no thread")?.num as u32;
        let state = self.text(self.label(sample, "state").context("a sample has no state")?.str).to_owned();
        let thread = self.label(sample, "thread").map_or("", |label| self.text(label.str)).to_owned();
        let locations: Vec<_> = sample.location_id.iter().filter_map(|id| self.places.get(id)).collect();
        let frames = locations.iter().copied().flatten().cloned().collect();
        let inlined = locations.iter().flat_map(|places| (1..=places.len()).map(|at| at < places.len())).collect();
        Ok(Sample { tid, thread, state, count: value(0), ns: value(4), frames, inlined })
    }

    fn label(&self, sample: &proto::Sample, key: &str) -> Option<proto::Label> {
        sample.label.iter().find(|label| self.text(label.key) == key).copied()
    }

    fn text(&self, at: i64) -> &str {
        self.profile.string_table.get(at as usize).map_or("", String::as_str)
    }
}
