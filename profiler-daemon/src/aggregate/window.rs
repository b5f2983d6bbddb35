//! One window in the making.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::{Equivalent, IndexMap};

use super::lengths::WindowLengths;
use super::limits::{STACKS, SUBJECTS, WAKERS};
use super::loops::{Look, LoopWait};
use super::places::Places;
use super::{RawSample, RawStack, RawState, RawWindow, SubjectNames};
use crate::profile::{
    AsyncEntry, Ending, ImageId, JavaFrame, LengthCounts, LengthEstimate, Loss, LossReason, ProcessId, PythonEnding,
    PythonFrame, Subject, Task, TaskTotals, ThreadId, TimeRange, WaitClass, WaitPeriods, WaitReason, Waker,
};
use crate::wire::{StackEvent, StackKind};

/// Which thread of which process.
pub(super) type TaskKey = (ProcessId, ThreadId);

/// A window that still grows.
#[derive(Debug, Default)]
pub(super) struct Window {
    tasks: IndexMap<TaskKey, Option<Arc<Task>>>,
    stacks: IndexMap<RawStack, ()>,
    samples: IndexMap<SampleKey, Estimate>,
    totals: HashMap<u32, TaskTotals>,
    /// What threads waited for, and what that is called if it was asked for.
    subjects: HashMap<(ProcessId, Subject), Option<Arc<str>>>,
    /// Who woke them.
    wakers: HashSet<(ProcessId, Waker)>,
    /// Those whose names were asked for, by pid and tid.
    named_wakers: HashSet<(u32, u32)>,
    /// The longest T by which a wait of each task was chosen.
    periods_ns: HashMap<u32, u64>,
    wait_periods: WaitPeriods,
    lengths: WindowLengths,
    places: Places,
    loss: Loss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SampleKey {
    task: u32,
    state: RawState,
    idle: bool,
    stack: u32,
}

#[derive(Debug, Clone, Default)]
struct Estimate {
    weight_ns: u64,
    count: u64,
    variance_ns2: f64,
    lengths: Option<Box<LengthEstimate>>,
}

/// A stack as it lies in the ring, to look up without copying.
#[derive(Debug, Clone, Copy)]
pub(super) struct BorrowedStack<'a> {
    pub(super) image: ImageId,
    pub(super) on_cpu: bool,
    pub(super) kernel: &'a [u64],
    pub(super) user: &'a [u64],
    pub(super) has_gap: bool,
    pub(super) ending: Ending,
    pub(super) java: &'a [JavaFrame],
    pub(super) python: &'a [PythonFrame],
    pub(super) python_ending: PythonEnding,
    pub(super) tasks: &'a [AsyncEntry],
    pub(super) task_frames: u16,
    pub(super) lock_holder: Option<u64>,
    pub(super) collecting: bool,
    pub(super) code_ns: u64,
    pub(super) reason: WaitReason,
}

impl<'a> BorrowedStack<'a> {
    pub(super) fn of(event: &StackEvent<'a>) -> Self {
        Self {
            image: event.image,
            on_cpu: event.kind == StackKind::OnCpu,
            kernel: event.kernel,
            user: event.user.addresses,
            has_gap: event.user.has_gap,
            ending: event.user.ending,
            java: event.java,
            python: event.python,
            python_ending: event.python_ending,
            tasks: event.tasks,
            task_frames: event.task_frames,
            lock_holder: event.lock_holder,
            collecting: event.collecting,
            code_ns: event.code_ns,
            reason: event.reason,
        }
    }

    pub(super) fn of_raw(stack: &'a RawStack) -> Self {
        Self {
            image: stack.image,
            on_cpu: stack.on_cpu,
            kernel: &stack.kernel,
            user: &stack.user,
            has_gap: stack.has_gap,
            ending: stack.ending,
            java: &stack.java,
            python: &stack.python,
            python_ending: stack.python_ending,
            tasks: &stack.tasks,
            task_frames: stack.task_frames,
            lock_holder: stack.lock_holder,
            collecting: stack.collecting,
            code_ns: stack.code_ns,
            reason: stack.reason,
        }
    }

    pub(super) fn to_owned_stack(self) -> RawStack {
        RawStack {
            image: self.image,
            on_cpu: self.on_cpu,
            kernel: self.kernel.into(),
            user: self.user.into(),
            has_gap: self.has_gap,
            ending: self.ending,
            java: self.java.into(),
            python: self.python.into(),
            python_ending: self.python_ending,
            tasks: self.tasks.into(),
            task_frames: self.task_frames,
            lock_holder: self.lock_holder,
            collecting: self.collecting,
            code_ns: self.code_ns,
            reason: self.reason,
        }
    }
}

impl Hash for BorrowedStack<'_> {
    /// Must agree with the derived hash of [`RawStack`].
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.image, self.on_cpu, self.kernel, self.user, self.has_gap, self.ending).hash(state);
        (self.java, self.python, self.python_ending, self.tasks, self.task_frames, self.lock_holder, self.collecting)
            .hash(state);
        (self.code_ns, self.reason).hash(state);
    }
}

impl Equivalent<RawStack> for BorrowedStack<'_> {
    fn equivalent(&self, key: &RawStack) -> bool {
        (self.image, self.on_cpu, self.has_gap, self.ending, self.python_ending)
            == (key.image, key.on_cpu, key.has_gap, key.ending, key.python_ending)
            && (self.lock_holder, self.collecting, self.task_frames)
                == (key.lock_holder, key.collecting, key.task_frames)
            && (self.code_ns, self.reason) == (key.code_ns, key.reason)
            && *self.tasks == *key.tasks
            && *self.java == *key.java
            && *self.python == *key.python
            && *self.kernel == *key.kernel
            && *self.user == *key.user
    }
}

/// What one capture adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addition {
    pub(super) state: RawState,
    pub(super) idle: bool,
    pub(super) weight_ns: u64,
    pub(super) variance_ns2: f64,
    /// How long the wait was that ended, and how many it stands for.
    pub(super) ended: Option<(u64, f64)>,
}

impl Window {
    /// The index of a task.
    pub(super) fn intern_task(&mut self, key: TaskKey) -> u32 {
        self.tasks.entry(key).or_default();
        self.tasks.get_index_of(&key).unwrap_or_default() as u32
    }

    /// Names a task.
    pub(super) fn name_task(&mut self, task: &Arc<Task>) -> u32 {
        let key = (task.process, task.thread);
        self.tasks.insert(key, Some(task.clone()));
        self.tasks.get_index_of(&key).unwrap_or_default() as u32
    }

    /// Whether the stack is in the window.
    pub(super) fn has_stack(&self, stack: BorrowedStack<'_>) -> bool {
        self.stacks.contains_key(&stack)
    }

    /// The index of a stack, and whether it is new; `None` if the window is full.
    pub(super) fn intern_stack(&mut self, stack: BorrowedStack<'_>) -> Option<(u32, bool)> {
        let stack = self.with_known_subject(stack);
        let stack = self.with_known_waker(stack);
        if let Some(index) = self.stacks.get_index_of(&stack) {
            return Some((index as u32, false));
        }
        if self.stacks.len() >= STACKS {
            self.loss.add(LossReason::WindowFull, 1);
            return None;
        }
        let owned = stack.to_owned_stack();
        Some((self.stacks.insert_full(owned, ()).0 as u32, true))
    }

    /// The stack without what its wait was for, if a window tells no more of these apart.
    fn with_known_subject<'a>(&mut self, stack: BorrowedStack<'a>) -> BorrowedStack<'a> {
        let Some(subject) = stack.reason.subject.map(|subject| (stack.image.process, subject)) else { return stack };
        if self.subjects.contains_key(&subject) {
            return stack;
        }
        if self.subjects.len() < SUBJECTS {
            self.subjects.insert(subject, None);
            return stack;
        }
        BorrowedStack { reason: WaitReason { subject: None, ..stack.reason }, ..stack }
    }

    /// The stack with just some thread as the waker, if a window tells no more of these apart.
    fn with_known_waker<'a>(&mut self, stack: BorrowedStack<'a>) -> BorrowedStack<'a> {
        let Some(waker @ Waker::Thread { .. }) = stack.reason.waker else { return stack };
        let waker = (stack.image.process, waker);
        if self.wakers.contains(&waker) {
            return stack;
        }
        if self.wakers.len() < WAKERS {
            self.wakers.insert(waker);
            return stack;
        }
        BorrowedStack { reason: WaitReason { waker: Some(Waker::SomeThread), ..stack.reason }, ..stack }
    }

    /// Whether the window tells this apart and does not know what it is called.
    pub(super) fn lacks_name(&self, process: ProcessId, subject: Subject) -> bool {
        self.subjects.get(&(process, subject)).is_some_and(Option::is_none)
    }

    /// Notes what something is called.
    pub(super) fn name_subject(&mut self, process: ProcessId, subject: Subject, name: Arc<str>) {
        if let Some(known) = self.subjects.get_mut(&(process, subject)) {
            *known = Some(name);
        }
    }

    /// Whether the window tells this waker apart and its names were not asked for yet.
    pub(super) fn lacks_waker(&self, process: ProcessId, waker: Waker) -> bool {
        let Waker::Thread { pid, tid, .. } = waker else { return false };
        !self.named_wakers.contains(&(pid, tid)) && self.wakers.contains(&(process, waker))
    }

    /// Notes that the names of a waker were asked for.
    pub(super) fn note_waker(&mut self, waker: Waker) {
        if let Waker::Thread { pid, tid, .. } = waker {
            self.named_wakers.insert((pid, tid));
        }
    }

    /// What is called how of what these stacks waited for.
    pub(super) fn names_of(&self, stacks: &[RawStack]) -> SubjectNames {
        let subjects = stacks.iter().filter_map(|stack| Some((stack.image.process, stack.reason.subject?)));
        subjects.filter_map(|subject| Some((subject, self.subjects.get(&subject)?.clone()?))).collect()
    }

    /// Adds the part of a capture that is in one state.
    pub(super) fn add_sample(&mut self, task: u32, stack: u32, addition: Addition) {
        if addition.weight_ns == 0 {
            return;
        }
        let key = SampleKey { task, state: addition.state, idle: addition.idle, stack };
        let estimate = self.samples.entry(key).or_default();
        estimate.weight_ns += addition.weight_ns;
        estimate.count += 1;
        estimate.variance_ns2 += addition.variance_ns2;
        if let Some((length_ns, count)) = addition.ended {
            estimate.lengths.get_or_insert_default().add_capture(length_ns, count);
        }
    }

    /// Adds a look at the tasks of a loop, which fell into this wait.
    pub(super) fn add_look(&mut self, look: &Look, wait: &LoopWait) {
        let task = self.intern_task(look.key());
        let stack = wait.stack.as_ref().and_then(|stack| self.intern_stack(BorrowedStack::of_raw(stack)));
        let stack = stack.map(|(index, _)| index);
        self.places.add(task, stack, look, wait);
    }

    /// Notes the T by which a wait of a task was chosen.
    pub(super) fn note_period(&mut self, task: u32, period_ns: u64) {
        let longest_ns = self.periods_ns.entry(task).or_default();
        *longest_ns = period_ns.max(*longest_ns);
        self.note_periods(WaitPeriods::of(period_ns));
    }

    /// Notes by which T waits were or would have been chosen.
    pub(super) fn note_periods(&mut self, periods: WaitPeriods) {
        self.wait_periods = self.wait_periods.cover(periods);
    }

    /// Adds how long waits were.
    pub(super) fn add_lengths(&mut self, task: u32, gains: &[(WaitClass, LengthCounts)]) {
        self.lengths.add(task, gains);
    }

    /// Notes how long a captured wait was.
    pub(super) fn note_length(&mut self, task: u32, class: WaitClass, length_ns: u64) {
        self.lengths.note(task, class, length_ns);
    }

    /// Adds exact totals.
    pub(super) fn add_totals(&mut self, task: u32, gain: &TaskTotals) {
        let totals = self.totals.entry(task).or_insert_with(|| TaskTotals { task, ..TaskTotals::default() });
        totals.add(gain);
    }

    /// What was lost so far.
    pub(super) fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Counts losses.
    pub(super) fn add_loss(&mut self, reason: LossReason, count: u64) {
        self.loss.add(reason, count);
    }

    /// The window as it stands. `name` finds the name of a task that has only samples yet.
    pub(super) fn to_raw(&self, range: TimeRange, name: impl Fn(&TaskKey) -> Arc<Task>) -> RawWindow {
        let period_ns = |task: &u32| self.periods_ns.get(task).copied().unwrap_or_default();
        let with_period =
            |totals: &TaskTotals| TaskTotals { wait_period_ns: period_ns(&totals.task), ..totals.clone() };
        let mut totals: Vec<TaskTotals> = self.totals.values().map(with_period).collect();
        totals.sort_unstable_by_key(|totals| totals.task);
        RawWindow {
            range,
            tasks: self.tasks.iter().map(|(key, task)| task.clone().unwrap_or_else(|| name(key))).collect(),
            stacks: self.stacks.keys().cloned().collect(),
            samples: self.samples.iter().map(|(key, estimate)| to_raw_sample(key, estimate)).collect(),
            totals,
            subjects: SubjectNames::new(),
            wait_lengths: self.lengths.to_table(),
            loops: self.places.to_raw(),
            cpu_period_ns: 0,
            wait_periods: self.wait_periods,
            loss: self.loss.clone(),
        }
    }
}

fn to_raw_sample(key: &SampleKey, estimate: &Estimate) -> RawSample {
    RawSample {
        task: key.task,
        state: key.state,
        idle: key.idle,
        stack: key.stack,
        weight_ns: estimate.weight_ns,
        count: estimate.count,
        variance_ns2: estimate.variance_ns2,
        lengths: estimate.lengths.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrowed_stack_finds_the_owned_one() {
        let image = ImageId { process: ProcessId { pid: 1, start_ns: 2 }, exec_ns: 3 };
        let stack = |user| BorrowedStack { on_cpu: true, kernel: &[1, 2], user, ..empty_stack(image) };
        let mut window = Window::default();
        assert_eq!(window.intern_stack(stack(&[3])), Some((0, true)));
        assert_eq!(window.intern_stack(stack(&[3, 4])), Some((1, true)));
        assert_eq!(window.intern_stack(stack(&[3])), Some((0, false)));
    }

    #[test]
    fn wakers_beyond_the_bound_are_some_thread() {
        let image = ImageId { process: ProcessId { pid: 1, start_ns: 2 }, exec_ns: 3 };
        let woken_by = |tid| {
            let waker = Some(Waker::Thread { pid: 9, tid, over_network: false });
            let reason = WaitReason { waker, ..WaitReason::default() };
            BorrowedStack { image, reason, ..empty_stack(image) }
        };
        let mut window = Window::default();
        for tid in 0..WAKERS as u32 {
            assert_eq!(window.intern_stack(woken_by(tid)), Some((tid, true)));
        }
        let beyond = WAKERS as u32;
        assert_eq!(window.intern_stack(woken_by(beyond)), Some((beyond, true)));
        assert_eq!(window.intern_stack(woken_by(beyond + 1)), Some((beyond, false)));
        assert_eq!(window.intern_stack(woken_by(5)), Some((5, false)));
        let lacks = |window: &Window, tid| {
            window.lacks_waker(image.process, Waker::Thread { pid: 9, tid, over_network: false })
        };
        assert!(lacks(&window, 5) && !lacks(&window, beyond), "nobody needs the name of one that is not told apart");
        window.note_waker(Waker::Thread { pid: 9, tid: 5, over_network: true });
        assert!(!lacks(&window, 5) && lacks(&window, 6));
    }

    fn empty_stack(image: ImageId) -> BorrowedStack<'static> {
        BorrowedStack {
            image,
            on_cpu: false,
            kernel: &[],
            user: &[],
            has_gap: false,
            ending: Ending::Complete,
            java: &[],
            python: &[],
            python_ending: PythonEnding::Complete,
            tasks: &[],
            task_frames: 0,
            lock_holder: None,
            code_ns: 0,
            collecting: false,
            reason: WaitReason::default(),
        }
    }
}
