//! A frame of a Java virtual machine, as a walk recorded it.

pub use profiler_common::hotspot::Code as JavaCode;

/// One frame whose code a virtual machine made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JavaFrame {
    /// Which of the user addresses of the stack it is.
    pub place: u16,
    /// The instruction; of all but the innermost frame, the one that is returned to.
    pub pc: u64,
    /// What the frame is.
    pub code: JavaCode,
}

impl JavaFrame {
    /// Whether the frame was interrupted and has called nothing.
    pub fn is_innermost(&self) -> bool {
        self.place == 0
    }
}
