//! What the tasks of asyncio on the stacks of a window are called.
//!
//! A server has a task for each request: if each showed its own name, no two stacks were the same. So names that differ in
//! nothing but their numbers are shown as one if a window has many of them. So are those that differ in what looks like an
//! identifier: hexadecimal digits, a UUID.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::limits;
use crate::aggregate::{RawLoop, RawStack, RawWindow};
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
        Self::of_entries(stacks.iter().map(|stack| (stack.image, &*stack.tasks)), pythons)
    }

    /// Looks at the names in a window, those of suspended tasks included.
    pub(super) fn of_window(window: &RawWindow, pythons: &Pythons) -> Self {
        let running = window.stacks.iter().map(|stack| (stack.image, &*stack.tasks));
        let suspended = window.loops.iter().flat_map(places_of);
        Self::of_entries(running.chain(suspended), pythons)
    }

    fn of_entries<'a>(all: impl Iterator<Item = (ImageId, &'a [AsyncEntry])>, pythons: &Pythons) -> Self {
        let mut names: HashMap<(ImageId, String), HashSet<String>> = HashMap::new();
        for (image, entries) in all {
            for entry in entries {
                let AsyncEntry::Task(task) = entry else { continue };
                let Some(name) = pythons.task_name(image, &task.name) else { continue };
                let alike = without_identifiers(&name);
                if alike != name {
                    names.entry((image, alike)).or_default().insert(name);
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
        let alike = (image, without_identifiers(&name));
        let shown = if self.merged.contains(&alike) { alike.1 } else { name };
        format!("[task {shown}{shared}]").into()
    }
}

fn places_of(raw: &RawLoop) -> impl Iterator<Item = (ImageId, &[AsyncEntry])> {
    raw.places.iter().map(|(entries, _)| (raw.image, &**entries))
}

/// The lengths of the parts of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];
/// So many hexadecimal digits are a number without a decimal one among them; fewer may be a word.
const SURELY_HEX: usize = 8;

/// The name with an asterisk for each UUID, each hexadecimal number, and each other run of digits.
fn without_identifiers(name: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(name.len()), name);
    while let Some(first) = rest.chars().next() {
        let word = rest.len() - rest.trim_start_matches(|character: char| character.is_alphanumeric()).len();
        let uuid = uuid_length(rest);
        let taken = uuid.unwrap_or(word.max(first.len_utf8()));
        match uuid.is_some() || is_hex_number(&rest[..word]) {
            true => text.push('*'),
            false => push_without_digits(&rest[..taken], &mut text),
        }
        rest = &rest[taken..];
    }
    text
}

/// The length of the UUID that a text begins with.
fn uuid_length(text: &str) -> Option<usize> {
    let length = UUID.iter().sum::<usize>() + UUID.len() - 1;
    let (uuid, rest) = text.split_at_checked(length)?;
    let mut parts = uuid.split('-');
    let is_part = |length: &usize| parts.next().is_some_and(|part| part.len() == *length && is_hex(part));
    (UUID.iter().all(is_part) && !rest.starts_with(char::is_alphanumeric)).then_some(length)
}

fn is_hex_number(word: &str) -> bool {
    let is_number = word.len() >= SURELY_HEX || word.contains(|character: char| character.is_ascii_digit());
    is_number && is_hex(word)
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn push_without_digits(word: &str, text: &mut String) {
    let mut in_digits = false;
    for character in word.chars() {
        match character.is_ascii_digit() {
            true if in_digits => {}
            true => text.push('*'),
            false => text.push(character),
        }
        in_digits = character.is_ascii_digit();
    }
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
    }

    #[test]
    fn identifiers_are_told_from_words() {
        for (name, alike) in [
            ("Task-12", "Task-*"),
            ("req-8f3a", "req-*"),
            ("req-a3f9.worker7", "req-*.worker*"),
            ("deadbeef", "*"),
            ("feed the cafe", "feed the cafe"),
            ("550e8400-e29b-41d4-abcd-446655440000 of eu-1", "* of eu-*"),
            ("550e8400-e29b-41d4-abcd-44665544000g", "*-*-*-abcd-*g"),
            ("fetch Größe 12", "fetch Größe *"),
            ("12 of 12", "* of *"),
        ] {
            assert_eq!(without_identifiers(name), alike, "{name}");
        }
    }
}
