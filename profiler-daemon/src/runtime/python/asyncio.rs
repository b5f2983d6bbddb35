//! Where asyncio keeps its tasks: what its C module says about itself (3.14 on).
//!
//! The module may be a file of its own, or part of the interpreter. What it says stands in a section of that file, which has no
//! symbol, so this is the one place where a file is asked and not the process's memory: the file that is mapped, already open.
//! ([3.14](https://github.com/python/cpython/blob/v3.14.0/Modules/_asynciomodule.c))

use profiler_common::python::asyncio::Asyncio;
use profiler_common::python::interpreter::CODE_WORDS;

use super::detect::Python;
use super::pending::TaskLists;
use crate::process::elf::{Elf, u64_at};
use crate::process::{Executable, Image, MappedInode};
use crate::runtime::limits;

/// The section.
const SECTION: &[u8] = b".AsyncioDebug";
/// Its words.
const WORDS: usize = 13;
/// A node of a list: pointers to the next one and to the one before.
const NODE_BYTES: u64 = 16;
/// What the file of the module is called, with an ending that names the version.
const MODULE: &str = "_asyncio.";

/// What walks and looks need to know of the tasks of an image. `None` if it has not loaded asyncio, or if nothing is published of it.
pub(super) fn detect(image: &Image, interpreter: MappedInode, python: &Python) -> Option<TaskLists> {
    let known = python.layout.asyncio?;
    let is_candidate = |executable: &Executable| executable.name.starts_with(MODULE);
    let files = image.code().filter_map(|(mapping, executable)| {
        executable.filter(|executable| mapping.inode == interpreter || is_candidate(executable))
    });
    let mut files: Vec<_> = files.collect();
    files.dedup_by_key(|executable| executable.id);
    files.into_iter().take(limits::ASYNCIO_FILES).find_map(|executable| {
        let file = executable.file()?;
        let section = Elf::read(&file).ok()?.find(SECTION)?.read(&file, limits::ASYNCIO_SECTION_BYTES).ok()?;
        decode(&section, known)
    })
}

/// Adds what the section says. `None` if it contradicts itself or the objects are larger than a walk reads.
fn decode(section: &[u8], known: Asyncio) -> Option<TaskLists> {
    let words: Vec<_> = section.chunks_exact(8).map(|word| u64_at(word, 0)).collect();
    let [task, name, awaited_by, is_task, is_set, coroutine, node, _, _, thread, running_loop, running, tasks] =
        <[u64; WORDS]>::try_from(words).ok()?;
    let within = |field: u64, bytes: u64, whole: u64| {
        (field.checked_add(bytes)? <= whole).then_some(field).and_then(|field| u32::try_from(field).ok())
    };
    let word = |field: u64| within(field, 8, task).filter(|field| field % 8 == 0);
    let ends = [name, awaited_by, is_task, is_set, coroutine].map(|field| field.saturating_add(8) & !7);
    let task_bytes = u32::try_from(ends.into_iter().max()?).ok()?;
    if task_bytes > 8 * CODE_WORDS as u32 || task > limits::ASYNCIO_TASK_BYTES {
        return None;
    }
    let fields = Asyncio {
        thread_task: within(running, 8, thread)?,
        task_bytes,
        task_name: word(name)?,
        task_awaited_by: word(awaited_by)?,
        task_is_task: within(is_task, 1, task)?,
        task_awaited_by_is_set: within(is_set, 1, task)?,
        task_coroutine: word(coroutine)?,
        ..known
    };
    Some(TaskLists {
        tasks: fields,
        thread_loop: within(running_loop, 8, thread)?,
        thread_tasks: within(tasks, NODE_BYTES, thread)?,
        task_node: within(node, NODE_BYTES, task)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 3.14.10.
    const PUBLISHED: [u64; WORDS] = [168, 136, 96, 108, 109, 128, 152, 225_864, 10_880, 936, 864, 872, 880];

    fn decoded(words: &[u64]) -> Option<TaskLists> {
        decode(bytemuck::cast_slice(words), Asyncio::default())
    }

    #[test]
    fn the_offsets_of_tasks_are_read_from_the_section() {
        let lists = decoded(&PUBLISHED).unwrap();
        assert_eq!((lists.thread_loop, lists.thread_tasks, lists.task_node), (864, 880, 152));
        let asyncio = lists.tasks;
        assert_eq!((asyncio.thread_task, asyncio.task_bytes), (872, 144));
        assert_eq!((asyncio.task_name, asyncio.task_awaited_by, asyncio.task_coroutine), (136, 96, 128));
        assert_eq!((asyncio.task_is_task, asyncio.task_awaited_by_is_set), (108, 109));
    }

    #[test]
    fn what_contradicts_itself_is_not_believed() {
        for (at, word) in
            [(0, 136), (1, 135), (2, 168), (3, u64::MAX), (5, 161), (6, 153), (9, 872), (11, 930), (12, 921)]
        {
            let mut damaged = PUBLISHED;
            damaged[at] = word;
            assert_eq!(decoded(&damaged), None, "word {at}");
        }
        assert_eq!(decoded(&PUBLISHED[1..]), None);
    }

    #[test]
    fn tasks_larger_than_a_walk_reads_are_left_alone() {
        let mut large = PUBLISHED;
        (large[0], large[1]) = (4096, 256);
        assert_eq!(decoded(&large), None);
    }
}
