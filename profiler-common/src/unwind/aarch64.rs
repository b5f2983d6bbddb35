//! The steps of aarch64.

use super::cursor::{Cursor, SignalFrame};
use super::rule::{Rule, cfa};
use super::stop;
use super::walk::{Machine, Process};

/// `x29`, the frame pointer.
pub const X29: u8 = 0;
/// `x30`, the link register.
pub const X30: u8 = 1;

/// No scratch register is followed.
pub const SCRATCH: [u16; 0] = [];
/// The kept registers by their DWARF numbers.
pub const KEPT: [u16; 2] = [29, 30];
/// The DWARF number of the stack pointer.
pub const STACK_POINTER: u16 = 31;
/// The DWARF number of the return address.
pub const RETURN_ADDRESS: u16 = 30;

/// Where the kernel puts the interrupted registers, from the stack pointer of a signal handler's trampoline on: behind the
/// 128 bytes of `siginfo` and the head of the `ucontext`, as
/// <https://github.com/torvalds/linux/blob/v6.12/arch/arm64/include/uapi/asm/sigcontext.h#L28-L36> orders them.
const SIGNAL_FRAME: SignalFrame<2> = SignalFrame { kept: [(X29, 544), (X30, 552)], sp: 560, pc: 568 };

/// The bits of an address that are not a signature.
const ADDRESS_BITS: u64 = (1 << 48) - 1;

/// Words of the kernel's `user_pt_regs`.
pub const REGISTER_WORDS: usize = 34;
const KEPT_WORDS: [usize; 2] = [29, 30];
/// Where `user_pt_regs` has the first kept register, and behind it the second.
pub const FIRST_KEPT_WORD: usize = KEPT_WORDS[0];
const SP_WORD: usize = 31;
const PC_WORD: usize = 32;

/// Sets the cursor to the innermost frame, from the words of `user_pt_regs`, in the order of
/// <https://github.com/torvalds/linux/blob/v6.12/arch/arm64/include/uapi/asm/ptrace.h#L89-L94>.
#[inline(always)]
pub fn start(cursor: &mut Cursor, words: &[u64; REGISTER_WORDS]) {
    cursor.pc = words[PC_WORD];
    cursor.sp = words[SP_WORD];
    for (slot, word) in KEPT_WORDS.into_iter().enumerate() {
        cursor.kept[slot] = words[word];
        cursor.kept_at[slot] = 0;
    }
    cursor.exact = 1;
    cursor.has_scratch = 0;
}

/// aarch64.
pub struct Aarch64;

impl Machine for Aarch64 {
    #[inline(always)]
    fn apply(cursor: &mut Cursor, rule: &Rule, process: &mut impl Process) -> u8 {
        let from = match rule.cfa {
            cfa::FRAME_POINTER => return Self::follow_frame_pointer(cursor, process),
            cfa::SIGNAL => return cursor.enter_interrupted(SIGNAL_FRAME, process),
            cfa::OUTERMOST => return stop::COMPLETE,
            cfa::STACK => cursor.sp,
            cfa::REGISTER => match cursor.register(rule.register, process) {
                Some(value) => value,
                None => return stop::REGISTER_LOST,
            },
            _ => return stop::UNSUPPORTED,
        };
        let address = from.wrapping_add_signed(i64::from(rule.offset));
        // A leaf function need not use the stack; anything further out must.
        if address < cursor.sp || address == cursor.sp && cursor.exact == 0 {
            return stop::NO_PROGRESS;
        }
        cursor.note_saved(&rule.saved, address);
        let Some(pc) = cursor.register(X30, process) else { return stop::REGISTER_LOST };
        if pc == 0 {
            return stop::COMPLETE;
        }
        cursor.lose_kept();
        cursor.enter_caller(pc & ADDRESS_BITS, address);
        stop::NONE
    }

    #[inline(always)]
    fn follow_frame_pointer(cursor: &mut Cursor, process: &mut impl Process) -> u8 {
        cursor.follow_frame_pointer(ADDRESS_BITS, process)
    }
}
