//! The steps of x86_64.

use super::cursor::Cursor;
use super::rule::{Rule, base, cfa};
use super::stop;
use super::walk::{Machine, Process};

/// `rbp`, the frame pointer.
pub const RBP: u8 = 0;
/// `rbx`.
pub const RBX: u8 = 1;
/// `r12`.
pub const R12: u8 = 2;
/// `r13`.
pub const R13: u8 = 3;
/// `r14`.
pub const R14: u8 = 4;
/// `r15`.
pub const R15: u8 = 5;

/// The scratch registers, from [`super::rule::FIRST_SCRATCH`] on, by their DWARF numbers.
pub const SCRATCH: [u16; 9] = [0, 1, 2, 4, 5, 8, 9, 10, 11];
/// The kept registers by their DWARF numbers.
pub const KEPT: [u16; 6] = [6, 3, 12, 13, 14, 15];
/// The DWARF number of the stack pointer.
pub const STACK_POINTER: u16 = 7;
/// The DWARF number of the return address.
pub const RETURN_ADDRESS: u16 = 16;

/// Where the kernel puts the interrupted registers, from the stack pointer of a signal handler's trampoline on: the
/// `gregs` of its `ucontext`, as <https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/uapi/asm/sigcontext.h#L328-L347>
/// orders them.
const SIGNAL_REGISTERS: [(u8, u64); 6] = [(R12, 72), (R13, 80), (R14, 88), (R15, 96), (RBP, 120), (RBX, 128)];
const SIGNAL_SP: u64 = 160;
const SIGNAL_PC: u64 = 168;

/// Words of the kernel's `pt_regs`.
pub const REGISTER_WORDS: usize = 21;
/// Where `pt_regs` has the kept registers.
const KEPT_WORDS: [usize; 6] = [4, 5, 3, 2, 1, 0];
/// Where it has the scratch registers.
const SCRATCH_WORDS: [usize; 9] = [10, 12, 11, 13, 14, 9, 8, 7, 6];
const PC_WORD: usize = 16;
const SP_WORD: usize = 19;

/// Sets the cursor to the innermost frame, from the words of `pt_regs`, in the order of
/// <https://github.com/torvalds/linux/blob/v6.12/arch/x86/include/uapi/asm/ptrace.h#L44-L76>.
#[inline(always)]
pub fn start(cursor: &mut Cursor, words: &[u64; REGISTER_WORDS]) {
    cursor.pc = words[PC_WORD];
    cursor.sp = words[SP_WORD];
    for (slot, word) in KEPT_WORDS.into_iter().enumerate() {
        cursor.kept[slot] = words[word];
        cursor.kept_at[slot] = 0;
    }
    for (slot, word) in SCRATCH_WORDS.into_iter().enumerate() {
        cursor.scratch[slot] = words[word];
    }
    cursor.exact = 1;
    cursor.has_scratch = 1;
}

/// x86_64.
pub struct X86_64;

impl Machine for X86_64 {
    #[inline(always)]
    fn apply(cursor: &mut Cursor, rule: &Rule, process: &mut impl Process) -> u8 {
        match rule.cfa {
            cfa::FRAME_POINTER => return Self::follow_frame_pointer(cursor, process),
            cfa::SIGNAL => return enter_interrupted(cursor, process),
            cfa::OUTERMOST => return stop::COMPLETE,
            _ => {}
        }
        let from = if rule.cfa == cfa::REGISTER || rule.cfa == cfa::AT_REGISTER {
            let Some(value) = cursor.register(rule.register, process) else { return stop::REGISTER_LOST };
            value
        } else if rule.cfa == cfa::UNSUPPORTED {
            return stop::UNSUPPORTED;
        } else {
            cursor.sp
        };
        let place = from.wrapping_add_signed(i64::from(rule.offset));
        let mut address = place;
        if rule.cfa == cfa::LINKAGE_STUB {
            address = from.wrapping_add(if cursor.pc & 15 >= rule.offset as u64 { 16 } else { 8 });
        } else if rule.cfa == cfa::AT_REGISTER || rule.cfa == cfa::AT_STACK {
            let Some(value) = process.read(place) else { return stop::UNREADABLE };
            address = value.wrapping_add_signed(i64::from(rule.addend));
        }
        if address <= cursor.sp {
            return stop::NO_PROGRESS;
        }
        let Some(pc) = process.read(address.wrapping_sub(8)) else { return stop::UNREADABLE };
        if pc == 0 {
            return stop::COMPLETE;
        }
        cursor.note_saved(&rule.saved, if rule.base == base::CFA { address } else { place });
        cursor.enter_caller(pc, address);
        stop::NONE
    }

    #[inline(always)]
    fn follow_frame_pointer(cursor: &mut Cursor, process: &mut impl Process) -> u8 {
        let Some(frame) = cursor.frame_pointer(process) else { return stop::NO_RULE };
        if frame == 0 {
            return stop::COMPLETE;
        }
        if frame < cursor.sp {
            return stop::NO_RULE;
        }
        let Some(pc) = process.read(frame.wrapping_add(8)) else { return stop::NO_RULE };
        cursor.lose_kept();
        cursor.note_saved_at(RBP, frame);
        cursor.enter_caller(pc, frame.wrapping_add(16));
        stop::NONE
    }
}

/// From the trampoline of a signal handler to what the signal interrupted.
#[inline(always)]
fn enter_interrupted(cursor: &mut Cursor, process: &mut impl Process) -> u8 {
    let context = cursor.sp;
    let Some(pc) = process.read(context.wrapping_add(SIGNAL_PC)) else { return stop::UNREADABLE };
    let Some(sp) = process.read(context.wrapping_add(SIGNAL_SP)) else { return stop::UNREADABLE };
    for (register, offset) in SIGNAL_REGISTERS {
        cursor.note_saved_at(register, context.wrapping_add(offset));
    }
    cursor.enter_caller(pc, sp);
    cursor.exact = 1;
    stop::NONE
}
