//! The kernel half, loaded and attached.
