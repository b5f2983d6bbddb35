//! What crosses to and from the kernel half, decoded.

mod asyncio;
mod decode;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod python;

pub use decode::{decode_ending, decode_lifecycle, decode_python_ending, decode_snapshot, decode_stack};
pub use event::{
    Account, AccountId, Ended, Executed, LifecycleEvent, MappedCode, OffCpuCause, Room, StackEvent, StackKind,
    UserStack, WaitInProgress,
};
pub use python::place_frames;
