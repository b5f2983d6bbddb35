//! Untrusted names made safe to print: nothing a process calls itself can steer a terminal or break a line.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every control, line-breaking, invisible and bidirectional character written as `\n`, `\t` or `\u{…}`.
///
/// A backslash stays as it is: the result is for reading, not for parsing back.
pub fn escape_untrusted(text: &str) -> Cow<'_, str> {
    if !text.chars().any(must_escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        push_escaped(&mut safe, character);
    }
    Cow::Owned(safe)
}

fn push_escaped(safe: &mut String, character: char) {
    match character {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        _ if must_escape(character) => {
            write!(safe, "\\u{{{:x}}}", u32::from(character)).expect("writing to a string succeeds");
        }
        _ => safe.push(character),
    }
}

fn must_escape(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Soft hyphen, Arabic letter mark, Hangul and Mongolian fillers.
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}'
            // Zero-width characters, bidirectional marks, line and paragraph separators, embeddings, overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators, isolates, deprecated formatting.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotations, noncharacters, tags.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_of_any_language_pass_unchanged_and_uncopied() {
        for name in ["main", "Größe::<T>", "計算", "a b;c", "C:\\x"] {
            assert!(matches!(escape_untrusted(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn whatever_could_steer_a_terminal_or_reorder_a_line_is_spelled_out() {
        for (name, safe) in [
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("x\u{202e}gpj.exe", "x\\u{202e}gpj.exe"),
            ("\u{2066}i\u{2069}", "\\u{2066}i\\u{2069}"),
            ("nul\0del\x7fcsi\u{9b}", "nul\\u{0}del\\u{7f}csi\\u{9b}"),
            ("line\u{2028}sep\u{feff}", "line\\u{2028}sep\\u{feff}"),
        ] {
            assert_eq!(escape_untrusted(name), safe);
        }
    }
}
