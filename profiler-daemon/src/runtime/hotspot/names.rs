//! The texts a frame shows, out of those a virtual machine keeps: classes without addresses, files with their packages.
//!
//! All texts are untrusted; any bytes have an answer.

/// Between the name of a class that was made at run time and where it lies; which, depends on the release.
const BEFORE_ADDRESS: [char; 2] = ['/', '+'];
const LAMBDA: &str = "$$Lambda";

/// Text as class files have it: UTF-8, but for zero, which takes two bytes, and characters of two halves, which take three
/// bytes each.
pub fn decode_text(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\0')
    {
        return text.to_owned();
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, ..] = rest {
        let (unit, length) = decode_unit(rest).unwrap_or((u16::from(*first), 1));
        let is_lone = length == 1 && *first >= 0x80;
        units.push(if is_lone { char::REPLACEMENT_CHARACTER as u16 } else { unit });
        rest = &rest[length..];
    }
    String::from_utf16_lossy(&units)
}

/// The character, or half of one, that some bytes begin with, and how many bytes it takes.
fn decode_unit(bytes: &[u8]) -> Option<(u16, usize)> {
    let low = |byte: u8| (byte & 0xc0 == 0x80).then_some(u16::from(byte & 0x3f));
    match *bytes {
        [first @ ..0x80, ..] => Some((first.into(), 1)),
        [first @ 0xc0..=0xdf, second, ..] => Some((u16::from(first & 0x1f) << 6 | low(second)?, 2)),
        [first @ 0xe0..=0xef, second, third, ..] => {
            Some((u16::from(first & 0x0f) << 12 | low(second)? << 6 | low(third)?, 3))
        }
        _ => None,
    }
}

/// The name of a class without what differs from run to run: where it lies, and which lambda of its class it is.
pub fn without_address(class: &str) -> &str {
    let named = class.rsplit_once(BEFORE_ADDRESS).filter(|(_, address)| is_address(address)).map(|(name, _)| name);
    let name = named.unwrap_or(class);
    match name.rsplit_once('$') {
        Some((before, number)) if is_number(number) && (named.is_some() || before.ends_with(LAMBDA)) => before,
        _ => name,
    }
}

fn is_address(text: &str) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => is_number(text),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// A method as frames show it, `java.util.HashMap.put`, of a class as the virtual machine has it, `java/util/HashMap`.
pub fn method_name(class: &str, method: &str) -> String {
    format!("{}.{method}", without_address(class).replace('/', "."))
}

/// A source file with the package its class is in: `java/util/HashMap.java`.
pub fn file_name(class: &str, file: &str) -> String {
    match without_address(class).rsplit_once('/') {
        Some((package, _)) => format!("{package}/{file}"),
        None => file.to_owned(),
    }
}

/// What a piece of code that is no method is shown as: its name in brackets.
pub fn stub_name(name: &[u8]) -> String {
    let text: String =
        name.iter().map(|byte| char::from(*byte)).filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    format!("[{}]", text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_lose_their_addresses_and_lambdas_their_numbers() {
        for (class, expected) in [
            ("java/util/HashMap", "java/util/HashMap"),
            ("Mixed$1", "Mixed$1"),
            ("a/Foo$$Lambda/0x00000000714fa148", "a/Foo$$Lambda"),
            ("a/Foo$$Lambda+0x00000000714fa148", "a/Foo$$Lambda"),
            ("Foo$$Lambda$6+0x00007f8a10c01a00", "Foo$$Lambda"),
            ("Foo$$Lambda$14/0x0000000100066840", "Foo$$Lambda"),
            ("Foo$$Lambda$14/123456789", "Foo$$Lambda"),
            ("Foo$$Lambda$14", "Foo$$Lambda"),
            ("java/lang/invoke/LambdaForm$MH+0x0000000800c03000", "java/lang/invoke/LambdaForm$MH"),
            ("java/lang/invoke/LambdaForm$DMH$5/0x0000000800c03000", "java/lang/invoke/LambdaForm$DMH"),
            ("a/0xyz", "a/0xyz"),
            ("a/b+c", "a/b+c"),
            ("a/0x", "a/0x"),
            ("", ""),
            ("$", "$"),
            ("$1", "$1"),
        ] {
            assert_eq!(without_address(class), expected);
        }
    }

    #[test]
    fn methods_and_files_have_their_package() {
        assert_eq!(method_name("java/util/HashMap", "put"), "java.util.HashMap.put");
        assert_eq!(method_name("Mixed$$Lambda$3+0x1", "get"), "Mixed$$Lambda.get");
        assert_eq!(file_name("java/util/HashMap$Node", "HashMap.java"), "java/util/HashMap.java");
        assert_eq!(file_name("p/Mixed$$Lambda$3/0x1", "Mixed.java"), "p/Mixed.java");
        assert_eq!(file_name("Mixed", "Mixed.java"), "Mixed.java");
    }

    #[test]
    fn texts_of_class_files_become_texts() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            ("函数".as_bytes(), "函数"),
            (b"a\xc0\x80b", "a\0b"),
            (b"\xed\xa0\xbd\xed\xb8\x80!", "😀!"),
            (b"\xed\xa0\xbd!", "\u{fffd}!"),
            (b"a\xffb\xe5", "a\u{fffd}b\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(decode_text(bytes), expected);
        }
    }

    #[test]
    fn code_that_is_no_method_is_shown_in_brackets() {
        assert_eq!(stub_name(b"StubRoutines (1)"), "[StubRoutines (1)]");
        assert_eq!(stub_name(b"Interpreter"), "[Interpreter]");
        assert_eq!(stub_name(b" a\x1b[0mb\xff "), "[a[0mb]");
    }
}
