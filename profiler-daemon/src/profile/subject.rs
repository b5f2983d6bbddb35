//! What a captured wait was for: its detail, whom or what the thread waited for, and who ended it.

use std::net::SocketAddr;

use super::{WaitDetail, Waker};

/// What the kernel half tells of a captured wait beyond its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WaitReason {
    /// What it is.
    pub detail: Option<WaitDetail>,
    /// Whom or what it is for.
    pub subject: Option<Subject>,
    /// Who ended it.
    pub waker: Option<Waker>,
}

/// Whom or what a thread waits for, in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The other end of a connection.
    Address(SocketAddr),
    /// A port of this host on which clients are served.
    Port(u16),
    /// The process at the other end of a local socket, by its pid as of when it connected or listened.
    Process(u32),
    /// An open file.
    File {
        /// Its inode's number.
        inode: u64,
        /// The descriptor it was waited on by.
        descriptor: u32,
    },
    /// A lock, by its address in the memory of the process.
    Lock(u64),
}
