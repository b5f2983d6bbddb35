//! Tables of made-up sections, of real files, and of damaged ones.

mod described;
mod fixture;
mod hostile;
mod shape;
mod truth;
