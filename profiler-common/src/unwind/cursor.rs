//! The registers of one frame, as far as they are known.
//!
//! Registers that a function saved are not read at once: the cursor notes where they lie, and reads them when a rule needs
//! them. Most code without frame pointers never does.

use super::rule::{FIRST_SCRATCH, FRAME_POINTER, KEPT, LOST, UNCHANGED};
use super::stop;
use super::walk::Process;

/// Room for kept registers, and for scratch registers: powers of two, so that masked numbers are in bounds.
pub const KEPT_SLOTS: usize = 8;
/// Room for the scratch registers of the innermost frame.
pub const SCRATCH_SLOTS: usize = 16;

/// In `kept_at`: the value cannot be found.
const NOWHERE: u64 = 1;

/// Where the kernel puts the registers a signal interrupted, in bytes from the stack pointer of its handler's trampoline on.
#[derive(Debug, Clone, Copy)]
pub struct SignalFrame<const N: usize> {
    /// Kept registers.
    pub kept: [(u8, u64); N],
    /// The stack pointer.
    pub sp: u64,
    /// The interrupted instruction.
    pub pc: u64,
}

/// The registers of the frame a walk has reached.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The instruction: interrupted, or returned to.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// Values of the kept registers that are at hand.
    pub kept: [u64; KEPT_SLOTS],
    /// Where the others lie in memory; zero for those at hand.
    pub kept_at: [u64; KEPT_SLOTS],
    /// The scratch registers of the innermost frame.
    pub scratch: [u64; SCRATCH_SLOTS],
    /// Whether `pc` is an interrupted instruction and not a return address.
    pub exact: u32,
    /// Whether `scratch` belongs to this frame.
    pub has_scratch: u32,
}

impl Cursor {
    /// A cursor that knows nothing.
    pub const EMPTY: Self = Self {
        pc: 0,
        sp: 0,
        kept: [0; KEPT_SLOTS],
        kept_at: [0; KEPT_SLOTS],
        scratch: [0; SCRATCH_SLOTS],
        exact: 1,
        has_scratch: 1,
    };

    /// A thread asleep in the kernel, of which no register is known but these two, and perhaps the first of the kept ones.
    /// `in_call` if it made a system call: then `pc` stands behind the instruction that did.
    pub const fn asleep(pc: u64, sp: u64, in_call: bool, kept: Option<[u64; 2]>) -> Self {
        let unknown =
            Self { pc, sp, kept_at: [NOWHERE; KEPT_SLOTS], exact: !in_call as u32, has_scratch: 0, ..Self::EMPTY };
        match kept {
            Some([first, second]) => Self {
                kept: [first, second, 0, 0, 0, 0, 0, 0],
                kept_at: [0, 0, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE, NOWHERE],
                ..unknown
            },
            None => unknown,
        }
    }

    /// The address whose rule applies: that of the call, not of what comes after it, which may be another function.
    #[inline(always)]
    pub fn lookup_address(&self) -> u64 {
        self.pc.wrapping_sub(u64::from(self.exact == 0))
    }

    /// The value of a register as [`super::rule::Rule::register`] numbers them. The mask keeps old verifiers content.
    #[inline(always)]
    pub fn register(&mut self, number: u8, process: &mut impl Process) -> Option<u64> {
        if number >= FIRST_SCRATCH {
            let slot = usize::from(number - FIRST_SCRATCH) & (SCRATCH_SLOTS - 1);
            return if self.has_scratch != 0 { Some(self.scratch[slot]) } else { None };
        }
        let slot = usize::from(number) & (KEPT_SLOTS - 1);
        let at = self.kept_at[slot];
        if at == 0 {
            return Some(self.kept[slot]);
        }
        if at == NOWHERE {
            return None;
        }
        let value = process.read(at)?;
        self.kept[slot] = value;
        self.kept_at[slot] = 0;
        Some(value)
    }

    /// Notes where the caller's kept registers lie.
    #[inline(always)]
    pub fn note_saved(&mut self, saved: &[i16; KEPT], base: u64) {
        for (slot, words) in saved.iter().enumerate() {
            if *words == LOST {
                self.kept_at[slot] = NOWHERE;
            } else if *words != UNCHANGED {
                self.kept_at[slot] = base.wrapping_add_signed(i64::from(*words) * 8);
            }
        }
    }

    /// Forgets every kept register but the frame pointer: the code is not known to preserve them in any known place.
    #[inline(always)]
    pub fn lose_kept(&mut self) {
        for slot in 1..KEPT {
            self.kept_at[slot] = NOWHERE;
        }
    }

    /// Moves to the caller by the frame pointer, if it leads anywhere. `address_bits` are those of a return address that are not
    /// a signature.
    #[inline(always)]
    pub fn follow_frame_pointer(&mut self, address_bits: u64, process: &mut impl Process) -> u8 {
        let Some(frame) = self.register(FRAME_POINTER, process) else { return stop::NO_RULE };
        if frame == 0 {
            return stop::COMPLETE;
        }
        if frame < self.sp {
            return stop::NO_RULE;
        }
        let Some(pc) = process.read(frame.wrapping_add(8)) else { return stop::NO_RULE };
        self.lose_kept();
        self.kept_at[usize::from(FRAME_POINTER)] = frame;
        self.enter_caller(pc & address_bits, frame.wrapping_add(16));
        stop::NONE
    }

    /// From the trampoline of a signal handler to what the signal interrupted.
    #[inline(always)]
    pub fn enter_interrupted<const N: usize>(&mut self, frame: SignalFrame<N>, process: &mut impl Process) -> u8 {
        let context = self.sp;
        let Some(pc) = process.read(context.wrapping_add(frame.pc)) else { return stop::UNREADABLE };
        let Some(sp) = process.read(context.wrapping_add(frame.sp)) else { return stop::UNREADABLE };
        for (register, offset) in frame.kept {
            self.kept_at[usize::from(register) & (KEPT_SLOTS - 1)] = context.wrapping_add(offset);
        }
        self.enter_caller(pc, sp);
        self.exact = 1;
        stop::NONE
    }

    /// Moves to the caller.
    #[inline(always)]
    pub fn enter_caller(&mut self, pc: u64, sp: u64) {
        self.pc = pc;
        self.sp = sp;
        self.exact = 0;
        self.has_scratch = 0;
    }
}
