//! What a table leaves out, and why.

/// Why a rule is not in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omission {
    /// The description of a function that cannot be understood.
    MalformedFrame,
    /// The description of a function outside the file's code.
    FrameOutside,
    /// The description of a function that begins where another does.
    FrameTwice,
    /// The description of a function beyond what is read of one file.
    TooManyFrames,
    /// Rows of code behind the pages a table may have.
    TooManyPages,
    /// Rows of a page that has too many.
    PageFull,
    /// Rows with a rule beyond those a table may have.
    TooManyRules,
    /// Rows whose CFA depends on a register that is not followed.
    CfaRegister,
    /// Rows whose CFA is an expression that rules cannot state.
    CfaExpression,
    /// Rows whose CFA is too far from its register.
    CfaOffset,
    /// Rows whose return address is not where calls put it.
    ReturnAddress,
    /// Rows whose caller's stack pointer is not the CFA.
    StackPointer,
    /// Kept registers of rows whose place rules cannot state; only a caller that needs them is affected.
    RegisterPlace,
}

impl Omission {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MalformedFrame,
        Self::FrameOutside,
        Self::FrameTwice,
        Self::TooManyFrames,
        Self::TooManyPages,
        Self::PageFull,
        Self::TooManyRules,
        Self::CfaRegister,
        Self::CfaExpression,
        Self::CfaOffset,
        Self::ReturnAddress,
        Self::StackPointer,
        Self::RegisterPlace,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed_frame",
            Self::FrameOutside => "frame_outside",
            Self::FrameTwice => "frame_twice",
            Self::TooManyFrames => "too_many_frames",
            Self::TooManyPages => "too_many_pages",
            Self::PageFull => "page_full",
            Self::TooManyRules => "too_many_rules",
            Self::CfaRegister => "cfa_register",
            Self::CfaExpression => "cfa_expression",
            Self::CfaOffset => "cfa_offset",
            Self::ReturnAddress => "return_address",
            Self::StackPointer => "stack_pointer",
            Self::RegisterPlace => "register_place",
        }
    }
}

/// How much a table leaves out, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omissions(pub(super) [u32; Omission::ALL.len()]);

impl Omissions {
    /// How often it happened.
    pub fn count(&self, reason: Omission) -> u32 {
        self.0[reason as usize]
    }

    /// The reasons that occurred, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Omission, u32)> {
        Omission::ALL.into_iter().map(|reason| (reason, self.count(reason))).filter(|(_, count)| *count > 0)
    }

    /// Counts some.
    pub(super) fn note(&mut self, reason: Omission, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0[reason as usize] = self.0[reason as usize].saturating_add(count);
    }
}
