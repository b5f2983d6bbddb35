//! What the tasks of asyncio on the stacks of a window are called.
//!
//! A server has a task for each request: if each showed its own name, no two stacks were the same. So names that differ in
//! nothing but their numbers are shown as one if a window has many of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::limits;
use crate::aggregate::RawStack;
use crate::profile::{AsyncEntry, AsyncTask, ImageId};
use crate::runtime::python::Pythons;

/// The names of one window.
#[derive(Debug, Default)]
pub(super) struct TaskNames {
    /// For each image, what is left of the names that are shown as one.
    merged: HashSet<(ImageId, String)>,
}

impl TaskNames {
    /// Looks at the names on all stacks.
    pub(super) fn of(stacks: &[RawStack], pythons: &Pythons) -> Self {
        let mut names: HashMap<(ImageId, String), HashSet<String>> = HashMap::new();
        for stack in stacks {
            for entry in stack.tasks.iter() {
                let AsyncEntry::Task(task) = entry else { continue };
                let Some(name) = pythons.task_name(stack.image, &task.name) else { continue };
                let alike = without_numbers(&name);
                if alike != name {
                    names.entry((stack.image, alike)).or_default().insert(name);
                }
            }
        }
        let many = names.into_iter().filter(|(_, names)| names.len() > limits::NUMBERED_TASKS);
        Self { merged: many.map(|(alike, _)| alike).collect() }
    }

    /// The text of the frame that stands for a task.
    pub(super) fn text(&self, image: ImageId, task: &AsyncTask, pythons: &Pythons) -> Arc<str> {
        let shared = if task.is_shared { ", awaited by several" } else { "" };
        let Some(name) = pythons.task_name(image, &task.name) else { return format!("[task{shared}]").into() };
        let alike = (image, without_numbers(&name));
        let shown = if self.merged.contains(&alike) { alike.1 } else { name };
        format!("[task {shown}{shared}]").into()
    }
}

/// The name with an asterisk for each run of digits.
fn without_numbers(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character.is_ascii_digit() {
            true if text.ends_with('*') => {}
            true => text.push('*'),
            false => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{AsyncName, ProcessId};
    use crate::symbolize::tests::user_stack;

    const IMAGE: ImageId = ImageId { process: ProcessId { pid: 1, start_ns: 1 }, exec_ns: 0 };

    fn numbered(number: u64) -> AsyncTask {
        AsyncTask { name: AsyncName::Number { tag: 8, digits: number }, is_shared: number == 1 }
    }

    fn stacks(count: u64) -> Vec<RawStack> {
        let stack = |number| RawStack { tasks: [AsyncEntry::Task(numbered(number))].into(), ..user_stack(IMAGE, &[]) };
        (1..=count).map(stack).collect()
    }

    #[test]
    fn many_tasks_that_differ_in_their_numbers_are_shown_as_one() {
        let pythons = Pythons::default();
        for (count, first, second) in [
            (limits::NUMBERED_TASKS as u64, "[task Task-1, awaited by several]", "[task Task-2]"),
            (limits::NUMBERED_TASKS as u64 + 1, "[task Task-*, awaited by several]", "[task Task-*]"),
        ] {
            let names = TaskNames::of(&stacks(count), &pythons);
            assert_eq!(&*names.text(IMAGE, &numbered(1), &pythons), first);
            assert_eq!(&*names.text(IMAGE, &numbered(2), &pythons), second);
        }
    }

    #[test]
    fn a_task_whose_name_could_not_be_read_is_shown_without() {
        let task = AsyncTask { name: AsyncName::Unreadable, is_shared: false };
        assert_eq!(&*TaskNames::default().text(IMAGE, &task, &Pythons::default()), "[task]");
        assert_eq!(without_numbers("a-12.b3"), "a-*.b*");
    }
}
