//! Raw stacks into a profile: every address becomes frames, or a frame that says why it has no name.
//!
//! In comes one window of counted stacks of addresses; out comes the same window in the vocabulary of [`crate::profile`].
//! Images, open files and perf maps come from [`Registry`] and [`Runtimes`]; this room reads symbols and keeps caches.
//! The library behind it is bound to one thread, so a [`Symbolizer`] lives on a thread of its own.

mod code_kind;
mod debuginfod;
mod demangle;
mod dwarf_check;
mod engine;
mod frames;
mod go_table;
mod kernel;
pub mod limits;
mod loop_frames;
mod mini_symbols;
mod module;
mod native;
mod separate;
mod source;
mod symbol_file;
mod tasks;
mod user;

pub use debuginfod::{Debuginfod, DownloadBounds};
pub use kernel::KERNEL_MODULE;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::aggregate::{RawLoop, RawSample, RawStack, RawState, RawWindow};
use crate::process::{Image, Registry, World, subject_name};
use crate::profile::{
    CodeKind, Frame, FrameKind, ImageId, LengthEstimate, LoopWaits, LossReason, NamedWaker, ProcessId, Profile, Reason,
    Sample, Stack, State, Subject, Task, ThreadId, WaitClass, WaitDetail, Waker,
};
use crate::runtime::{Runtimes, waits};
use code_kind::code_kind;
use engine::Engine;
use frames::Shared;
use kernel::KernelFrames;
use loop_frames::loop_frames;
use native::Native;
use source::Sources;
use tasks::TaskNames;
use user::UserFrames;

/// Names the addresses of stacks, and remembers names from window to window. Not `Send`.
#[derive(Debug)]
pub struct Symbolizer {
    engine: Engine,
    shared: Shared,
    kernel: KernelFrames,
    native: Native,
    sources: Option<Sources>,
    runtimes: Arc<Runtimes>,
}

/// What the caches of a [`Symbolizer`] hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolizerUsage {
    /// Executables whose symbols are in memory.
    pub executables: usize,
    /// The memory that takes, in bytes.
    pub symbol_bytes: u64,
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Symbolizer {
    /// A symbolizer that attaches to runtimes only when it names stacks; processes that ended before stay without.
    pub fn new() -> Self {
        Self::with_sources(Arc::default(), None)
    }

    /// A symbolizer that shares its runtimes with the thread that observes processes while they live, and that asks servers
    /// for debug information if it is given some.
    pub fn with_sources(runtimes: Arc<Runtimes>, debuginfod: Option<Debuginfod>) -> Self {
        Self {
            engine: Engine::new(),
            shared: Shared::new(),
            kernel: KernelFrames::new(),
            native: Native::new(debuginfod),
            sources: Some(Sources::new()),
            runtimes,
        }
    }

    /// The same symbolizer, which reads no source files unless `shown`.
    pub fn with_source_text(mut self, shown: bool) -> Self {
        self.sources = shown.then(Sources::new);
        self
    }

    /// Reads the kernel's symbols now, which takes a tenth of a second, and not when the first window is named.
    pub fn read_kernel_symbols(&mut self) {
        self.engine.resolve_kernel(0);
    }

    /// Names all stacks of a window. Images that `registry` does not know yet are not read now: their processes may be
    /// gone, or not the same any more.
    pub fn symbolize(&mut self, mut window: RawWindow, registry: &Registry, world: &dyn World) -> Profile {
        name_peers(&mut window, registry, world);
        self.native.forget_outdated(&mut self.engine);
        self.native.forget_unused(Instant::now(), &mut self.engine);
        let tasks = window.tasks.iter().filter(|task| task.kernel);
        let kernel_processes: HashSet<ProcessId> = tasks.map(|task| task.process).collect();
        let mut book = StackBook::default();
        let task_names = TaskNames::of_window(&window, &self.runtimes.python);
        let mut wakers: HashMap<Waker, Arc<NamedWaker>> = HashMap::new();
        let names: HashMap<ThreadId, &Task> = window.tasks.iter().map(|task| (task.thread, task.as_ref())).collect();
        for stack in &window.stacks {
            let is_kernel = kernel_processes.contains(&stack.image.process);
            let (mut frames, image) = self.resolve_stack(stack, is_kernel, &task_names, registry, world);
            if let Some(holder) = stack.lock_holder {
                frames.insert(0, self.lock_marker(stack.image, holder, &names));
            }
            let process = stack.image.process;
            let subject = stack.reason.subject.and_then(|of| subject_name(of, window.subjects.get(&(process, of))));
            let named = |waker: Waker| registry.wakers().name(waker);
            let waker =
                stack.reason.waker.map(|waker| wakers.entry(waker).or_insert_with(|| Arc::new(named(waker))).clone());
            book.add(frames, stack, image.as_deref(), (subject, waker));
        }
        for raw in &window.loops {
            self.name_places(raw, &mut book, &task_names, registry, world);
        }
        if let Some(sources) = &mut self.sources {
            sources.end_window();
        }
        book.into_profile(window)
    }

    /// Names the places where tasks await something, each on the stack of their loop.
    fn name_places(
        &mut self,
        raw: &RawLoop,
        book: &mut StackBook,
        task_names: &TaskNames,
        registry: &Registry,
        world: &dyn World,
    ) {
        let behind = raw.stack.map_or_else(Vec::new, |stack| loop_frames(book.frames(stack)));
        let mut awaits = Vec::with_capacity(raw.places.len());
        for (entries, ns) in &raw.places {
            let mut frames = Vec::with_capacity(entries.len() + behind.len());
            let mut user = self.user_frames(task_names, registry, world);
            user.resolve_tasks(raw.image, entries, &mut frames);
            if let (Some(sources), Some(image)) = (&mut self.sources, registry.image(raw.image)) {
                sources.annotate(&mut frames, &image, world, &mut self.shared);
            }
            frames.extend_from_slice(&behind);
            awaits.push((book.add_place(frames), *ns));
        }
        let RawLoop { task, detail, looks, empty_ns, .. } = *raw;
        book.add_loop(LoopWaits { task, detail, looks, empty_ns, awaits });
    }

    fn user_frames<'a>(
        &'a mut self,
        task_names: &'a TaskNames,
        registry: &'a Registry,
        world: &'a dyn World,
    ) -> UserFrames<'a> {
        UserFrames {
            registry,
            world,
            runtimes: &self.runtimes,
            native: &mut self.native,
            engine: &mut self.engine,
            shared: &mut self.shared,
            task_names,
            now: Instant::now(),
        }
    }

    /// Names stacks that belong to no window, under the same conditions, by what is known of their processes.
    pub fn name_stacks(
        &mut self,
        stacks: &[RawStack],
        (registry, runtimes): (&Registry, &Arc<Runtimes>),
        world: &dyn World,
    ) -> Vec<Stack> {
        let own = std::mem::replace(&mut self.runtimes, runtimes.clone());
        let task_names = TaskNames::of(stacks, &self.runtimes.python);
        let mut name = |stack: &RawStack| {
            let (frames, _) = self.resolve_stack(stack, false, &task_names, registry, world);
            let wait = wait_detail(&frames, stack);
            Stack::new(frames).with_wait(wait)
        };
        let named = stacks.iter().map(&mut name).collect();
        self.runtimes = own;
        if let Some(sources) = &mut self.sources {
            sources.end_window();
        }
        named
    }

    /// How much the caches hold now.
    pub fn usage(&self) -> SymbolizerUsage {
        let (executables, symbol_bytes) = self.native.usage();
        SymbolizerUsage { executables, symbol_bytes }
    }

    /// What a thread waited for that waited for the lock around the Python interpreter, and whom, if that is known.
    fn lock_marker(&mut self, image: ImageId, holder: u64, names: &HashMap<ThreadId, &Task>) -> Arc<Frame> {
        let thread = self.runtimes.python.thread(image, holder);
        let text = match thread.and_then(|thread| names.get(&thread)) {
            Some(task) => format!("[waits for the GIL, held by {} (tid {})]", task.thread_name, task.thread.tid),
            None => "[waits for the GIL]".to_owned(),
        };
        self.shared.frame(Frame::marker(text))
    }

    fn resolve_stack(
        &mut self,
        stack: &RawStack,
        is_kernel: bool,
        task_names: &TaskNames,
        registry: &Registry,
        world: &dyn World,
    ) -> (Vec<Arc<Frame>>, Option<Arc<Image>>) {
        let mut frames = Vec::with_capacity(stack.kernel.len() + stack.user.len());
        self.kernel.resolve(&stack.kernel, stack.on_cpu, &mut self.engine, &mut self.shared, &mut frames);
        if stack.user.is_empty() && stack.python.is_empty() && !is_kernel {
            frames.push(self.shared.unknown(FrameKind::Native, Reason::NoUserStack, None, 0));
        }
        let image = self.user_frames(task_names, registry, world).resolve(stack, &mut frames);
        if let (Some(sources), Some(image)) = (&mut self.sources, &image) {
            sources.annotate(&mut frames, image, world, &mut self.shared);
        }
        (frames, image)
    }
}

/// Whom or what a wait is for, and who ended it.
type Others = (Option<Arc<str>>, Option<Arc<NamedWaker>>);

/// Where the frames of a stack are, what its wait is as the stack will have it, and the others of it.
type StackKey = (*const Arc<Frame>, Option<WaitDetail>, Others);

/// The distinct stacks of a window, and what became of each raw one.
#[derive(Debug, Default)]
struct StackBook {
    stacks: Vec<Stack>,
    /// The frames of all stacks: waits for or ended by different others share them. Equal frames are mostly the same allocation;
    /// where they are not, the stack appears twice, which does no harm.
    frames: HashMap<Vec<*const Frame>, Arc<[Arc<Frame>]>>,
    known: HashMap<StackKey, u32>,
    entries: Vec<StackEntry>,
    loop_waits: Vec<LoopWaits>,
    /// Where they are, by task and what ended the waits.
    loops: HashMap<(u32, &'static str), usize>,
}

#[derive(Debug, Clone, Copy)]
struct StackEntry {
    stack: u32,
    code: CodeKind,
    process_gone: bool,
}

/// Names the other ends of connections that are processes of this host.
fn name_peers(window: &mut RawWindow, registry: &Registry, world: &dyn World) {
    let connections = window.stacks.iter().filter_map(|stack| match stack.reason.subject? {
        Subject::Address(address) => Some((stack.image.process, address)),
        _ => None,
    });
    let named = registry.peers().ask(&connections.collect(), world);
    let subjects = named.into_iter().map(|((process, address), name)| ((process, Subject::Address(address)), name));
    window.subjects.extend(subjects);
}

/// What a wait is. The kernel knows what it waited on, and what ended the wait of an event loop; between locks and conditions,
/// frames know better.
fn wait_detail(frames: &[Arc<Frame>], raw: &RawStack) -> Option<WaitDetail> {
    if raw.lock_holder.is_some() {
        return Some(waits::GIL);
    }
    let of_threads = |detail: &WaitDetail| matches!(detail.class, WaitClass::Lock | WaitClass::Sync);
    let told = raw.reason.detail;
    if told.is_some_and(|detail| !of_threads(&detail)) {
        return told;
    }
    waits::detail_of(frames, told).copied().or(told)
}

impl StackBook {
    fn add(&mut self, frames: Vec<Arc<Frame>>, raw: &RawStack, image: Option<&Image>, others: Others) {
        let code = code_kind(&frames, image);
        let wait = wait_detail(&frames, raw);
        let frames = self.share(frames);
        let key = (frames.as_ptr(), wait, others.clone());
        let stack = *self.known.entry(key).or_insert_with(|| {
            self.stacks.push(Stack::new(frames).with_wait(wait).with_subject(others.0).with_waker(others.1));
            (self.stacks.len() - 1) as u32
        });
        let process_gone = image.is_none() && !raw.user.is_empty();
        self.entries.push(StackEntry { stack, code, process_gone });
    }

    fn share(&mut self, frames: Vec<Arc<Frame>>) -> Arc<[Arc<Frame>]> {
        let addresses = frames.iter().map(Arc::as_ptr).collect();
        self.frames.entry(addresses).or_insert_with(|| frames.into()).clone()
    }

    /// The frames of a raw stack that was added.
    fn frames(&self, raw: u32) -> &[Arc<Frame>] {
        &self.stacks[self.entries[raw as usize].stack as usize].frames
    }

    /// Adds where a task awaits something. Returns the index of the stack.
    fn add_place(&mut self, frames: Vec<Arc<Frame>>) -> u32 {
        let frames = self.share(frames);
        let key = (frames.as_ptr(), None, (None, None));
        *self.known.entry(key).or_insert_with(|| {
            self.stacks.push(Stack::new(frames));
            (self.stacks.len() - 1) as u32
        })
    }

    /// Adds what looks found. A loop that executed another program goes on as the same.
    fn add_loop(&mut self, waits: LoopWaits) {
        let at = *self.loops.entry((waits.task, waits.detail)).or_insert(self.loop_waits.len());
        match self.loop_waits.get_mut(at) {
            Some(known) => {
                known.looks += waits.looks;
                known.empty_ns += waits.empty_ns;
                known.awaits.extend(waits.awaits);
            }
            None => self.loop_waits.push(waits),
        }
    }

    fn into_profile(self, window: RawWindow) -> Profile {
        let mut profile = Profile {
            range: window.range,
            tasks: window.tasks,
            stacks: self.stacks,
            samples: Vec::new(),
            totals: window.totals,
            wait_lengths: window.wait_lengths,
            loop_waits: self.loop_waits,
            cpu_period_ns: window.cpu_period_ns,
            wait_periods: window.wait_periods,
            loss: window.loss,
        };
        let mut known = HashMap::new();
        for raw in window.samples {
            let entry = self.entries[raw.stack as usize];
            if entry.process_gone {
                profile.loss.add(LossReason::ProcessGone, raw.count);
            }
            add_sample(&mut profile.samples, &mut known, raw, entry);
        }
        profile
    }
}

fn add_sample(
    samples: &mut Vec<Sample>,
    known: &mut HashMap<(u32, State, bool, u32), usize>,
    raw: RawSample,
    entry: StackEntry,
) {
    let state = state_of(raw.state, entry.code);
    let RawSample { task, idle, weight_ns, count, variance_ns2, lengths, .. } = raw;
    let at = *known.entry((task, state, idle, entry.stack)).or_insert(samples.len());
    match samples.get_mut(at) {
        Some(sample) => {
            sample.weight_ns += weight_ns;
            sample.count += count;
            sample.variance_ns2 += variance_ns2;
            LengthEstimate::merge(&mut sample.lengths, lengths.as_deref());
        }
        None => samples.push(Sample { task, state, idle, stack: entry.stack, weight_ns, count, variance_ns2, lengths }),
    }
}

fn state_of(state: RawState, code: CodeKind) -> State {
    match state {
        RawState::OnCpu => State::OnCpu(code),
        RawState::RunQueue => State::RunQueue,
        RawState::Throttled => State::Throttled,
        RawState::Wait(class) => State::Wait(class),
    }
}

#[cfg(test)]
mod programs;
#[cfg(test)]
mod tests;
