//! How the registers of DWARF map to those of rules.

use profiler_common::unwind::rule::FIRST_SCRATCH;
use profiler_common::unwind::{aarch64, x86_64};

/// A machine whose stacks are walked.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its number in ELF files.
    pub(super) number: u16,
    pub(super) stack_pointer: u16,
    pub(super) return_address: u16,
    /// What the return address must be saved at, in bytes from the CFA, if it is not a kept register itself.
    pub(super) return_address_at: Option<i64>,
    /// What DWARF leaves to each vendor.
    pub(super) vendor: gimli::Vendor,
    kept: &'static [u16],
    scratch: &'static [u16],
}

static X86_64: Machine = Machine {
    number: 62,
    stack_pointer: x86_64::STACK_POINTER,
    return_address: x86_64::RETURN_ADDRESS,
    return_address_at: Some(-8),
    vendor: gimli::Vendor::Default,
    kept: &x86_64::KEPT,
    scratch: &x86_64::SCRATCH,
};

static AARCH64: Machine = Machine {
    number: 183,
    stack_pointer: aarch64::STACK_POINTER,
    return_address: aarch64::RETURN_ADDRESS,
    return_address_at: None,
    vendor: gimli::Vendor::AArch64,
    kept: &aarch64::KEPT,
    scratch: &aarch64::SCRATCH,
};

impl Machine {
    /// The machine with a number in ELF files.
    pub(super) fn find(number: u16) -> Option<&'static Self> {
        [&X86_64, &AARCH64].into_iter().find(|machine| machine.number == number)
    }

    /// Whether it is x86_64.
    pub(super) fn is_x86_64(&self) -> bool {
        self.number == X86_64.number
    }

    /// The place of a register among the kept ones.
    pub(super) fn kept_slot(&self, register: u16) -> Option<usize> {
        self.kept.iter().position(|kept| *kept == register)
    }

    /// The number rules use for a register, if they can name it.
    pub(super) fn rule_register(&self, register: u16) -> Option<u8> {
        let scratch = || self.scratch.iter().position(|scratch| *scratch == register);
        let number = self.kept_slot(register).or_else(|| Some(scratch()? + usize::from(FIRST_SCRATCH)))?;
        u8::try_from(number).ok()
    }
}
