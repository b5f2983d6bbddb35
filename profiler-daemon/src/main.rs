//! The `profilerd` binary.
fn main() {}
