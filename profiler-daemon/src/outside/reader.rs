//! Reads the stacks of sleeping threads, process by process.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use profiler_common::hotspot::HotSpot;
use profiler_common::python::NEXT_STATE;

use super::tables::Tables;
use super::walk::{Walked, walk};
use crate::aggregate::RawStack;
use crate::process::elf::u32_at;
use crate::process::thread::{Asleep, NotAsleep};
use crate::process::{Image, Registry, World};
use crate::profile::{Ending, ImageId, PythonEnding, PythonFrame, WaitReason};
use crate::runtime::Runtimes;
use crate::runtime::python::threads::ThreadFrames;
use crate::unwind::TableCache;
use crate::wire::{WaitInProgress, decode_python_ending, place_frames};

/// What is known of processes.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Their images.
    pub registry: &'a Registry,
    /// Their language runtimes.
    pub runtimes: &'a Runtimes,
    /// Themselves.
    pub world: &'a dyn World,
}

/// A thread whose stack is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// Its tid.
    pub tid: u32,
    /// Its tid as the process itself sees it.
    pub namespace_tid: u32,
    /// What the kernel half tells of it, if it is selected.
    pub told: Option<Told>,
}

/// What `/proc` does not tell of a thread that sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its thread pointer, by which its Python frames are known.
    pub thread_pointer: u64,
    /// The first two kept registers.
    pub kept: [u64; 2],
}

impl From<&WaitInProgress> for Told {
    fn from(wait: &WaitInProgress) -> Self {
        Self { thread_pointer: wait.thread_pointer, kept: wait.kept }
    }
}

/// A thread that sleeps.
#[derive(Debug, Clone)]
pub struct Sleeper {
    /// In which call.
    pub asleep: Asleep,
    /// Where.
    pub stack: RawStack,
}

/// Reads stacks, and keeps the tables that takes.
pub struct Reader {
    tables: Tables,
}

impl Reader {
    /// Tables are kept in `cache` from run to run.
    pub fn new(cache: Arc<TableCache>) -> Self {
        Self { tables: Tables::new(cache) }
    }

    /// Where threads of an image sleep, in their order; `None` for those there is no time for, and all if the image is gone.
    pub fn read(
        &mut self,
        id: ImageId,
        threads: &[Sought],
        until: Instant,
        host: Host<'_>,
    ) -> Vec<Option<Result<Sleeper, NotAsleep>>> {
        let Some(image) = host.registry.observe(id, host.world) else { return vec![None; threads.len()] };
        self.tables.begin_process();
        host.runtimes.observe(&image, Instant::now(), host.world);
        let pid = id.process.pid;
        let asleep: Vec<_> = threads.iter().map(|thread| Asleep::read(pid, thread.tid, host.world)).collect();
        let python = asleep.iter().any(Result::is_ok).then(|| read_python(&image, threads, until, host)).flatten();
        let hotspot = host.runtimes.java.hotspot(&image, host.world);
        let mut image = image;
        let mut read_one = |(thread, asleep): (&Sought, Result<Asleep, NotAsleep>)| {
            let asleep = match asleep {
                Ok(_) if Instant::now() >= until => return None,
                Ok(asleep) => asleep,
                Err(reason) => return Some(Err(reason)),
            };
            let walked = self.walk(thread, &asleep, (&mut image, hotspot.as_ref()), host);
            let part = PythonPart::of(thread, python.as_deref(), &image, host.world);
            let code_ns = host.registry.code_ns(id);
            let stack = RawStack { code_ns, ..part.merge(&walked, &image) };
            let is_whole = asleep.is_unchanged(pid, thread.tid, host.world);
            host.runtimes.python.observe(&image, &stack.python, host.world);
            host.runtimes.java.observe(&image, &stack.java, host.world);
            Some(if is_whole { Ok(Sleeper { asleep, stack }) } else { Err(NotAsleep::WentOn) })
        };
        threads.iter().zip(asleep).map(&mut read_one).collect()
    }

    /// A library that was loaded since the image was read makes it be read again.
    fn walk(
        &mut self,
        thread: &Sought,
        asleep: &Asleep,
        (image, hotspot): (&mut Arc<Image>, Option<&HotSpot>),
        host: Host<'_>,
    ) -> Walked {
        let kept = thread.told.map(|told| told.kept);
        let walked = walk((asleep, kept), (image, hotspot), &mut self.tables, host.world);
        if walked.as_user_stack().ending != Ending::Unmapped {
            return walked;
        }
        match host.registry.refresh(image.id, Instant::now(), host.world) {
            Some(newer) if newer.revision != image.revision => {
                *image = newer;
                walk((asleep, kept), (image, hotspot), &mut self.tables, host.world)
            }
            _ => walked,
        }
    }
}

fn read_python(image: &Image, threads: &[Sought], until: Instant, host: Host<'_>) -> Option<Vec<ThreadFrames>> {
    let pointers: Option<HashSet<u64>> = threads.iter().map(|thread| Some(thread.told?.thread_pointer)).collect();
    host.runtimes.python.read_threads(image, pointers.as_ref(), until, host.world)
}

/// The Python part of one stack.
struct PythonPart {
    entries: Vec<u64>,
    ending: PythonEnding,
}

impl PythonPart {
    /// The frames of a thread's states, each behind the other; `all` is none if there is no interpreter.
    fn of(thread: &Sought, all: Option<&[ThreadFrames]>, image: &Image, world: &dyn World) -> Self {
        let Some(all) = all else { return Self { entries: Vec::new(), ending: PythonEnding::NoInterpreter } };
        let mut part = Self { entries: Vec::new(), ending: PythonEnding::NoState };
        for frames in all.iter().filter(|frames| is_of(frames, thread, image, world)) {
            if !part.entries.is_empty() {
                part.entries.extend(NEXT_STATE);
            }
            part.entries.extend(frames.entries.iter().flatten());
            if matches!(part.ending, PythonEnding::NoState | PythonEnding::Complete) {
                part.ending = decode_python_ending(frames.stop);
            }
        }
        part
    }

    /// The stack, with these frames in the places of the native frames that ran them.
    fn merge(&self, walked: &Walked, image: &Image) -> RawStack {
        let user = walked.as_user_stack();
        let mut python: Vec<PythonFrame> = Vec::new();
        place_frames(&self.entries, &user, &mut python);
        RawStack {
            image: image.id,
            on_cpu: false,
            kernel: Arc::default(),
            user: user.addresses.into(),
            has_gap: user.has_gap,
            ending: user.ending,
            java: walked.java().into(),
            python: python.into(),
            python_ending: self.ending,
            tasks: Arc::default(),
            task_frames: 0,
            lock_holder: None,
            collecting: false,
            code_ns: 0,
            reason: WaitReason::default(),
        }
    }
}

/// Whether frames are those of a thread.
fn is_of(frames: &ThreadFrames, thread: &Sought, image: &Image, world: &dyn World) -> bool {
    match (thread.told, frames.native_id) {
        (Some(told), _) => frames.thread_pointer == told.thread_pointer,
        (None, Some(native_id)) => native_id == thread.namespace_tid,
        (None, None) => read_tid(frames.thread_pointer, image, world) == Some(thread.namespace_tid),
    }
}

/// The tid that glibc keeps of a thread: at this offset from the thread pointer, in every version for x86_64.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=nptl/descr.h;hb=glibc-2.36#l170>
fn read_tid(thread_pointer: u64, image: &Image, world: &dyn World) -> Option<u32> {
    const TID: u64 = 0x2d0;
    let mut bytes = [0; 4];
    world.read_memory(image.id.process.pid, thread_pointer.wrapping_add(TID), &mut bytes).ok()?;
    cfg!(target_arch = "x86_64").then(|| u32_at(&bytes, 0))
}
