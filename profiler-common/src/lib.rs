//! The border between the kernel half and the user half: what both sides agree on.
//!
//! Records cross as bytes, pure steps run on both sides. No allocation, no IO, no `std`.
#![cfg_attr(not(any(test, feature = "host")), no_std)]

pub mod classify;
pub mod descriptor_cache;
pub mod hotspot;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod python;
pub mod reason;
pub mod record;
pub mod strat;
pub mod syscall;
pub mod unwind;
pub mod wait_budget;
pub mod wait_class;
pub mod wait_detail;
pub mod wait_lengths;
pub mod waker;
