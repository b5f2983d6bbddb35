//! Windows over time: a ring of the recent ones, bounded by age and by memory.
//!
//! A [`Profile`](crate::profile::Profile) comes in when its window closes and goes out, shared, to whoever asks for a
//! range of time. Merging and filtering are left to `profile` and `report`.

mod footprint;
mod ring;

pub use ring::Ring;
