//! Folded stacks: one line per stack, `process;thread?;root;…;leaf nanoseconds`, read by all flame graph tools.
//!
//! Kernel frames end in `_[k]`, inlined ones in `_[i]`, code generated at run time in `_[j]`. A wait ends in a synthetic leaf such
//! as `[wait disk]`, queueing in `[runq]`; computing has none. In names, `;` becomes `:` and control characters are spelled out.

use std::collections::BTreeMap;
use std::io;

use super::label::{frame_label, stack_of, state_frame};
use super::{ExportError, ExportOptions};
use crate::profile::{Frame, FrameKind};
use crate::report::{Calibrated, Entry, escape_untrusted};

/// Writes folded stacks, sorted.
pub fn write_folded(
    calibrated: &Calibrated<'_>,
    options: &ExportOptions,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let mut out = io::BufWriter::new(out);
    for (stack, ns) in fold_stacks(calibrated, options) {
        io::Write::write_fmt(&mut out, format_args!("{stack} {ns}\n"))?;
    }
    Ok(io::Write::flush(&mut out)?)
}

/// The nanoseconds of every distinct folded stack, in order.
pub(super) fn fold_stacks(calibrated: &Calibrated<'_>, options: &ExportOptions) -> BTreeMap<String, u64> {
    let mut folded = BTreeMap::new();
    for entry in &calibrated.entries {
        *folded.entry(fold_entry(calibrated, entry, options)).or_default() += entry.ns;
    }
    folded
}

fn fold_entry(calibrated: &Calibrated<'_>, entry: &Entry, options: &ExportOptions) -> String {
    let task = &calibrated.profile.tasks[entry.task as usize];
    let mut names = vec![clean(&task.process_name)];
    if options.threads {
        names.push(clean(&task.thread_name));
    }
    let stack = stack_of(calibrated, entry);
    names.extend(stack.leaf_first().rev().map(|frame| clean(&frame_label(frame, options)) + suffix(frame)));
    names.extend(state_frame(entry));
    unambiguous(names.join(";"))
}

fn suffix(frame: &Frame) -> &'static str {
    match frame.kind {
        FrameKind::Kernel => "_[k]",
        FrameKind::Jit | FrameKind::Jvm => "_[j]",
        _ if frame.inlined => "_[i]",
        _ => "",
    }
}

/// A name that cannot end a frame or a line.
fn clean(name: &str) -> String {
    let name = escape_untrusted(name.trim()).replace(';', ":");
    if name.is_empty() { "[no name]".to_owned() } else { name }
}

/// Readers take a number at the end for a count, and `# ` at the start for a comment.
fn unambiguous(mut stack: String) -> String {
    if stack.starts_with("# ") {
        stack.replace_range(1..2, "_");
    }
    match stack.rfind(' ') {
        Some(at) if stack[at + 1..].chars().all(|c| c.is_ascii_digit() || c == '.') => {
            stack.replace_range(at..at + 1, "_");
        }
        _ => {}
    }
    stack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_pass_for_a_separator_a_count_or_a_comment() {
        for (name, cleaned) in
            [("a;b\nc", "a:b\\nc"), (" \t", "[no name]"), ("\x1b[2J", "\\u{1b}[2J"), ("operator new", "operator new")]
        {
            assert_eq!(clean(name), cleaned);
        }
        for (stack, safe) in [
            ("# p;f", "#_p;f"),
            ("p;worker 12", "p;worker_12"),
            ("p;worker 1.5", "p;worker_1.5"),
            ("p 1;f", "p 1;f"),
            ("p (2)", "p (2)"),
        ] {
            assert_eq!(unambiguous(stack.to_owned()), safe);
        }
    }
}
