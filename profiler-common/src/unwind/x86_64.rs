//! The steps of x86_64.

use super::cursor::{Cursor, SignalFrame};
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
const SIGNAL_FRAME: SignalFrame<6> =
    SignalFrame { kept: [(R12, 72), (R13, 80), (R14, 88), (R15, 96), (RBP, 120), (RBX, 128)], sp: 160, pc: 168 };

/// Every bit of a return address is one of its address.
const ADDRESS_BITS: u64 = u64::MAX;

/// Words of the kernel's `pt_regs`.
pub const REGISTER_WORDS: usize = 21;
/// Where `pt_regs` has the first kept register, and behind it the second.
pub const FIRST_KEPT_WORD: usize = KEPT_WORDS[0];
/// Where `pt_regs` has the kept registers.
const KEPT_WORDS: [usize; 6] = [4, 5, 3, 2, 1, 0];
/// Where it has the scratch registers.
const SCRATCH_WORDS: [usize; 9] = [10, 12, 11, 13, 14, 9, 8, 7, 6];
/// Where it has the number of the system call the thread is in; all ones if it is in none.
const SYSCALL_WORD: usize = 15;
/// Where it has `rax`, which is [`CALL_GOES_ON`] until the system call has its result.
const RESULT_WORD: usize = 10;
/// `-ENOSYS`.
const CALL_GOES_ON: u64 = -38_i64 as u64;
/// Where it has `rcx`, in which the system call's instruction leaves the address behind it, except on CPUs with FRED.
const BEHIND_CALL_WORD: usize = 11;
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
    // In a system call, it stands behind the instruction that made it, which may be the last of its function. That instruction
    // leaves its address in a register as well; it is another one where the call ended in a signal, at the first instruction
    // of whose handler the thread stands then. With FRED, it leaves the register alone: there the call is known by having no result
    // yet, and one that has, while the thread is still on its way out, is looked up by the address behind it.
    let stands_behind = (words[BEHIND_CALL_WORD] == words[PC_WORD]) | (words[RESULT_WORD] == CALL_GOES_ON);
    let in_call = (words[SYSCALL_WORD] != u64::MAX) & stands_behind;
    cursor.exact = u32::from(!in_call);
    cursor.has_scratch = 1;
}

/// x86_64.
pub struct X86_64;

impl Machine for X86_64 {
    #[inline(always)]
    fn apply(cursor: &mut Cursor, rule: &Rule, process: &mut impl Process) -> u8 {
        match rule.cfa {
            cfa::FRAME_POINTER => return Self::follow_frame_pointer(cursor, process),
            cfa::SIGNAL => return cursor.enter_interrupted(SIGNAL_FRAME, process),
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
        if cursor.exact != 0
            && let Some(pushed) = words_pushed(cursor, process)
        {
            return enter_caller_of_frameless(cursor, pushed, process);
        }
        cursor.follow_frame_pointer(ADDRESS_BITS, process)
    }
}

/// The instruction that returns.
const RETURN: u64 = 0xc3;
/// The first bytes of a jump through a word near the instruction: to a function of another file, or the last call.
const JUMP_THROUGH_WORD: u64 = 0x25ff;
/// What functions may begin with, for indirect branches.
const MARK: u64 = 0xfa1e_0ff3;
/// `push %rbp`, and `mov %rsp,%rbp` behind it.
const PUSH_FRAME_POINTER: u64 = 0x55;
const SET_FRAME_POINTER: u64 = 0x00e5_8948;

/// How many words lie above the return address, if a function was interrupted where it has no frame of its own yet, or no
/// more. The frame pointer is its caller's then, and would lead past the caller.
#[inline(always)]
fn words_pushed(cursor: &Cursor, process: &mut impl Process) -> Option<u64> {
    let pc = cursor.pc;
    let Some(code) = process.read(pc) else { return is_just_called(cursor, process).then_some(0) };
    let entry = if code & 0xffff_ffff == MARK { code >> 32 } else { code };
    let is_entry = entry & 0xffff_ffff == SET_FRAME_POINTER << 8 | PUSH_FRAME_POINTER;
    if is_entry || code & 0xff == RETURN || code & 0xffff == JUMP_THROUGH_WORD {
        return Some(0);
    }
    if code & 0x00ff_ffff != SET_FRAME_POINTER {
        return None;
    }
    let before = process.read(pc.wrapping_sub(1))?;
    (before & 0xff == PUSH_FRAME_POINTER).then_some(1)
}

/// The first byte of a call to an address. Its other four say how far behind the call that is.
const CALL: u64 = 0xe8;
/// The first byte of a call through a register or memory, and what its second byte says of other instructions that begin so.
const CALL_THROUGH: u64 = 0xff;
const WHICH_BITS: u64 = 0x38;
const IS_CALL: u64 = 0x10;

/// The first eight of the nine bytes that return from a signal's handler: `mov $15,%rax`, and `syscall` behind it. The kernel calls
/// the handler, so that no call stands before them.
const RETURN_FROM_HANDLER: u64 = 0x0f00_0000_0fc0_c748;

/// Whether a function whose code cannot be read has just been called: while the kernel brings the page its first instruction
/// lies in, the thread waits for that very instruction.
///
/// It has if the last word on the stack lies behind a call, and the call leads here if it says where it leads. It has not if it
/// was returned to: then the word below the stack is the address it was returned to. What the kernel called as a signal's handler
/// returns to known instructions.
#[inline(always)]
fn is_just_called(cursor: &Cursor, process: &mut impl Process) -> bool {
    let Some(caller) = process.read(cursor.sp) else { return false };
    let Some(before) = process.read(caller.wrapping_sub(8)) else { return false };
    if before >> 24 & 0xff == CALL {
        return caller.wrapping_add_signed(i64::from((before >> 32) as i32)) == cursor.pc;
    }
    if ends_in_call_through(before) {
        return process.read(cursor.sp.wrapping_sub(8)) != Some(cursor.pc);
    }
    process.read(caller) == Some(RETURN_FROM_HANDLER)
}

/// Whether the last of eight bytes are a call through a register or memory. Its second byte, and where there is one its third, say
/// how long it is: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, tables 2-2 and 2-3.
///
/// Without branches, of which each would double what the verifier has to follow in every frame.
#[inline(always)]
fn ends_in_call_through(code: u64) -> bool {
    /// By mode: how many bytes of displacement there are.
    const DISPLACEMENTS: u64 = 0x0410;
    /// By mode and register: whether there is a third byte.
    const HAVE_SCALE: u64 = 1 << 4 | 1 << (8 + 4) | 1 << (16 + 4);
    /// In mode 0: registers and bases that stand for a displacement of four bytes.
    const PLAIN: u64 = 1 << 5;
    let differs = |bytes: u64| {
        let byte = |number: u64| code >> (64 - 8 * (bytes - number)) & 0xff;
        let (mode, register, base) = (byte(1) >> 6, byte(1) & 7, if bytes > 2 { byte(2) & 7 } else { 0 });
        let at = mode << 3 | register;
        let scale = HAVE_SCALE >> at & 1;
        let plain = PLAIN >> at | (1 << 4 >> at) & (PLAIN >> base);
        let length = 2 + scale + (DISPLACEMENTS >> (4 * mode) & 0xf) + 4 * (plain & 1);
        (byte(0) ^ CALL_THROUGH) | (byte(1) & WHICH_BITS ^ IS_CALL) | (length ^ bytes)
    };
    // Each is a byte at the most, so that the product does not overflow.
    differs(2) * differs(3) * differs(4) * differs(6) * differs(7) == 0
}

/// The kept registers are the caller's, too.
#[inline(always)]
fn enter_caller_of_frameless(cursor: &mut Cursor, pushed: u64, process: &mut impl Process) -> u8 {
    let at = cursor.sp.wrapping_add(pushed * 8);
    let Some(pc) = process.read(at) else { return stop::UNREADABLE };
    cursor.enter_caller(pc, at.wrapping_add(8));
    stop::NONE
}

#[cfg(test)]
mod tests {
    use super::super::walk::Code;
    use super::*;

    /// Code at 0x1000 and a stack of words at 0x8000.
    struct Memory<'a>(&'a [u8], &'a [u64]);

    impl Process for Memory<'_> {
        fn find_code(&mut self, _: u64) -> Code {
            Code::Untabled
        }

        fn find_rule(&mut self, _: u32, _: u64) -> Rule {
            Rule::NONE
        }

        fn read(&mut self, address: u64) -> Option<u64> {
            if let Some(at) = address.checked_sub(0x8000) {
                return self.1.get(at as usize / 8).copied();
            }
            let bytes = self.0.get(address.checked_sub(0x1000)? as usize..)?.get(..8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        }
    }

    /// The caller found from the byte `at` of the code, with the frame pointer at 0x8010.
    fn caller(code: &[u8], at: u64, exact: u32) -> (u64, u64) {
        let padded: [u8; 32] = core::array::from_fn(|at| code.get(at).copied().unwrap_or(0x90));
        let stack = [0x11, 0x22, 0x33, 0x44, 0x55];
        let mut cursor = Cursor { pc: 0x1000 + at, sp: 0x8000, exact, ..Cursor::EMPTY };
        cursor.kept[usize::from(RBP)] = 0x8010;
        assert_eq!(X86_64::follow_frame_pointer(&mut cursor, &mut Memory(&padded, &stack)), stop::NONE);
        (cursor.pc, cursor.sp)
    }

    #[test]
    fn a_function_without_a_frame_of_its_own_yet_or_any_more_has_its_caller_on_the_stack() {
        let by_frame_pointer = (0x44, 0x8020);
        let plain = [0x55, 0x48, 0x89, 0xe5, 0x53, 0x5b, 0x5d, 0xc3];
        let found: [_; 5] = [0, 1, 4, 6, 7].map(|at| caller(&plain, at, 1));
        assert_eq!(found, [(0x11, 0x8008), (0x22, 0x8010), by_frame_pointer, by_frame_pointer, (0x11, 0x8008)]);
        let marked = [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5];
        let found: [_; 3] = [0, 4, 5].map(|at| caller(&marked, at, 1));
        assert_eq!(found, [(0x11, 0x8008), (0x11, 0x8008), (0x22, 0x8010)]);
        assert_eq!(caller(&[0xff, 0x25, 1, 2, 3, 4], 0, 1), (0x11, 0x8008));
    }

    /// The caller found at 0x9000, which cannot be read, if this code is behind it on the stack and this word below.
    fn caller_of_absent(before: &[u8], below: u64) -> u64 {
        let mut code = [0x90; 32];
        code[16 - before.len()..16].copy_from_slice(before);
        let stack = [below, 0x1010, 0x22, 0x33, 0x44, 0x55];
        let mut cursor = Cursor { pc: 0x9000, sp: 0x8008, ..Cursor::EMPTY };
        cursor.kept[usize::from(RBP)] = 0x8018;
        assert_eq!(X86_64::follow_frame_pointer(&mut cursor, &mut Memory(&code, &stack)), stop::NONE);
        cursor.pc
    }

    #[test]
    fn a_function_whose_first_page_is_being_read_has_its_caller_on_the_stack() {
        let (by_stack, by_frame_pointer) = (0x1010, 0x44);
        assert_eq!(caller_of_absent(&[0xe8, 0xf0, 0x7f, 0, 0], 7), by_stack);
        assert_eq!(caller_of_absent(&[0xe8, 0xf1, 0x7f, 0, 0], 7), by_frame_pointer, "a call of something else");
        let calls: [&[u8]; 9] = [
            &[0xff, 0xd0],
            &[0x41, 0xff, 0x13],
            &[0xff, 0x50, 0x28],
            &[0xff, 0x14, 0xc8],
            &[0xff, 0x54, 0x24, 8],
            &[0xff, 0x15, 1, 2, 3, 4],
            &[0xff, 0x90, 1, 2, 3, 4],
            &[0xff, 0x94, 0x24, 1, 2, 3, 4],
            &[0xff, 0x14, 0xc5, 1, 2, 3, 4],
        ];
        for call in calls {
            assert_eq!(caller_of_absent(call, 7), by_stack, "{call:x?}");
            assert_eq!(caller_of_absent(call, 0x9000), by_frame_pointer, "returned to: {call:x?}");
            assert_eq!(caller_of_absent(&[call, &[0x90]].concat(), 7), by_frame_pointer, "no call: {call:x?}");
        }
        assert_eq!(caller_of_absent(&[0xff, 0xe0], 7), by_frame_pointer, "a jump");
    }

    #[test]
    fn a_handler_whose_first_page_is_being_read_has_the_way_back_from_its_signal_on_the_stack() {
        let found = [RETURN_FROM_HANDLER, RETURN_FROM_HANDLER ^ 1 << 24].map(|way_back| {
            let code = [[0x90u8; 8], way_back.to_le_bytes(), [0x05; 8]].concat();
            let mut cursor = Cursor { pc: 0x9000, sp: 0x8000, ..Cursor::EMPTY };
            cursor.kept[usize::from(RBP)] = 0x8010;
            let stack = [0x1008, 0x22, 0x33, 0x44, 0x55];
            assert_eq!(X86_64::follow_frame_pointer(&mut cursor, &mut Memory(&code, &stack)), stop::NONE);
            (cursor.pc, cursor.sp)
        });
        assert_eq!(found, [(0x1008, 0x8008), (0x44, 0x8020)]);
    }

    #[test]
    fn the_code_of_a_thread_in_a_system_call_is_that_of_the_call_unless_a_signal_handler_begins() {
        let mut words = [0; REGISTER_WORDS];
        words[PC_WORD] = 0x1009;
        let mut cursor = Cursor::EMPTY;
        let mut lookup_address = |(syscall, behind_call, result)| {
            words[SYSCALL_WORD] = syscall;
            words[RESULT_WORD] = result;
            words[BEHIND_CALL_WORD] = behind_call;
            start(&mut cursor, &words);
            cursor.lookup_address()
        };
        let (signal, cpu_with_fred) = (10, 0x7777);
        let cases = [
            (15, 0x1009, CALL_GOES_ON),
            (15, 0x1009, 0),
            (15, cpu_with_fred, CALL_GOES_ON),
            (15, 0x5000, signal),
            (u64::MAX, 0x1009, CALL_GOES_ON),
        ];
        assert_eq!(cases.map(&mut lookup_address), [0x1008, 0x1008, 0x1008, 0x1009, 0x1009]);
    }

    #[test]
    fn a_return_address_is_in_the_middle_of_a_function_whatever_follows() {
        assert_eq!(caller(&[0x90, 0xc3], 1, 0), (0x44, 0x8020));
        assert_eq!(caller(&[0x48, 0x89, 0xe5], 0, 1), (0x44, 0x8020), "unreadable before");
    }
}
