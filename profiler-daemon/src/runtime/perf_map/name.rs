//! What the names in a perf map mean, by the runtime that wrote them.

use std::sync::Arc;

use crate::process::Address;
use crate::profile::FrameKind;
use crate::runtime::ManagedFrame;

/// Reads a name of a perf map, which a Java virtual machine wrote or another runtime. Untrusted text in, untrusted text out.
pub(super) fn parse_name(name: &[u8], is_jvm: bool, start: Address) -> ManagedFrame {
    let text = String::from_utf8_lossy(name);
    let (kind, function, file) = if let Some(python) = text.strip_prefix("py::") {
        parse_python(python)
    } else if is_jvm {
        parse_jvm(&text)
    } else {
        (FrameKind::Jit, text.into_owned(), None)
    };
    ManagedFrame { kind, function: function.into(), file: file.map(Arc::from), line: None, start }
}

/// `QUALNAME:FILE`, as CPython writes it behind `py::`.
fn parse_python(text: &str) -> (FrameKind, String, Option<String>) {
    match text.split_once(':') {
        Some((function, file)) => (FrameKind::Python, function.to_owned(), Some(file.to_owned())),
        None => (FrameKind::Python, text.to_owned(), None),
    }
}

/// A method, or else a part of the virtual machine: the bytecode interpreter, an adapter or a stub.
fn parse_jvm(text: &str) -> (FrameKind, String, Option<String>) {
    match parse_signature(text).or_else(|| parse_descriptor(text)) {
        Some(method) => (FrameKind::Jvm, without_addresses(&method), None),
        None => (FrameKind::Interpreter, text.to_owned(), None),
    }
}

/// `RETURN pkg.Class.method(ARGUMENTS)`, as HotSpot writes it.
fn parse_signature(text: &str) -> Option<String> {
    let head = text.strip_suffix(')').and_then(|_| text.split_once('('))?.0;
    let method = head.rsplit(' ').next()?;
    method.contains('.').then(|| method.to_owned())
}

/// `Lpkg/Class;::method`, as agents write it, perhaps with a signature behind.
fn parse_descriptor(text: &str) -> Option<String> {
    let (class, method) = text.strip_prefix('L')?.split_once(";::")?;
    let method = method.split('(').next()?;
    Some(format!("{}.{method}", class.replace('/', ".")))
}

/// Hidden classes carry an address that differs in every run, as in `$$Lambda/0x00007f8a1c2b3d40`: it is cut out.
fn without_addresses(method: &str) -> String {
    let Some(at) = method.find("/0x").or_else(|| method.find("+0x")) else { return method.to_owned() };
    let tail = method[at + 3..].trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    format!("{}{tail}", &method[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_names_give_function_and_file() {
        for (text, function, file) in [
            ("A.meth.<locals>.<lambda>:/tmp/pm/w.py", "A.meth.<locals>.<lambda>", Some("/tmp/pm/w.py")),
            ("_find_and_load:<frozen importlib._bootstrap>", "_find_and_load", Some("<frozen importlib._bootstrap>")),
            ("f:/srv/a:b c.py", "f", Some("/srv/a:b c.py")),
            ("odd", "odd", None),
        ] {
            assert_eq!(parse_python(text), (FrameKind::Python, function.to_owned(), file.map(str::to_owned)));
        }
    }

    #[test]
    fn methods_keep_class_and_name() {
        for (text, method) in [
            ("long com.foo.Bar.compute(int, java.lang.String)", "com.foo.Bar.compute"),
            ("void java.lang.Object.<init>()", "java.lang.Object.<init>"),
            ("java.lang.Object[] a.B$C.d(java.lang.Object[])", "a.B$C.d"),
            ("Lcom/foo/Bar;::method", "com.foo.Bar.method"),
            ("Lcom/foo/Bar;::method(I)V", "com.foo.Bar.method"),
            ("void com.foo.Bar$$Lambda/0x00000000714fa148.run()", "com.foo.Bar$$Lambda.run"),
            ("void com.foo.Bar$$Lambda$6+0x00007f8a1c2b3d40.run()", "com.foo.Bar$$Lambda$6.run"),
        ] {
            assert_eq!(parse_jvm(text), (FrameKind::Jvm, method.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn parts_of_the_virtual_machine_are_the_interpreter() {
        for text in ["Interpreter", "I2C/C2I adapters", "StubRoutines (1)", "new_instance Runtime1 stub", "L;", ")("] {
            assert_eq!(parse_jvm(text), (FrameKind::Interpreter, text.to_owned(), None));
        }
    }
}
