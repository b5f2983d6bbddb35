//! Who ended the waits of a row.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// Nanoseconds of waits by who ended them: by pid, tid and context, since what a thread is called may change, and may not be
/// known in every window. The names are the first that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Wakers(BTreeMap<(Waker, State), (NamedWaker, u64)>);

impl Wakers {
    pub(super) fn add(&mut self, entry: &Entry, stack: Option<&Stack>) {
        if let (State::Wait(_), Some(named)) = (entry.state, stack.and_then(|stack| stack.waker.as_deref())) {
            let new = || (NamedWaker::nameless(named.waker), 0);
            let (known, ns) = self.0.entry((named.waker, entry.state)).or_insert_with(new);
            learn(&mut known.process_name, named.process_name.as_ref());
            learn(&mut known.thread_name, named.thread_name.as_ref());
            *ns += entry.ns;
        }
    }

    /// Those that ended the longest waits, longest first.
    pub(super) fn longest(&self) -> Vec<WokenBy> {
        let mut wakers: Vec<WokenBy> =
            self.0.iter().map(|((_, state), (named, ns))| woken_by(named, *state, *ns)).collect();
        wakers.sort_by_key(|waker| Reverse(waker.ns));
        wakers.truncate(LISTED);
        wakers
    }
}

fn learn(known: &mut Option<Arc<str>>, name: Option<&Arc<str>>) {
    if known.is_none() {
        *known = name.cloned();
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
    use super::*;
    use crate::profile::WaitClass;

    const STATE: State = State::Wait(WaitClass::Lock);

    fn entry(ns: u64) -> Entry {
        Entry {
            task: 0,
            state: STATE,
            idle: false,
            detail: None,
            stack: Some(0),
            ns,
            count: 1,
            variance_ns2: 0.0,
            captures_of: None,
            awaits: None,
        }
    }

    fn woken(named: NamedWaker) -> Stack {
        Stack::default().with_waker(Some(Arc::new(named)))
    }

    #[test]
    fn a_thread_whose_names_change_is_one_waker_with_the_first_that_are_known() {
        let waker = Waker::Thread { pid: 7, tid: 8, over_network: false };
        let named = |process: Option<&str>, thread: Option<&str>| {
            woken(NamedWaker { waker, process_name: process.map(Into::into), thread_name: thread.map(Into::into) })
        };
        let mut wakers = Wakers::default();
        let stacks = [named(None, None), named(Some("python"), None), named(Some("gunicorn"), Some("worker"))];
        stacks.iter().for_each(|stack| wakers.add(&entry(10), Some(stack)));
        let over_network = Waker::Thread { pid: 7, tid: 8, over_network: true };
        wakers.add(&entry(1), Some(&woken(NamedWaker::nameless(over_network))));
        let listed = wakers.longest();
        let told: Vec<_> =
            listed.iter().map(|of| (of.label.as_str(), of.thread.as_deref(), of.context, of.ns)).collect();
        assert_eq!(told, [("python[7] tid 8", Some("worker"), "thread", 30), ("pid 7 tid 8", None, "softirq", 1)]);
    }

    #[test]
    fn those_who_ended_the_longest_waits_come_first() {
        let thread = |tid| Waker::Thread { pid: 7, tid, over_network: false };
        let woken = |waker| woken(NamedWaker::nameless(waker));
        let stacks: Vec<Stack> = (0..LISTED as u32 + 5).map(|tid| woken(thread(tid))).collect();
        let (timer, unknown) = (woken(Waker::Timer), Stack::default());
        let mut wakers = Wakers::default();
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
