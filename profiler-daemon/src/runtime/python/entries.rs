//! Functions of the interpreter that do nothing but begin an activation of its loop, by the names in `entries.json`: below a
//! Python function they say no more than that it was called.

use std::sync::LazyLock;

use crate::profile::{Frame, FrameKind, Name};

static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| serde_json::from_str(include_str!("entries.json")).expect("the names are tested"));

/// Whether a native frame is one of them. Compilers append what they did to a copy of a function behind a dot.
pub fn is_entry(frame: &Frame) -> bool {
    let is_native = matches!(frame.kind, FrameKind::Native | FrameKind::Interpreter);
    let is_known = |name: &str| NAMES.contains(&name.split('.').next().unwrap_or(name));
    is_native && matches!(&frame.name, Name::Known(name) if is_known(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_the_loop_is_told_by_its_name_whatever_copy_it_is() {
        let native = |name: &str| Frame { kind: FrameKind::Native, ..Frame::marker(name) };
        for (name, is_one) in [
            ("_PyEval_Vector", true),
            ("_PyFunction_Vectorcall.localalias", true),
            ("function_code_fastcall.constprop.0", true),
            ("_PyEval_VectorX", false),
            ("slot_tp_call", false),
        ] {
            assert_eq!(is_entry(&native(name)), is_one, "{name}");
        }
        assert!(!is_entry(&Frame { kind: FrameKind::Python, ..native("_PyEval_Vector") }));
    }
}
