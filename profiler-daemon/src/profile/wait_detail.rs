//! What a wait is beyond its class: told by the kernel half, or by the frames of a language, which may tell another class.

use profiler_common::wait_detail::DETAILS;

use super::WaitClass;

/// A kind of wait within a class.
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
    /// The detail of a number written by the kernel half; `None` for none, or one it does not know.
    pub fn from_number(number: u8) -> Option<Self> {
        let detail = DETAILS.get(usize::from(number)).filter(|detail| !detail.name.is_empty())?;
        Some(Self { class: WaitClass::from_number(detail.class), name: detail.name, idle: detail.idle })
    }

    /// Whether a wait the kernel classifies so can be this one. What it knows of files, sockets and faults stands; a lock, a
    /// condition and a sleep on a futex look alike to it.
    pub fn refines(&self, class: WaitClass) -> bool {
        let is_on_futex = matches!(class, WaitClass::Lock | WaitClass::Sync);
        class == self.class || is_on_futex && matches!(self.class, WaitClass::Lock | WaitClass::Sync | WaitClass::Sleep)
    }

    /// Class and name: `lock/gil`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.class.name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_something_else_than_threads_is_not_told_anew() {
        let idle = WaitDetail { class: WaitClass::Sync, name: "idle worker", idle: true };
        assert!(idle.refines(WaitClass::Sync) && idle.refines(WaitClass::Lock));
        assert!(!idle.refines(WaitClass::Net) && !idle.refines(WaitClass::Fault));
        let sleep = WaitDetail { class: WaitClass::Sleep, name: "thread sleep", idle: false };
        assert!(sleep.refines(WaitClass::Sync) && !sleep.refines(WaitClass::Poll) && !idle.refines(WaitClass::Sleep));
    }
}
