//! The virtual machines of all processes, and what the frames that were seen on their stacks stand for.
//!
//! Frames are read when a stack with a new one arrives, while the process lives; a window is named later, perhaps after its
//! end. What was read is kept per program image, under what the kernel half recorded of a frame.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use profiler_common::hotspot::HotSpot;

use super::code::{JavaMethod, Reader, Unnamed};
use super::detect::{Detected, Machine, detect};
use super::heaps::read_heaps;
use super::method::{Identity, Method};
use super::refusal::Refusal;
use crate::process::{Image, RecentMap, World};
use crate::profile::{ImageId, JavaCode, JavaFrame, Reason};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The virtual machines of all processes.
pub struct HotSpots {
    images: Mutex<RecentMap<ImageId, Arc<Attached>>>,
    /// What the frames of all processes take.
    bytes: Arc<AtomicUsize>,
}

/// What is known of one program image.
struct Attached {
    state: Mutex<State>,
    known: Mutex<Known>,
}

/// How far a virtual machine is.
#[derive(Debug, Clone)]
enum State {
    /// None is supported, as of this reading of the image's mappings.
    Without(u64, Option<Refusal>),
    /// Its library is being loaded.
    Loading,
    /// It has not made its heaps.
    Starting(Arc<Machine>),
    /// It has.
    Running(Arc<Machine>, HotSpot),
}

/// What was seen on the stacks of one program image.
struct Known {
    /// What those of all images take, and of it these.
    all_bytes: Arc<AtomicUsize>,
    bytes: usize,
    frames: HashMap<Key, Result<Arc<[JavaMethod]>, Unnamed>>,
    /// By their addresses.
    methods: HashMap<u64, Arc<Method>>,
    /// Names that several methods share: of files, and of code that is no method.
    names: HashSet<Arc<str>>,
    /// Whether frames were let go, or not read for want of time.
    is_incomplete: bool,
}

/// What tells frames apart: the instruction, which makes no difference where a method is interpreted, and what it is.
type Key = (u64, JavaCode, bool);

fn key_of(frame: &JavaFrame) -> Key {
    match frame.code {
        JavaCode::Interpreted { .. } => (0, frame.code, false),
        _ => (frame.pc, frame.code, frame.is_innermost()),
    }
}

impl fmt::Debug for HotSpots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotSpots").field("images", &lock(&self.images).len()).finish()
    }
}

impl Default for HotSpots {
    fn default() -> Self {
        Self { images: Mutex::new(RecentMap::new(limits::HOTSPOT_PROCESSES)), bytes: Arc::default() }
    }
}

impl HotSpots {
    /// Where the code heaps of an image's virtual machine are, for the kernel half; looked for now if the image was read anew, or
    /// if the machine had not started at the last look.
    pub fn hotspot(&self, image: &Image, world: &dyn World) -> Option<HotSpot> {
        match self.attach(image, world).look(image, world) {
            State::Running(_, hotspot) => Some(hotspot),
            _ => None,
        }
    }

    /// Which release an image runs, as the machine itself tells, or why it is not supported; none if it has no virtual machine.
    pub fn version(&self, image: &Image, world: &dyn World) -> Option<Result<Arc<str>, Refusal>> {
        match self.attach(image, world).look(image, world) {
            State::Without(_, refusal) => refusal.map(Err),
            State::Loading => None,
            State::Starting(machine) | State::Running(machine, _) => Some(Ok(machine.release.clone())),
        }
    }

    /// Reads what names the frames need, of those not seen before, as far as nobody has to be waited for. To be called while the
    /// process lives. Returns the frames that are to be read by who may wait.
    pub fn observe_present(&self, image: &Image, frames: &[JavaFrame], world: &dyn World) -> Vec<JavaFrame> {
        self.read_new(image, frames, &ProcessMemory::present(image.id.process.pid, world), world)
    }

    /// The same by who may wait. Returns the frames that could not be read.
    pub fn observe(&self, image: &Image, frames: &[JavaFrame], world: &dyn World) -> Vec<JavaFrame> {
        let until = Instant::now() + limits::HOTSPOT_READ_TIME;
        self.read_new(image, frames, &ProcessMemory::until(image.id.process.pid, until, world), world)
    }

    fn read_new(
        &self,
        image: &Image,
        frames: &[JavaFrame],
        memory: &ProcessMemory<'_>,
        world: &dyn World,
    ) -> Vec<JavaFrame> {
        if frames.is_empty() {
            return Vec::new();
        }
        let attached = self.attach(image, world);
        let new = attached.new_among(frames);
        if new.is_empty() {
            return new;
        }
        let State::Running(machine, hotspot) = attached.look(image, world) else { return Vec::new() };
        attached.read_all(new, &machine, &hotspot, memory)
    }

    /// The methods a frame stands for, innermost first (inlined ones before what they were inlined into), or why they are not
    /// known.
    pub fn resolve(&self, image: ImageId, frame: &JavaFrame) -> Result<Arc<[JavaMethod]>, Reason> {
        let attached = lock(&self.images).find(&image).cloned().ok_or(Reason::ProcessGone)?;
        lock(&attached.known).resolve(frame)
    }

    fn attach(&self, image: &Image, world: &dyn World) -> Arc<Attached> {
        if let Some(known) = lock(&self.images).find(&image.id) {
            return known.clone();
        }
        let state = Mutex::new(State::detect(image, world));
        let new = Arc::new(Attached { state, known: Mutex::new(Known::new(self.bytes.clone())) });
        lock(&self.images).insert(image.id, new.clone());
        new
    }
}

impl State {
    fn detect(image: &Image, world: &dyn World) -> Self {
        match detect(image.id.process.pid, &image.mappings, world) {
            None => Self::Without(image.revision, None),
            Some(Detected::Refused(refusal)) => Self::Without(image.revision, Some(refusal)),
            Some(Detected::Loading) => Self::Loading,
            Some(Detected::Machine(machine)) => Self::Starting(machine.into()).start(image, world),
        }
    }

    /// What it is now.
    fn look(&self, image: &Image, world: &dyn World) -> Self {
        match self {
            Self::Without(revision, _) if *revision == image.revision => self.clone(),
            Self::Without(..) | Self::Loading => Self::detect(image, world),
            Self::Starting(_) | Self::Running(..) => self.clone().start(image, world),
        }
    }

    fn start(self, image: &Image, world: &dyn World) -> Self {
        let Self::Starting(machine) = self else { return self };
        match read_heaps(&machine.layout, &ProcessMemory::new(image.id.process.pid, world)) {
            Some(hotspot) => Self::Running(machine, hotspot),
            None => Self::Starting(machine),
        }
    }
}

impl Attached {
    /// Nothing is locked while the process is read.
    fn look(&self, image: &Image, world: &dyn World) -> State {
        let known = lock(&self.state).clone();
        let now = known.look(image, world);
        let mut state = lock(&self.state);
        // Whoever looked with an older reading of the mappings knows less.
        if !matches!(*state, State::Running(..)) {
            state.clone_from(&now);
        }
        state.clone()
    }

    /// The frames that are not known.
    fn new_among(&self, frames: &[JavaFrame]) -> Vec<JavaFrame> {
        let known = lock(&self.known);
        frames.iter().copied().filter(|frame| !known.knows(frame)).collect()
    }

    /// Returns the frames that could not be read.
    fn read_all(
        &self,
        frames: Vec<JavaFrame>,
        machine: &Machine,
        hotspot: &HotSpot,
        memory: &ProcessMemory<'_>,
    ) -> Vec<JavaFrame> {
        let until = Instant::now() + limits::HOTSPOT_READ_TIME;
        let methods = |address| self.method(address, machine, memory);
        let reader = Reader { machine, hotspot, memory, methods: &methods };
        let mut unread = Vec::new();
        for frame in frames {
            if Instant::now() >= until {
                lock(&self.known).is_incomplete = true;
                break;
            }
            let read = reader.read(&frame).map(Arc::from);
            if read == Err(Unnamed::Unreadable) {
                unread.push(frame);
            }
            lock(&self.known).add(&frame, read);
        }
        unread
    }

    /// The method at an address: one that is known, if it is still that one.
    fn method(&self, address: u64, machine: &Machine, memory: &ProcessMemory<'_>) -> Result<Arc<Method>, Unnamed> {
        let known = lock(&self.known).methods.get(&address).cloned();
        if let Some(known) = known
            && Identity::read(address, &machine.layout, memory)? == known.identity
        {
            return Ok(known);
        }
        let method = Method::read(address, &machine.layout, memory)?;
        Ok(lock(&self.known).add_method(address, method))
    }
}

impl Known {
    fn new(all_bytes: Arc<AtomicUsize>) -> Self {
        let (frames, methods, names) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { all_bytes, bytes: 0, frames, methods, names, is_incomplete: false }
    }

    /// What could not be read is tried again with the next new stack, for there may have been no time, or it was not present;
    /// what has changed is not.
    fn knows(&self, frame: &JavaFrame) -> bool {
        !matches!(self.frames.get(&key_of(frame)), None | Some(Err(Unnamed::Unreadable)))
    }

    fn add(&mut self, frame: &JavaFrame, read: Result<Arc<[JavaMethod]>, Unnamed>) {
        let bytes = ENTRY_BYTES + read.as_ref().map_or(0, |methods| size_of_val::<[JavaMethod]>(methods));
        self.make_room(bytes);
        if let Some(replaced) = self.frames.insert(key_of(frame), read) {
            let bytes = ENTRY_BYTES + replaced.map_or(0, |methods| size_of_val::<[JavaMethod]>(&methods));
            self.give_back(bytes);
        }
    }

    fn add_method(&mut self, address: u64, method: Method) -> Arc<Method> {
        let file = method.file.clone().map(|file| self.share(file));
        let method = Arc::new(method.with_file(file));
        self.make_room(ENTRY_BYTES + method.bytes());
        if let Some(replaced) = self.methods.insert(address, method.clone()) {
            self.give_back(ENTRY_BYTES + replaced.bytes());
        }
        method
    }

    /// A name that may be known already.
    fn share(&mut self, name: Arc<str>) -> Arc<str> {
        if let Some(known) = self.names.get(&name) {
            return known.clone();
        }
        self.make_room(ENTRY_BYTES + name.len());
        self.names.insert(name.clone());
        name
    }

    fn make_room(&mut self, bytes: usize) {
        if self.all_bytes.load(Ordering::Relaxed) + bytes > limits::HOTSPOT_NAME_BYTES {
            self.clear();
        }
        self.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn clear(&mut self) {
        self.is_incomplete |= !self.frames.is_empty();
        self.frames.clear();
        self.methods.clear();
        self.names.clear();
        self.give_back(self.bytes);
    }

    fn resolve(&self, frame: &JavaFrame) -> Result<Arc<[JavaMethod]>, Reason> {
        match self.frames.get(&key_of(frame)) {
            Some(Ok(methods)) => Ok(methods.clone()),
            Some(Err(Unnamed::Changed)) => Err(Reason::CodeChanged),
            Some(Err(Unnamed::Unreadable)) => Err(Reason::CodeUnreadable),
            None if self.is_incomplete => Err(Reason::CodeLimit),
            None => Err(Reason::ProcessGone),
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What an entry takes besides what it holds.
const ENTRY_BYTES: usize = 96;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
