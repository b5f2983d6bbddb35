//! What a suspended task awaits, told by the functions of asyncio it awaits in.
//!
//! A future says nothing of who will set it. Where a task awaits one in a function of the standard library that is made for a
//! purpose, that is told; everything else counts as a reply.

use super::PythonFunction;
use crate::profile::Awaited;

/// Functions of asyncio, by the end of their file's path; nothing stands for all of a file.
const FUNCTIONS: &[(&str, &str, Awaited)] = &[
    ("asyncio/tasks.py", "sleep", Awaited::Timer),
    ("asyncio/locks.py", "", Awaited::Task),
    ("asyncio/queues.py", "", Awaited::Task),
    ("asyncio/threads.py", "to_thread", Awaited::Thread),
    ("asyncio/base_events.py", "Server.serve_forever", Awaited::Client),
];

/// What a task awaits whose coroutines are these functions, the innermost first.
pub fn awaited_in(functions: impl Iterator<Item = PythonFunction>) -> Awaited {
    let mut functions = functions.take_while(|function| function.file.contains("asyncio/"));
    functions.find_map(|function| kind_of(&function)).unwrap_or(Awaited::Reply)
}

fn kind_of(function: &PythonFunction) -> Option<Awaited> {
    let is_it = |(file, name, _): &&(&str, &str, Awaited)| {
        function.file.ends_with(file) && (name.is_empty() || *function.name == **name)
    };
    FUNCTIONS.iter().find(is_it).map(|(.., kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(functions: &[(&str, &str)]) -> Awaited {
        awaited_in(functions.iter().map(|(name, file)| PythonFunction {
            name: (*name).into(),
            file: (*file).into(),
            line: None,
            calling: false,
        }))
    }

    #[test]
    fn functions_made_for_a_purpose_tell_what_is_awaited() {
        const LIBRARY: &str = "/usr/lib/python3.14/asyncio";
        let within = |file: &str| format!("{LIBRARY}/{file}");
        for (name, file, told) in [
            ("sleep", "tasks.py", Awaited::Timer),
            ("wait_for", "tasks.py", Awaited::Reply),
            ("Lock.acquire", "locks.py", Awaited::Task),
            ("Queue.get", "queues.py", Awaited::Task),
            ("to_thread", "threads.py", Awaited::Thread),
            ("Server.serve_forever", "base_events.py", Awaited::Client),
            ("StreamReader._wait_for_data", "streams.py", Awaited::Reply),
        ] {
            assert_eq!(awaited(&[(name, &within(file)), ("main", "/srv/app.py")]), told, "{name}");
        }
        assert_eq!(awaited(&[("main", "/srv/app.py"), ("sleep", &within("tasks.py"))]), Awaited::Reply);
        assert_eq!(awaited(&[]), Awaited::Reply);
    }

    #[test]
    fn an_inner_function_without_a_purpose_leaves_the_word_to_the_one_that_awaits_it() {
        let (inner, outer) = ("/lib/asyncio/mixins.py", "/lib/asyncio/queues.py");
        assert_eq!(awaited(&[("helper", inner), ("Queue.join", outer)]), Awaited::Task);
    }
}
