//! Names of C++ and Rust functions as their sources spell them. Other names stay as they are.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};

use super::limits;

/// What begins the mark that a compiler puts behind the name of a part or a variant of a function, such as `.cold`,
/// `.part.0`, `.isra.0`, `.constprop.0` or `.llvm.123`.
const PART_MARK: char = '.';

/// The name as written in the source: without the hash of a Rust function, and without the mark of a part that a compiler made
/// of it. It may be cut at [`limits::TEXT_BYTES`].
///
/// A C function may be called `f` or `St`, which would be a type in a C++ symbol: only what begins like a mangled function is one.
pub(super) fn demangle(name: &str) -> Cow<'_, str> {
    if name.len() > limits::MANGLED_BYTES {
        return Cow::Borrowed(name);
    }
    let is_mangled = name.starts_with("_Z") || name.starts_with("_R");
    let text = if is_mangled { without_mark(name).find_map(plain) } else { None };
    text.map_or(Cow::Borrowed(name), Cow::Owned)
}

/// The name without the mark of a part, which is all from the first dot on, or from the last `E` on where dots are part of
/// the name, as in older names of Rust; and the name itself.
fn without_mark(name: &str) -> impl Iterator<Item = &str> {
    let before_dot = name.split(PART_MARK).next();
    let before_mark = name.rfind("E.").map(|end| &name[..=end]);
    before_dot.into_iter().chain(before_mark).chain([name])
}

/// `None` if the name is not mangled.
fn plain(name: &str) -> Option<String> {
    let mut text = Bounded(String::new());
    // What could not be written does not fit.
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        let _ = write!(text, "{rust:#}");
        return Some(text.0);
    }
    let symbol = name.starts_with("_Z").then(|| Symbol::new(name).ok())??;
    let written = symbol.structured_demangle(&mut text, &DemangleOptions::new().no_return_type());
    (written.is_ok() || text.is_full()).then_some(text.0)
}

/// A text that takes no more than fits: a few letters can stand for a name of any length.
struct Bounded(String);

impl Bounded {
    fn is_full(&self) -> bool {
        self.0.len() >= limits::TEXT_BYTES
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_full() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_demangled(cases: &[(&str, &str)]) {
        for (mangled, plain) in cases {
            assert_eq!(demangle(mangled), *plain, "{mangled}");
        }
    }

    #[test]
    fn cpp_names_are_spelled_out() {
        assert_demangled(&[
            ("_ZN5faiss11IndexFlatL26searchEl", "faiss::IndexFlatL2::search(long)"),
            ("_ZN4shop6BasketIPiE5priceES1_", "shop::Basket<int*>::price(int*)"),
            ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back(int&&)"),
            ("_ZZN4shop5applyEiENKUliE_clEi", "shop::apply(int)::{lambda(int)#1}::operator()(int) const"),
            ("_ZN12_GLOBAL__N_16secretEv", "(anonymous namespace)::secret()"),
            ("_ZN1AC1Ev", "A::A()"),
            ("_ZN1AD0Ev", "A::~A()"),
            ("_ZlsRSoRK1A", "operator<<(std::ostream&, A const&)"),
            ("_ZN1AcvbEv", "A::operator bool()"),
            ("_Z3sumIJiidEEdDpT_", "sum<int, int, double>(int, int, double)"),
            ("_ZThn16_N1B3runEv", "{virtual override thunk({offset(-16)}, B::run())}"),
        ]);
    }

    #[test]
    fn parts_and_variants_of_a_function_have_its_name() {
        assert_demangled(&[
            ("_ZN4shop5applyEi.cold", "shop::apply(int)"),
            ("_ZN4shop5applyEi.part.0", "shop::apply(int)"),
            ("_ZN4shop5applyEi.isra.0", "shop::apply(int)"),
            ("_ZN4shop5applyEi.constprop.0.isra.0.cold", "shop::apply(int)"),
            ("_ZN4shop5applyEi.llvm.1234567890", "shop::apply(int)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE.llvm.123", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo.cold", "mycrate::foo"),
            ("_ZN19_$LT$a..B$u20$C$GT$4drop17h0123456789abcdefE.isra.0", "<a::B C>::drop"),
        ]);
    }

    #[test]
    fn rust_names_are_spelled_out_without_their_hash() {
        assert_demangled(&[
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            (
                "_ZN60_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789abcdefE",
                "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
            ),
            ("_ZN3foo3bar28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "foo::bar::{{closure}}"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_RNCNvCs1234_7mycrate3foo0", "mycrate::foo::{closure#0}"),
            ("_RINvCs1234_7mycrate3fooiE", "mycrate::foo::<isize>"),
            ("_RNvXCs1234_7mycrateNtB2_3FooNtB2_3Bar3run", "<mycrate::Foo as mycrate::Bar>::run"),
        ]);
    }

    #[test]
    fn names_that_are_not_mangled_stay_as_they_are() {
        for name in
            ["f", "v", "St", "Sa", "Dn", "Pc", "main", "_start", "_Z", "_ZZZ", "", "_R", "_Rust", "main.main.func1"]
        {
            assert_eq!(demangle(name), name);
        }
        for name in ["finish_task_switch.isra.0", "memcpy.cold", "go.(*T).run", ".", "_.x", "_Z.cold"] {
            assert_eq!(demangle(name), name);
        }
    }

    #[test]
    fn a_name_that_grows_without_end_is_cut() {
        let letters: String = ('0'..='9').chain('A'..='Z').collect();
        // Each parameter is a pair of the one before.
        let pairs: String = letters.chars().take(30).map(|at| format!("S_IS{at}_S{at}_E")).collect();
        let mangled = format!("_Z1f1PIiiE{pairs}");
        let cut = demangle(&mangled);
        assert!(cut.starts_with("f(P<int, int>, P<P<int, int>, P<int, int> >, P<P<P<"), "{cut}");
        assert!((limits::TEXT_BYTES..2 * limits::TEXT_BYTES).contains(&cut.len()));
        let long = format!("_ZN{}E", "1a".repeat(limits::MANGLED_BYTES));
        assert_eq!(demangle(&long), long);
    }
}
