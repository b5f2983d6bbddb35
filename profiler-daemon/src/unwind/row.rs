//! Where the caller's registers are, from one address on to the next.

use profiler_common::unwind::rule::KEPT;

use super::expression::Value;
use super::machine::Machine;

/// One row of what a file says about a function, as far as rules can be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// The CFA; none if rules cannot state it.
    pub(super) cfa: Option<Value>,
    pub(super) kept: [Place; KEPT],
    pub(super) stack_pointer: Place,
    pub(super) return_address: Place,
}

/// Where one register of the caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where it was.
    Unchanged,
    /// It has none: if it is the return address, the frame is the outermost.
    Undefined,
    /// In memory, in bytes from the CFA.
    AtCfa(i64),
    /// In memory, in bytes from a register of the callee.
    AtRegister { register: u16, offset: i64 },
    /// Not in memory: it is the CFA plus some bytes.
    Cfa(i64),
    /// Anywhere else.
    Elsewhere,
}

impl Row {
    /// What holds before anything is said.
    pub(super) const EMPTY: Self = Self {
        cfa: None,
        kept: [Place::Unchanged; KEPT],
        stack_pointer: Place::Unchanged,
        return_address: Place::Unchanged,
    };

    /// Notes where a register is. On some machines the return address is one of the kept registers.
    pub(super) fn set(&mut self, register: u16, place: Place, machine: &Machine) {
        if let Some(slot) = machine.kept_slot(register) {
            self.kept[slot] = place;
        } else if register == machine.stack_pointer {
            self.stack_pointer = place;
        }
        if register == machine.return_address {
            self.return_address = place;
        }
    }

    /// Makes a register what it is in another row.
    pub(super) fn restore(&mut self, register: u16, from: &Self, machine: &Machine) {
        if let Some(slot) = machine.kept_slot(register) {
            self.kept[slot] = from.kept[slot];
        } else if register == machine.stack_pointer {
            self.stack_pointer = from.stack_pointer;
        }
        if register == machine.return_address {
            self.return_address = from.return_address;
        }
    }
}
