//! The interpreters of all processes, and the code objects that were seen on their stacks.
//!
//! Code objects are read when a stack with a new one arrives, while the process lives; a window is named later, perhaps
//! after its end. What was read is kept per program image, under the address and the fingerprint the kernel half saw.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::{ASYNCIO, Interpreter};

use super::asyncio;
use super::code::{CallSite, CodeObject, Unnamed};
use super::detect::{Python, detect};
use super::pending::{PendingTasks, TaskLists, Unread, read_pending};
use super::refusal::Refusal;
use super::text;
use super::threads::{ThreadFrames, read_wanted};
use super::version::Version;
use crate::process::{Image, MappedInode, RecentMap, World};
use crate::profile::{AsyncEntry, AsyncName, ImageId, PythonFrame, Reason, ThreadId};
use crate::runtime::limits;
use crate::runtime::memory::ProcessMemory;

/// The interpreters of all processes.
pub struct Pythons {
    images: Mutex<RecentMap<ImageId, Arc<Attached>>>,
    /// What the code objects of all processes take.
    bytes: Arc<AtomicUsize>,
}

/// A Python function, at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonFunction {
    /// The qualified name, or before 3.11 the name alone. Untrusted text.
    pub name: Arc<str>,
    /// The source file as the code object names it. Untrusted text.
    pub file: Arc<str>,
    /// The line that was executing.
    pub line: Option<u32>,
    /// Whether the instruction is a call.
    pub calling: bool,
}

/// What is known of one program image.
struct Attached {
    /// The reading of the image's mappings that was looked at.
    revision: u64,
    /// The interpreter, or why it is not supported; none if there is none.
    found: Option<Result<Python, Refusal>>,
    /// The name of the file that has the interpreter.
    module: Option<Arc<str>>,
    functions: Mutex<Functions>,
    /// Threads by their state in the interpreter.
    threads: Mutex<HashMap<u64, ThreadId>>,
    /// The interpreter's file.
    file: Option<MappedInode>,
    /// Where asyncio keeps its tasks, and which reading of the image was looked at for it.
    asyncio: Mutex<(Option<u64>, Option<TaskLists>)>,
}

/// What was seen on the stacks of one program image.
struct Functions {
    /// What those of all images take, and of it these.
    all_bytes: Arc<AtomicUsize>,
    bytes: usize,
    /// By address and fingerprint.
    known: HashMap<(u64, u64), Result<Function, Unnamed>>,
    /// Whether the instructions of innermost frames are calls, by code and instruction.
    calls: HashMap<(u64, u64), bool>,
    /// Names of tasks that the kernel half does not record whole; none where several were met that look the same to it.
    names: HashMap<AsyncName, Option<String>>,
    /// Whether code objects were let go, or not read for want of time.
    is_incomplete: bool,
}

/// A code object, and its texts as frames share them.
struct Function {
    code: CodeObject,
    name: Arc<str>,
    file: Arc<str>,
}

impl From<CodeObject> for Function {
    fn from(code: CodeObject) -> Self {
        Self { name: code.qualified_name.as_str().into(), file: code.file.as_str().into(), code }
    }
}

impl fmt::Debug for Pythons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pythons").field("images", &lock(&self.images).len()).finish()
    }
}

impl Default for Pythons {
    fn default() -> Self {
        Self { images: Mutex::new(RecentMap::new(limits::PYTHON_PROCESSES)), bytes: Arc::default() }
    }
}

impl Pythons {
    /// Where the interpreter of an image is, for the kernel half; looked for now if the image was read anew.
    pub fn interpreter(&self, image: &Image, world: &dyn World) -> Option<Interpreter> {
        let interpreter = self.attach(image, world).python()?.interpreter;
        let flags = if self.asyncio(image, world).is_some() { ASYNCIO } else { 0 };
        Some(Interpreter { flags: interpreter.flags | flags, ..interpreter })
    }

    /// Where asyncio keeps its tasks in an image, if it has loaded asyncio and that publishes it.
    pub fn asyncio(&self, image: &Image, world: &dyn World) -> Option<Asyncio> {
        self.task_lists(image, world).map(|lists| lists.tasks)
    }

    /// The suspended tasks of the thread with this state, until there is no more time; `None` if nothing is published of them.
    pub fn read_pending(
        &self,
        image: &Image,
        state: u64,
        (until, seed): (Instant, usize),
        world: &dyn World,
    ) -> Option<Result<PendingTasks, Unread>> {
        let lists = self.task_lists(image, world)?;
        let attached = self.attach(image, world);
        let memory = ProcessMemory::until(image.id.process.pid, until, world);
        Some(read_pending(state, &lists, &attached.python()?.interpreter, &memory, (until, seed)))
    }

    fn task_lists(&self, image: &Image, world: &dyn World) -> Option<TaskLists> {
        let attached = self.attach(image, world);
        let mut known = lock(&attached.asyncio);
        if known.1.is_none() && known.0 != Some(image.revision) {
            *known = (Some(image.revision), asyncio::detect(image, attached.file?, attached.python()?));
        }
        known.1
    }

    /// Which version an image runs, or why it is not supported; none if it has no interpreter.
    pub fn version(&self, image: &Image, world: &dyn World) -> Option<Result<Version, Refusal>> {
        Some(self.attach(image, world).found?.map(|python| python.layout.version))
    }

    /// Reads the code objects of frames that were not seen before. To be called while the process lives, by who may wait for it.
    pub fn observe(&self, image: &Image, frames: &[PythonFrame], world: &dyn World) {
        let until = Instant::now() + limits::PYTHON_READ_TIME;
        let memory = ProcessMemory::until(image.id.process.pid, until, world);
        self.read_new(image, frames.iter().copied().map(AsyncEntry::Frame), &memory, until, world);
    }

    /// The same of where a task awaits something, and what the kernel half does not record of tasks, until there is no more time.
    pub fn observe_place(&self, image: &Image, entries: &[AsyncEntry], until: Instant, world: &dyn World) {
        let memory = ProcessMemory::until(image.id.process.pid, until, world);
        self.read_new(image, entries.iter().copied(), &memory, until, world);
    }

    /// The same of a stack, as far as nobody has to be waited for. Returns what is to be read by who may wait.
    pub fn observe_present(
        &self,
        image: &Image,
        (frames, tasks): (&[PythonFrame], &[AsyncEntry]),
        world: &dyn World,
    ) -> Vec<AsyncEntry> {
        let memory = ProcessMemory::present(image.id.process.pid, world);
        let until = || Instant::now() + limits::PYTHON_READ_TIME;
        let frames = frames.iter().copied().map(AsyncEntry::Frame);
        let mut absent = self.read_new(image, frames, &memory, until(), world);
        absent.extend(self.read_new(image, tasks.iter().copied(), &memory, until(), world));
        absent
    }

    /// Returns what could not be read. Whoever asks what is known waits for no memory: nothing is locked while it is read.
    fn read_new(
        &self,
        image: &Image,
        entries: impl ExactSizeIterator<Item = AsyncEntry>,
        memory: &ProcessMemory<'_>,
        until: Instant,
        world: &dyn World,
    ) -> Vec<AsyncEntry> {
        let mut unread = Vec::new();
        if entries.len() == 0 {
            return unread;
        }
        let attached = self.attach(image, world);
        let Some(python) = attached.python() else { return unread };
        for (at, entry) in entries.enumerate() {
            if Instant::now() >= until {
                lock(&attached.functions).is_incomplete = true;
                break;
            }
            let is_read = match &entry {
                AsyncEntry::Frame(frame) => {
                    attached.read_frame(frame, python, memory) && (at > 0 || attached.read_call(frame, memory))
                }
                AsyncEntry::Task(task) => attached.read_name(&task.name, python, memory),
                AsyncEntry::Cut => true,
            };
            if !is_read {
                unread.push(entry);
            }
        }
        unread
    }

    /// The name of a task; `None` if it is not known. Untrusted text.
    pub fn task_name(&self, image: ImageId, name: &AsyncName) -> Option<String> {
        name.text().or_else(|| {
            let attached = lock(&self.images).find(&image).cloned()?;
            lock(&attached.functions).names.get(name).cloned().flatten().or_else(|| name.beginning())
        })
    }

    /// The Python part of the stacks of threads, told by their thread pointers, or of all threads, read from outside until
    /// there is no more time. `None` if no interpreter is known.
    pub fn read_threads(
        &self,
        image: &Image,
        wanted: Option<&HashSet<u64>>,
        until: Instant,
        world: &dyn World,
    ) -> Option<Vec<ThreadFrames>> {
        let attached = self.attach(image, world);
        let memory = ProcessMemory::until(image.id.process.pid, until, world);
        Some(read_wanted(wanted, attached.python()?, &memory, until))
    }

    /// Remembers which thread has a state in the interpreter of an image that was observed.
    pub fn note_thread(&self, image: ImageId, state: u64, thread: ThreadId) {
        let Some(attached) = lock(&self.images).find(&image).cloned() else { return };
        let mut threads = lock(&attached.threads);
        if threads.len() >= limits::PYTHON_THREADS && !threads.contains_key(&state) {
            threads.clear();
        }
        threads.insert(state, thread);
    }

    /// The thread of a state that was seen last.
    pub fn thread(&self, image: ImageId, state: u64) -> Option<ThreadId> {
        let attached = lock(&self.images).find(&image).cloned()?;
        lock(&attached.threads).get(&state).copied()
    }

    /// The module that holds the interpreter of an image that was observed.
    pub fn module(&self, image: ImageId) -> Option<Arc<str>> {
        lock(&self.images).find(&image)?.module.clone()
    }

    /// The function of a frame that was observed, or why it is not known.
    pub fn resolve(&self, image: ImageId, frame: &PythonFrame) -> Result<PythonFunction, Reason> {
        let attached = lock(&self.images).find(&image).cloned().ok_or(Reason::ProcessGone)?;
        lock(&attached.functions).resolve(frame)
    }

    /// What is known of an image; if its mappings were read anew, it is looked at again.
    fn attach(&self, image: &Image, world: &dyn World) -> Arc<Attached> {
        let known = lock(&self.images).find(&image.id).cloned();
        if let Some(known) = known.filter(|known| known.python().is_some() || known.revision == image.revision) {
            return known;
        }
        let new = Arc::new(Attached::look_at(image, Functions::new(self.bytes.clone()), world));
        lock(&self.images).insert(image.id, new.clone());
        new
    }
}

impl Attached {
    /// Of several interpreters in one process the first that is supported counts.
    fn look_at(image: &Image, functions: Functions, world: &dyn World) -> Self {
        let mut detected = detect(image.id.process.pid, &image.mappings, world);
        detected.sort_by_key(|detected| detected.found.is_err());
        let first = detected.into_iter().next();
        let file = first.as_ref().map(|detected| detected.mapping.inode);
        let module = first.as_ref().map(|detected| detected.mapping.file_name().into());
        Self {
            revision: image.revision,
            found: first.map(|detected| detected.found),
            module,
            functions: Mutex::new(functions),
            threads: Mutex::default(),
            file,
            asyncio: Mutex::default(),
        }
    }

    fn python(&self) -> Option<&Python> {
        self.found.as_ref()?.as_ref().ok()
    }

    /// Reads a frame's code object, if that was not done. Returns whether it is known, or has changed.
    fn read_frame(&self, frame: &PythonFrame, python: &Python, memory: &ProcessMemory<'_>) -> bool {
        if lock(&self.functions).knows(frame) {
            return true;
        }
        let read = CodeObject::read(frame.code, frame.fingerprint, python, memory).map(Function::from);
        let is_read = !matches!(read, Err(Unnamed::Unreadable));
        lock(&self.functions).add(frame, read);
        is_read
    }

    /// Remembers whether the innermost frame is at a call: then what it calls is a builtin, and not the interpreter at work.
    /// Returns whether that could be read.
    fn read_call(&self, leaf: &PythonFrame, memory: &ProcessMemory<'_>) -> bool {
        let Some(address) = lock(&self.functions).lacks_call(leaf) else { return true };
        let Some(is_at_call) = address.is_at_call(memory) else { return false };
        lock(&self.functions).add_call(leaf, is_at_call);
        true
    }

    /// Reads a name that was not recorded whole, if it still lies where it was. Returns whether there was nothing to wait for.
    fn read_name(&self, name: &AsyncName, python: &Python, memory: &ProcessMemory<'_>) -> bool {
        let (AsyncName::Ascii { address, length, .. } | AsyncName::Text { address, length }) = *name else {
            return true;
        };
        if name.text().is_some() {
            return true;
        }
        let (layout, limit) = (&python.layout, limits::PYTHON_NAME_CHARACTERS);
        let Some(now) = memory.read_field(address, layout.text.length) else { return false };
        if now != length {
            return true;
        }
        let Some(text) = text::read_text(address, limit, layout, memory) else { return false };
        if name.beginning().is_none_or(|beginning| text.starts_with(&beginning)) {
            lock(&self.functions).add_name(name, text);
        }
        true
    }
}

impl Functions {
    fn new(all_bytes: Arc<AtomicUsize>) -> Self {
        let (known, calls, names) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { all_bytes, bytes: 0, known, calls, names, is_incomplete: false }
    }

    fn knows(&self, frame: &PythonFrame) -> bool {
        self.known.get(&(frame.code, frame.fingerprint)).is_some_and(|known| holds(known, frame.instruction))
    }

    fn add(&mut self, frame: &PythonFrame, read: Result<Function, Unnamed>) {
        let key = (frame.code, frame.fingerprint);
        if read.is_err() && self.known.get(&key).is_some_and(Result::is_ok) {
            return;
        }
        let bytes = bytes_of(&read);
        if self.all_bytes.load(Ordering::Relaxed) + bytes > limits::PYTHON_CODE_BYTES {
            self.clear();
        }
        self.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(replaced) = self.known.insert(key, read) {
            let bytes = bytes_of(&replaced);
            self.bytes -= bytes;
            self.all_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn clear(&mut self) {
        self.is_incomplete |= !self.known.is_empty();
        self.known.clear();
        self.calls.clear();
        self.names.clear();
        self.all_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// Where the instruction of an innermost frame is, if it is not known whether that is a call.
    fn lacks_call(&self, leaf: &PythonFrame) -> Option<CallSite> {
        let Ok(function) = self.known.get(&(leaf.code, leaf.fingerprint))? else { return None };
        let is_known = self.calls.contains_key(&(leaf.code, leaf.instruction));
        if is_known { None } else { function.code.call_site(leaf.instruction) }
    }

    fn add_call(&mut self, leaf: &PythonFrame, is_at_call: bool) {
        if self.calls.len() >= limits::PYTHON_CALLS {
            self.calls.clear();
        }
        self.calls.insert((leaf.code, leaf.instruction), is_at_call);
    }

    fn add_name(&mut self, name: &AsyncName, text: String) {
        if let Some(known) = self.names.get_mut(name) {
            // Another text of the same length came to lie there: which stack shows which cannot be told any more.
            known.take_if(|known| *known != text);
            return;
        }
        let bytes = ENTRY_BYTES + text.len();
        if self.names.len() >= limits::ASYNCIO_NAMES
            || self.all_bytes.load(Ordering::Relaxed) + bytes > limits::PYTHON_CODE_BYTES
        {
            self.clear();
        }
        self.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.names.insert(*name, Some(text));
    }

    fn resolve(&self, frame: &PythonFrame) -> Result<PythonFunction, Reason> {
        match self.known.get(&(frame.code, frame.fingerprint)) {
            Some(Ok(function)) => Ok(PythonFunction {
                name: function.name.clone(),
                file: function.file.clone(),
                line: function.code.line_of(frame.instruction),
                calling: self.calls.get(&(frame.code, frame.instruction)).copied().unwrap_or_default(),
            }),
            Some(Err(Unnamed::Changed)) => Err(Reason::CodeChanged),
            Some(Err(Unnamed::Unreadable)) => Err(Reason::CodeUnreadable),
            None if self.is_incomplete => Err(Reason::CodeLimit),
            None => Err(Reason::ProcessGone),
        }
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What an entry takes besides its code object.
const ENTRY_BYTES: usize = 128;

fn bytes_of(entry: &Result<Function, Unnamed>) -> usize {
    let texts = |function: &Function| function.name.len() + function.file.len();
    ENTRY_BYTES + entry.as_ref().map_or(0, |function| function.code.bytes() + texts(function))
}

/// Whether an instruction lies in what was read: a free-threaded interpreter may have made a copy since. What could not be
/// read is tried again with the next new stack, for there may have been no time; what has changed is not.
fn holds(known: &Result<Function, Unnamed>, instruction: u64) -> bool {
    match known {
        Ok(function) => function.code.holds(instruction),
        Err(unnamed) => matches!(unnamed, Unnamed::Changed),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
