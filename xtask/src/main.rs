//! Every task of the repository: `cargo xtask VERB`.
fn main() {}
