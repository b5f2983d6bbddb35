//! System calls made safe: the only room of the daemon with unsafe code.

pub mod openat2;
