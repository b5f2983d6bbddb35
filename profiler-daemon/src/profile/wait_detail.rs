//! What a wait is, seen from the frames of a language: finer than the class the kernel can tell, or another one.

use super::WaitClass;

/// A kind of wait that frames tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitDetail {
    /// The class it counts as.
    pub class: WaitClass,
    /// What it is, in words that follow the class: `gil` of `lock/gil`.
    pub name: &'static str,
    /// Whether the thread is parked with nothing to do.
    pub idle: bool,
}

impl WaitDetail {
    /// Class and name: `lock/gil`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.class.name(), self.name)
    }
}
