//! Versions of CPython: which one an image is, and what depends on nothing else.

use std::fmt;

use super::refusal::Refusal;

/// The newest minor version whose layout is known.
pub const NEWEST_MINOR: u8 = 15;
/// The oldest one.
pub const OLDEST_MINOR: u8 = 8;
/// The mark of a release among alphas, betas and candidates.
const FINAL: u8 = 0xf;

/// A version, as the interpreter writes it in a number: `0xMMmmppRS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// 3.
    pub major: u8,
    /// 8 to 15.
    pub minor: u8,
    /// The patch level; of versions before 3.11 it is not known.
    pub patch: Option<u8>,
    /// Alpha, beta, candidate or final, with a number.
    stage: u8,
}

impl Version {
    /// The version a number stands for.
    pub fn from_number(number: u32) -> Self {
        let [stage, patch, minor, major] = number.to_le_bytes();
        Self { major, minor, patch: Some(patch), stage }
    }

    /// A release of which only the minor version is known.
    pub const fn of_minor(minor: u8) -> Self {
        Self { major: 3, minor, patch: None, stage: FINAL << 4 }
    }

    /// The version that sizes of objects tell, for those that have no number of their own (before 3.11).
    ///
    /// The size of a type object is part of the stable interface of each minor version
    /// ([3.8](https://github.com/python/cpython/blob/v3.8.18/Include/cpython/object.h#L177),
    /// [3.9](https://github.com/python/cpython/blob/v3.9.18/Include/cpython/object.h#L192)); 3.9 and 3.10 are told apart by
    /// the size of the runtime's state.
    pub fn from_sizes(type_bytes: u64, runtime_bytes: u64) -> Result<Self, Refusal> {
        match (type_bytes, runtime_bytes) {
            (416, _) => Ok(Self::of_minor(8)),
            (408, 656) => Ok(Self::of_minor(9)),
            (408, 672) => Ok(Self::of_minor(10)),
            (..408, _) => Err(Refusal::TooOld),
            _ => Err(Refusal::UnknownBuild),
        }
    }

    /// The version, if its layout is known.
    pub fn check(self) -> Result<Self, Refusal> {
        match (self.major, self.minor) {
            (..3, _) | (3, ..OLDEST_MINOR) => Err(Refusal::TooOld),
            (4.., _) => Err(Refusal::TooNew(self)),
            (3, minor) if minor > NEWEST_MINOR => Err(Refusal::TooNew(self)),
            _ if self.stage >> 4 != FINAL => Err(Refusal::Prerelease(self)),
            _ => Ok(self),
        }
    }

    /// Whether an instruction calls something: what runs below it was called by this line, even if it is no Python.
    ///
    /// The numbers of all specialized forms, too, which replace an instruction once it has run some times.
    pub fn is_call(self, opcode: u8) -> bool {
        let ranges: &[(u8, u8)] = match self.minor {
            ..=10 => &[(131, 131), (141, 142), (161, 161)],
            11 => &[(22, 24), (64, 67), (72, 73), (76, 81), (113, 113), (142, 143), (166, 166), (171, 171)],
            12 => &[(23, 24), (28, 29), (34, 34), (38, 48), (56, 56), (142, 142), (171, 171), (241, 241), (244, 244)],
            13 => &[(53, 54), (57, 57), (162, 181), (244, 246)],
            14 => &[(4, 4), (52, 52), (55, 55), (143, 165), (250, 252)],
            _ => &[(4, 4), (50, 50), (53, 53), (144, 168), (249, 251)],
        };
        ranges.iter().any(|(first, last)| (*first..=*last).contains(&opcode))
    }
}

/// `3.13.5`, `3.9` or `3.15.0b4`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        match self.stage >> 4 {
            0xa => write!(f, "a{}", self.stage & 15),
            0xb => write!(f, "b{}", self.stage & 15),
            0xc => write!(f, "rc{}", self.stage & 15),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_versions_and_those_that_are_not_known_are_refused() {
        for (number, text, refused) in [
            (0x030b_02f0, "3.11.2", None),
            (0x030f_02f0, "3.15.2", None),
            (0x0310_00f0, "3.16.0", Some("Python 3.16.0 is newer than this profilerd knows")),
            (0x0400_00f0, "4.0.0", Some("Python 4.0.0 is newer than this profilerd knows")),
            (0x030f_00b4, "3.15.0b4", Some("Python 3.15.0b4 is a pre-release, which is not supported")),
            (0x030d_00c2, "3.13.0rc2", Some("Python 3.13.0rc2 is a pre-release, which is not supported")),
            (0x030e_00a1, "3.14.0a1", Some("Python 3.14.0a1 is a pre-release, which is not supported")),
            (0x0307_10f0, "3.7.16", Some("Python older than 3.8 is not supported")),
        ] {
            let version = Version::from_number(number);
            assert_eq!(version.to_string(), text);
            assert_eq!(version.check().err().map(|refusal| refusal.to_string()).as_deref(), refused);
        }
    }

    #[test]
    fn sizes_tell_versions_that_have_no_number() {
        for (sizes, expected) in [
            ((416, 1464), Ok(Version::of_minor(8))),
            ((408, 656), Ok(Version::of_minor(9))),
            ((408, 672), Ok(Version::of_minor(10))),
            ((408, 660), Err(Refusal::UnknownBuild)),
            ((400, 656), Err(Refusal::TooOld)),
        ] {
            assert_eq!(Version::from_sizes(sizes.0, sizes.1), expected);
        }
    }

    #[test]
    fn calls_are_told_from_other_instructions() {
        for (minor, call, other) in
            [(8, 131, 132), (11, 171, 172), (12, 241, 242), (13, 53, 55), (14, 252, 253), (15, 249, 254)]
        {
            let version = Version::of_minor(minor);
            assert!(version.is_call(call) && !version.is_call(other), "3.{minor}");
        }
    }
}
