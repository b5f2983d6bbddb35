//! How the caller's registers are found from those of one frame.
//!
//! The *canonical frame address* (CFA) is the caller's stack pointer. A rule says how to compute it, and where, relative
//! to it, the registers lie that the function must preserve for its caller. On x86_64 the return address always lies just
//! below the CFA; on aarch64 it is the preserved link register.

/// Registers that survive calls and are followed from frame to frame. The first is the frame pointer.
pub const KEPT: usize = 6;

/// The frame pointer among the kept registers: `rbp`, `x29`.
pub const FRAME_POINTER: u8 = 0;

/// How the CFA is found.
pub mod cfa {
    /// There is no unwind information here: follow the frame pointer.
    pub const FRAME_POINTER: u8 = 0;
    /// The stack pointer plus `offset`.
    pub const STACK: u8 = 1;
    /// `register` plus `offset`.
    pub const REGISTER: u8 = 2;
    /// The word at `register` plus `offset`, plus `addend`.
    pub const AT_REGISTER: u8 = 3;
    /// The word at the stack pointer plus `offset`, plus `addend`.
    pub const AT_STACK: u8 = 4;
    /// A stub of the procedure linkage table of 16 bytes: from the byte `offset` on, one word more is on the stack.
    pub const LINKAGE_STUB: u8 = 5;
    /// The trampoline a signal handler returns to: the interrupted registers lie on the stack.
    pub const SIGNAL: u8 = 6;
    /// The outermost frame: it has no caller.
    pub const OUTERMOST: u8 = 7;
    /// Something rows cannot express.
    pub const UNSUPPORTED: u8 = 8;
}

/// Where kept registers were saved relative to.
pub mod base {
    /// The CFA.
    pub const CFA: u8 = 0;
    /// The register the CFA is computed from, plus [`super::Rule::offset`]: no register can lie where the CFA does, and so
    /// none lies zero words from here.
    pub const REGISTER: u8 = 1;
}

/// In [`Rule::saved`]: the register still has the caller's value.
pub const UNCHANGED: i16 = 0;
/// In [`Rule::saved`]: the caller's value cannot be found.
pub const LOST: i16 = i16::MIN;

/// One unwind rule. Many addresses share one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Rule {
    /// One of [`cfa`].
    pub cfa: u8,
    /// For [`cfa::REGISTER`] and [`cfa::AT_REGISTER`]: a kept register, or [`KEPT`] plus 2 and more for a scratch register,
    /// which is known in the innermost frame only.
    pub register: u8,
    /// One of [`base`].
    pub base: u8,
    /// Zero.
    pub padding: u8,
    /// In bytes.
    pub offset: i32,
    /// For each kept register: [`UNCHANGED`], [`LOST`], or where it was saved, in words from the base.
    pub saved: [i16; KEPT],
    /// In bytes.
    pub addend: i16,
    /// Zero.
    pub padding2: i16,
}

/// The first number of [`Rule::register`] that means a scratch register.
pub const FIRST_SCRATCH: u8 = 8;

impl Rule {
    /// A rule of the given kind with nothing saved.
    pub const fn new(cfa: u8) -> Self {
        Self {
            cfa,
            register: 0,
            base: base::CFA,
            padding: 0,
            offset: 0,
            saved: [UNCHANGED; KEPT],
            addend: 0,
            padding2: 0,
        }
    }

    /// No unwind information: follow the frame pointer.
    pub const NONE: Self = Self::new(cfa::FRAME_POINTER);
    /// The outermost frame.
    pub const OUTERMOST: Self = Self::new(cfa::OUTERMOST);
    /// The trampoline of signal handlers.
    pub const SIGNAL: Self = Self::new(cfa::SIGNAL);
    /// Something rows cannot express.
    pub const UNSUPPORTED: Self = Self::new(cfa::UNSUPPORTED);
}
