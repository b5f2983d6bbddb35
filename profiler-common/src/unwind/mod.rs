//! Walking a user stack by tables: pure steps that the kernel half runs, and that tests run on the host.
//!
//! A *table* says for every address of an executable where the caller's registers are: rows of (address, rule), made from
//! the unwind information every compiler writes. [`walk::step_once`] finds the rule of one frame and applies it. What it
//! needs to know about a process comes through the [`walk::Process`] trait: BPF maps and user memory in the kernel, a
//! recorded stack in a test.
//!
//! The architectures are sibling files with the same names in them: having read one you have read both.

pub mod aarch64;
pub mod code;
pub mod cursor;
pub mod rule;
pub mod table;
pub mod walk;
pub mod x86_64;

/// Why a walk of a user stack ended. Numbers are part of the record and never used for anything else.
pub mod stop {
    /// The outermost frame was reached: the stack is whole.
    pub const COMPLETE: u8 = 0;
    /// The stack is deeper than the walk goes.
    pub const DEPTH: u8 = 1;
    /// A return address lies in no executable mapping that is known.
    pub const UNMAPPED: u8 = 2;
    /// The code has no unwind information, and its frame pointer leads nowhere.
    pub const NO_RULE: u8 = 3;
    /// The rule is one that rows cannot express.
    pub const UNSUPPORTED: u8 = 4;
    /// The rule needs a register whose value is not known in this frame.
    pub const REGISTER_LOST: u8 = 5;
    /// The stack's memory could not be read.
    pub const UNREADABLE: u8 = 6;
    /// The caller's frame would not lie above this one.
    pub const NO_PROGRESS: u8 = 7;
    /// The mappings of the process were not known yet: the stack was followed by frame pointers, unchecked.
    pub const UNPREPARED: u8 = 8;
    /// How many there are.
    pub const COUNT: usize = 9;
    /// Not a reason: the walk goes on.
    pub const NONE: u8 = u8::MAX;
}
