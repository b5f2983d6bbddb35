//! One frame of a walk: find the mapping, find the rule, apply it.

use super::cursor::Cursor;
use super::rule::Rule;
use super::stop;

/// What a walk needs to know of a process.
pub trait Process {
    /// What lies at an address of code.
    fn find_code(&mut self, address: u64) -> Code;
    /// The rule at an address of an executable's table; none if there is none.
    fn find_rule(&mut self, table: u32, address: u64) -> Rule;
    /// A word of the process's memory.
    fn read(&mut self, address: u64) -> Option<u64>;
}

/// What lies at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No code that is known.
    Nowhere,
    /// Code without a table: generated code, or a table that is not loaded.
    Untabled,
    /// Code of an executable with a table.
    Tabled {
        /// The number of the table.
        table: u32,
        /// What to subtract from an address to get that of the table.
        bias: u64,
    },
}

/// An architecture: how one rule is applied.
pub trait Machine {
    /// Applies a rule: moves the cursor to the caller, or says why not. Returns a reason of [`stop`], or [`stop::NONE`].
    fn apply(cursor: &mut Cursor, rule: &Rule, process: &mut impl Process) -> u8;
    /// Follows the frame pointer.
    fn follow_frame_pointer(cursor: &mut Cursor, process: &mut impl Process) -> u8;
}

/// Moves the cursor, whose own address lies in `code`, to the caller, or says why not.
#[inline(always)]
pub fn step<M: Machine>(cursor: &mut Cursor, code: Code, process: &mut impl Process) -> u8 {
    match code {
        Code::Nowhere => stop::UNMAPPED,
        Code::Untabled => M::follow_frame_pointer(cursor, process),
        Code::Tabled { table, bias } => {
            let rule = process.find_rule(table, cursor.lookup_address().wrapping_sub(bias));
            M::apply(cursor, &rule, process)
        }
    }
}
