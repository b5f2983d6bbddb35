//! Names of C++ and Rust functions as their sources spell them. Other names stay as they are.

use std::borrow::Cow;

use cpp_demangle::{DemangleOptions, Symbol};

/// The name as written in the source, without the hash of a Rust function.
///
/// A C function may be called `f` or `St`, which would be a type in a C++ symbol: only what begins like a mangled function is one.
pub(super) fn demangle(name: &str) -> Cow<'_, str> {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return Cow::Owned(format!("{rust:#}"));
    }
    if !name.starts_with("_Z") {
        return Cow::Borrowed(name);
    }
    let symbol = Symbol::new(name).ok();
    let text = symbol.and_then(|symbol| symbol.demangle_with_options(&DemangleOptions::new().no_return_type()).ok());
    text.map_or(Cow::Borrowed(name), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn mangled_names_are_spelled_out() {
        let cases = [
            ("_ZN5faiss11IndexFlatL26searchEl", "faiss::IndexFlatL2::search(long)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ];
        for (mangled, plain) in cases {
            assert_eq!(demangle(mangled), plain);
        }
    }

    #[test]
    fn names_of_c_functions_are_no_types() {
        for name in ["f", "v", "St", "Sa", "Dn", "Pc", "main", "_start", "_Z", "_ZZZ", ""] {
            assert_eq!(demangle(name), name);
        }
    }
}
