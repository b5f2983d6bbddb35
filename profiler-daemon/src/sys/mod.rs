//! System calls made safe: the only room of the daemon with unsafe code.

#![expect(unsafe_code, reason = "the home of unsafe code: every block states what makes it sound")]

pub mod capability;
pub mod clock;
pub mod descriptors;
pub mod identity;
pub mod membarrier;
pub mod openat2;
pub mod private_directory;
pub mod process_memory;
pub mod usage;
