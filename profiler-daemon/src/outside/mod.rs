//! Threads as they show from outside, while they sleep: where each of them waits, read without stopping anything.
//!
//! `/proc` tells the instruction and the stack pointer of a thread that sleeps, and its memory does not change meanwhile. So
//! its stack can be walked from here: native frames by the tables of unwind rules the kernel half has too, Python frames by
//! the interpreter's own records, merged as those of a captured stack. What was read counts only if the thread slept all
//! the time. `/proc` tells no other registers: a stack that needs one before it was saved ends there, and says so, unless the
//! kernel half tells it.

pub mod limits;
mod memory;
mod poll;
mod process;
mod reader;
mod subject;
mod tables;
mod walk;

pub use poll::is_polling;
pub use process::{Accounts, RawPlace};
pub use reader::{Host, Reader, Sleeper, Sought, Told};
