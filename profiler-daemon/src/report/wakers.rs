//! Who ended the waits of a row.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::calibrate::Entry;
use crate::profile::{NamedWaker, Stack, State, Waker};

/// Wakers a row lists at most.
const LISTED: usize = 8;

/// Who ended some waits, and how long those were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WokenBy {
    /// Who, in a few words: `java[4711] tid 4730`, `[timer]`. Untrusted text.
    pub label: String,
    /// What the waker's CPU ran: `thread`, `softirq`, `irq`, `timer`, `nmi` or `idle`.
    pub context: &'static str,
    /// The pid of the waker, if it was a thread.
    pub pid: Option<u32>,
    /// Its tid.
    pub tid: Option<u32>,
    /// The name of its process, if it lived when it was asked for. Untrusted text.
    pub process: Option<String>,
    /// Its own name, likewise. Untrusted text.
    pub thread: Option<String>,
    /// How long the waits were that it ended.
    pub ns: u64,
}

/// Nanoseconds of waits by who ended them.
#[derive(Debug, Clone, Default)]
pub(super) struct Wakers<'a>(BTreeMap<(&'a NamedWaker, State), u64>);

impl<'a> Wakers<'a> {
    pub(super) fn add(&mut self, entry: &Entry, stack: Option<&'a Stack>) {
        if let (State::Wait(_), Some(waker)) = (entry.state, stack.and_then(|stack| stack.waker.as_deref())) {
            *self.0.entry((waker, entry.state)).or_default() += entry.ns;
        }
    }

    /// Those that ended the longest waits, longest first.
    pub(super) fn longest(&self) -> Vec<WokenBy> {
        let mut wakers: Vec<WokenBy> = self.0.iter().map(|((waker, state), ns)| woken_by(waker, *state, *ns)).collect();
        wakers.sort_by_key(|waker| Reverse(waker.ns));
        wakers.truncate(LISTED);
        wakers
    }
}

fn woken_by(named: &NamedWaker, state: State, ns: u64) -> WokenBy {
    let ids = match named.waker {
        Waker::Thread { pid, tid, .. } => Some((pid, tid)),
        _ => None,
    };
    WokenBy {
        label: named.label(state),
        context: named.waker.context(),
        pid: ids.map(|(pid, _)| pid),
        tid: ids.map(|(_, tid)| tid),
        process: named.process_name.as_deref().map(str::to_owned),
        thread: named.thread_name.as_deref().map(str::to_owned),
        ns,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::WaitClass;

    #[test]
    fn those_who_ended_the_longest_waits_come_first() {
        let thread = |tid| Waker::Thread { pid: 7, tid, over_network: false };
        let woken = |waker| Stack::default().with_waker(Some(Arc::new(NamedWaker::nameless(waker))));
        let stacks: Vec<Stack> = (0..LISTED as u32 + 5).map(|tid| woken(thread(tid))).collect();
        let (timer, unknown) = (woken(Waker::Timer), Stack::default());
        let (state, mut wakers) = (State::Wait(WaitClass::Lock), Wakers::default());
        let entry = |ns| Entry {
            task: 0,
            state,
            idle: false,
            detail: None,
            stack: Some(0),
            ns,
            count: 1,
            variance_ns2: 0.0,
            captures_of: None,
            awaits: None,
        };
        stacks.iter().for_each(|stack| wakers.add(&entry(10), Some(stack)));
        wakers.add(&entry(5), Some(&stacks[3]));
        wakers.add(&entry(99), Some(&timer));
        wakers.add(&entry(1000), Some(&unknown));
        wakers.add(&Entry { state: State::RunQueue, ..entry(1000) }, Some(&stacks[0]));
        let listed = wakers.longest();
        let told: Vec<_> = listed.iter().map(|waker| (waker.label.as_str(), waker.tid, waker.ns)).collect();
        assert_eq!(told[..2], [("[timer]", None, 99), ("pid 7 tid 3", Some(3), 15)]);
        assert_eq!(told.len(), LISTED);
    }
}
