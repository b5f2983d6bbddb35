//! What tasks of asyncio awaited while their event loop waited: told by looks at its suspended tasks, not measured.

use super::WaitClass;

/// What a suspended task awaits, as far as the innermost of its functions tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Awaited {
    /// An answer from outside the loop: whatever is none of the others.
    Reply,
    /// Another task of the loop: a lock, a queue, an event.
    Task,
    /// Another thread.
    Thread,
    /// The end of a time.
    Timer,
    /// The next client.
    Client,
}

impl Awaited {
    /// What tasks a wait of a loop is charged to, by what ended it: the first of these that any task awaits. Nothing where the
    /// loop was idle, or where it is not known what ended the wait.
    pub fn charged(class: WaitClass, detail: &str) -> &'static [Self] {
        match (class, detail) {
            (WaitClass::Poll, "reply") => &[Self::Reply, Self::Task],
            (WaitClass::Poll, "timer") => &[Self::Timer, Self::Reply, Self::Thread, Self::Task],
            (WaitClass::Poll, "handoff") => &[Self::Thread, Self::Reply, Self::Task],
            _ => &[],
        }
    }
}

/// What looks at the tasks of one loop found in its waits of one kind. Of the time these waits took, each stack gets the part
/// that its weight is of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoopWaits {
    /// Index into [`super::Profile::tasks`].
    pub task: u32,
    /// What ended the waits, all of class [`WaitClass::Poll`].
    pub detail: &'static str,
    /// How many looks fell into such waits.
    pub looks: u64,
    /// The weight of looks that found no task to charge.
    pub empty_ns: u64,
    /// The weight of each place, an index into [`super::Profile::stacks`].
    pub awaits: Vec<(u32, u64)>,
}

impl LoopWaits {
    /// The weight of all looks.
    pub fn weight_ns(&self) -> u64 {
        self.empty_ns + self.awaits.iter().map(|(_, ns)| ns).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waits_that_are_not_idle_are_charged_and_each_to_who_awaits_what_ended_it() {
        let first = |detail| Awaited::charged(WaitClass::Poll, detail).first().copied();
        let told = ["reply", "timer", "handoff", "request", "listen", "io_uring"].map(first);
        assert_eq!(told, [Some(Awaited::Reply), Some(Awaited::Timer), Some(Awaited::Thread), None, None, None]);
        assert!(Awaited::charged(WaitClass::Net, "reply").is_empty());
        for detail in ["reply", "timer", "handoff"] {
            assert!(!Awaited::charged(WaitClass::Poll, detail).contains(&Awaited::Client));
        }
    }
}
