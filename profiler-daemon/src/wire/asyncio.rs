//! The tasks of asyncio behind the Python frames of a record.

use profiler_common::python::asyncio::{NAME_ASCII, NAME_AT, NAME_NUMBER, NAME_TEXT, SEVERAL, TASK, TASK_WORDS};
use profiler_common::python::{ENTRY_WORDS, stop};

use crate::profile::{AsyncEntry, AsyncName, AsyncTask, PythonFrame};

/// Splits the entries behind the user frames into those of Python frames and those of tasks.
pub(super) fn split_tasks(entries: &[u64]) -> (&[u64], &[u64]) {
    let first = entries.chunks_exact(ENTRY_WORDS).position(|entry| entry[0] == TASK);
    entries.split_at(first.map_or(entries.len(), |entry| entry * ENTRY_WORDS))
}

/// Decodes the tasks into `tasks`, leaf first. They are recorded from the running one on, each before its coroutines, and those
/// from the outermost to the innermost.
pub(super) fn decode_tasks(entries: &[u64], ending: u8, tasks: &mut Vec<AsyncEntry>) {
    tasks.clear();
    let (mut rest, mut begin) = (entries, 0);
    while let Some(entry) = rest.first_chunk::<ENTRY_WORDS>() {
        let [code, instruction, fingerprint] = *entry;
        let length = if code == TASK { TASK_WORDS } else { ENTRY_WORDS };
        if let Some(task) = rest.first_chunk::<TASK_WORDS>().filter(|_| code == TASK) {
            begin = tasks.len();
            tasks.push(AsyncEntry::Task(decode_task(task)));
        } else if code != TASK {
            // Inner coroutines come later, and stand before.
            tasks.insert(begin, AsyncEntry::Frame(PythonFrame { code, instruction, fingerprint, place: None }));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if !matches!(ending, stop::NONE | stop::COMPLETE) {
        tasks.push(AsyncEntry::Cut);
    }
}

fn decode_task(words: &[u64; TASK_WORDS]) -> AsyncTask {
    let (address, length) = (words[1], words[3]);
    let mut characters = [0; TASK_WORDS - NAME_AT];
    characters.copy_from_slice(&words[NAME_AT..]);
    let name = match words[2] & !SEVERAL {
        NAME_ASCII => AsyncName::Ascii { address, length, characters },
        NAME_TEXT => AsyncName::Text { address, length },
        NAME_NUMBER => AsyncName::Number { tag: length, digits: words[4] },
        _ => AsyncName::Unreadable,
    };
    AsyncTask { name, is_shared: words[2] & SEVERAL != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: u64, number: u64) -> [u64; TASK_WORDS] {
        let mut words = [0; TASK_WORDS];
        words[..5].copy_from_slice(&[TASK, 0x100, kind, 8, number]);
        words
    }

    fn number_of(entry: &AsyncEntry) -> String {
        match entry {
            AsyncEntry::Task(AsyncTask { name, is_shared }) => {
                format!("{}{}", name.text().unwrap_or_default(), if *is_shared { "+" } else { "" })
            }
            AsyncEntry::Frame(frame) => format!("{}", frame.code),
            AsyncEntry::Cut => "cut".to_owned(),
        }
    }

    #[test]
    fn coroutines_of_a_task_stand_before_it_the_innermost_first() {
        let mut words = vec![70, 0, 0, 0, 5, 0];
        words.extend(task(NAME_NUMBER, 1));
        words.extend(task(NAME_NUMBER | SEVERAL, 2));
        words.extend([90, 0, 0, 80, 0, 0]);
        words.extend(task(NAME_NUMBER, 3));
        words.extend([95, 0, 0]);
        let (python, tasks) = split_tasks(&words);
        assert_eq!(python, [70, 0, 0, 0, 5, 0]);
        let mut decoded = Vec::new();
        decode_tasks(tasks, stop::DEPTH, &mut decoded);
        let shown: Vec<_> = decoded.iter().map(number_of).collect();
        assert_eq!(shown, ["Task-1", "80", "90", "Task-2+", "95", "Task-3", "cut"]);
    }

    #[test]
    fn a_task_that_is_cut_short_is_no_task() {
        let mut decoded = Vec::new();
        decode_tasks(&task(NAME_ASCII, 0)[..6], stop::COMPLETE, &mut decoded);
        assert!(decoded.is_empty());
    }
}
