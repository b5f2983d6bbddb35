//! The lock around an interpreter, and whether garbage is being collected: who is held up by whom, and why.

use super::detect::Python;
use super::layout::Place;
use super::memory::ProcessMemory;

/// The lock around an interpreter, as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// The state of the thread that holds it, or held it last; zero if none did.
    pub last_holder: u64,
    /// Whether it is held.
    pub is_held: bool,
}

/// The lock of the interpreter whose state is at `interpreter`. Before 3.12 all interpreters of a process have the same.
pub fn read_lock(interpreter: u64, python: &Python, memory: &ProcessMemory<'_>) -> Option<Lock> {
    let layout = &python.layout.lock;
    let lock = match layout.place {
        Place::Runtime(offset) => python.runtime.wrapping_add(offset.into()),
        Place::Interpreter(offset) => memory.read_field(interpreter, offset)?,
    };
    let is_held = memory.read_i32(lock.wrapping_add(layout.is_locked.into()))? > 0;
    Some(Lock { last_holder: memory.read_field(lock, layout.last_holder)?, is_held })
}

/// Whether the interpreter whose state is at `interpreter` is collecting garbage.
pub fn is_collecting(interpreter: u64, python: &Python, memory: &ProcessMemory<'_>) -> Option<bool> {
    let address = match python.layout.is_collecting {
        Place::Runtime(offset) => python.runtime.wrapping_add(offset.into()),
        Place::Interpreter(offset) => interpreter.wrapping_add(offset.into()),
    };
    memory.read_i32(address).map(|collecting| collecting != 0)
}
