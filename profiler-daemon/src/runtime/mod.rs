//! Language runtimes, one folder each. Those that name generated code by its address have a row in [`RUNTIMES`]; the frames
//! of Python and Java are found by the kernel half, and named by [`python::Pythons`] and [`hotspot::HotSpots`]. What their threads wait for is told by [`waits`].
//!
//! The contract. A runtime names addresses that no executable names: code made at run time. Three lifetimes meet here.
//! - Per daemon: the [`Runtime`] itself, which holds no state of any process.
//! - Per program image: an [`AttachedRuntime`], made while the process lives. It must take hold at once of what it will need,
//!   such as an open file, because its process may be gone when its stacks are named at the end of the window.
//! - Per address: [`ManagedFrame`]. Not to know an address is no error; the next runtime is asked.
//!
//! [`Runtimes`] owns the attached ones. The thread that reads events calls [`Runtimes::observe`], the thread that names
//! stacks calls [`Runtimes::resolve`]. Nothing a process offers may make either of them wait, grow without bound or open
//! anything but a regular file of that process.

pub mod hotspot;
pub mod image;
pub mod limits;
pub mod memory;
pub mod perf_map;
pub mod python;
pub mod waits;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use self::hotspot::HotSpots;
use self::python::Pythons;
use crate::process::{Address, Image, RecentMap, World};
use crate::profile::{FrameKind, ImageId};

/// All runtimes, asked in this order.
pub static RUNTIMES: &[&dyn Runtime] = &[&perf_map::PerfMapRuntime];

/// A language runtime the daemon knows.
pub trait Runtime: Sync {
    /// The name in documents and in `status`.
    fn name(&self) -> &'static str;
    /// Takes hold of an image that generates code; `None` if it is not of this runtime.
    fn attach(&self, image: &Image, now: Instant, world: &dyn World) -> Option<Box<dyn AttachedRuntime>>;
}

/// A runtime in one program image.
pub trait AttachedRuntime: Send {
    /// Takes hold of what appeared since, such as a file written late; called often, so it must cost little.
    fn observe(&mut self, image: &Image, now: Instant, world: &dyn World);
    /// What runs at the address.
    fn resolve(&mut self, address: Address, image: &Image, now: Instant, world: &dyn World) -> Option<ManagedFrame>;
}

/// A function of a language runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedFrame {
    /// The kind of code.
    pub kind: FrameKind,
    /// The function's name. Untrusted text.
    pub function: Arc<str>,
    /// Its source file. Untrusted text.
    pub file: Option<Arc<str>>,
    /// The line that was executing.
    pub line: Option<u32>,
    /// Where the function's code begins.
    pub start: Address,
}

/// The runtimes attached to the images that run code of theirs. Each image has a lock of its own, so that whoever reads
/// what one image offers holds up nobody who asks for another.
pub struct Runtimes {
    /// Python interpreters, whose frames are found by the kernel half and not by address.
    pub python: Pythons,
    /// Java virtual machines, of whose frames the same is true.
    pub java: HotSpots,
    attached: Mutex<RecentMap<ImageId, Arc<Mutex<Attached>>>>,
}

/// The runtimes in one image; `None` until the first look.
type Attached = Option<Vec<Box<dyn AttachedRuntime>>>;

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtimes").field("images", &lock(&self.attached).len()).finish()
    }
}

impl Default for Runtimes {
    fn default() -> Self {
        Self {
            python: Pythons::default(),
            java: HotSpots::default(),
            attached: Mutex::new(RecentMap::new(limits::IMAGES)),
        }
    }
}

impl Runtimes {
    /// Attaches to an image seen for the first time, and lets the runtimes take hold of what appeared since.
    /// To be called while the process lives, whenever one of its stacks is seen; costs next to nothing for an image that
    /// generates no code, and never waits: an image that is being named at this moment has been taken hold of.
    pub fn observe(&self, image: &Image, now: Instant, world: &dyn World) {
        let Some(attached) = self.find(image) else { return };
        let mut attached = match attached.try_lock() {
            Ok(attached) => attached,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for runtime in attached.get_or_insert_with(|| attach_all(image, now, world)) {
            runtime.observe(image, now, world);
        }
    }

    /// What runs at an address of the image, if a runtime knows it.
    pub fn resolve(&self, image: &Image, address: Address, now: Instant, world: &dyn World) -> Option<ManagedFrame> {
        let attached = self.find(image)?;
        let mut attached = lock(&attached);
        let mut runtimes = attached.get_or_insert_with(|| attach_all(image, now, world)).iter_mut();
        runtimes.find_map(|runtime| runtime.resolve(address, image, now, world))
    }

    /// The place of an image's runtimes; `None` if it generates no code.
    fn find(&self, image: &Image) -> Option<Arc<Mutex<Attached>>> {
        if !image.generates_code {
            return None;
        }
        let mut images = lock(&self.attached);
        if let Some(known) = images.find(&image.id) {
            return Some(known.clone());
        }
        let new = Arc::<Mutex<Attached>>::default();
        images.insert(image.id, new.clone());
        Some(new)
    }
}

fn attach_all(image: &Image, now: Instant, world: &dyn World) -> Vec<Box<dyn AttachedRuntime>> {
    RUNTIMES.iter().filter_map(|runtime| runtime.attach(image, now, world)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
