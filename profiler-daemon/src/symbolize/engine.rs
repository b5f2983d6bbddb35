//! The library that finds symbols, lines and inlined functions, behind one narrow door.
//!
//! It parses what processes wrote. A panic in it costs the answer and its caches, not the daemon.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{CodeInfo, Input, Reason, Sym, Symbolized, Symbolizer, evict};
use blazesym::{MaybeDefault, symbolize};

use super::demangle::demangle;
use super::limits;

/// A function at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    /// The demangled name.
    pub(super) name: String,
    /// The source file.
    pub(super) file: Option<String>,
    /// The line within the file.
    pub(super) line: Option<u32>,
    /// Whether it is inlined into the next.
    pub(super) inlined: bool,
}

/// The symbolizer of the library, which keeps its parsed files from call to call.
#[derive(Debug)]
pub(super) struct Engine(Symbolizer);

impl Engine {
    pub(super) fn new() -> Self {
        Self(Symbolizer::builder().enable_code_info(true).enable_inlined_fns(true).build())
    }

    /// The functions at an address of a module, innermost first; empty if none is known.
    pub(super) fn resolve_native(&mut self, path: &Path, address: u64, debug: bool) -> Vec<Function> {
        let plain = self.resolve_elf(path, address, false);
        let detailed = if debug { self.resolve_elf(path, address, true) } else { Vec::new() };
        if detailed.is_empty() { plain } else { with_qualified_name(detailed, plain) }
    }

    fn resolve_elf(&mut self, path: &Path, address: u64, debug: bool) -> Vec<Function> {
        let mut elf = Elf::new(path);
        elf.debug_syms = debug;
        self.resolve(&Source::Elf(elf), Input::VirtOffset(address)).unwrap_or_default()
    }

    /// The function at an address of the kernel; its symbol table has names only.
    pub(super) fn resolve_kernel(&mut self, address: u64) -> Vec<Function> {
        let kernel = Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() };
        self.resolve(&Source::Kernel(kernel), Input::AbsAddr(address)).unwrap_or_default()
    }

    /// Lets go of a file.
    pub(super) fn forget(&mut self, path: &Path) {
        if self.0.evict(&evict::Evict::from(evict::Elf::new(path))).is_err() {
            *self = Self::new();
        }
    }

    /// `None` if the source is broken.
    fn resolve(&mut self, source: &Source<'_>, input: Input<u64>) -> Option<Vec<Function>> {
        let symbolizer = &self.0;
        let attempt = catch_unwind(AssertUnwindSafe(|| match symbolizer.symbolize_single(source, input) {
            Ok(Symbolized::Sym(symbol)) => Some(functions_of(&symbol)),
            Ok(Symbolized::Unknown(Reason::IgnoredError)) | Err(_) => None,
            Ok(Symbolized::Unknown(_)) => Some(Vec::new()),
        }));
        attempt.unwrap_or_else(|_| {
            *self = Self::new();
            None
        })
    }
}

/// Debug information made for line numbers only knows functions by their last name; the symbol table has the full path.
fn with_qualified_name(mut detailed: Vec<Function>, plain: Vec<Function>) -> Vec<Function> {
    if let (Some(outermost), Some(symbol)) = (detailed.last_mut(), plain.into_iter().next_back())
        && !outermost.name.contains("::")
        && symbol.name.contains("::")
    {
        outermost.name = symbol.name;
    }
    detailed
}

fn functions_of(symbol: &Sym<'_>) -> Vec<Function> {
    let inlined = symbol.inlined.iter().rev().take(limits::INLINED);
    let inner = inlined.map(|function| function_of(&function.name, function.code_info.as_ref(), true));
    inner.chain([function_of(&symbol.name, symbol.code_info.as_deref(), false)]).collect()
}

fn function_of(name: &str, code: Option<&symbolize::CodeInfo<'_>>, inlined: bool) -> Function {
    Function {
        name: cut(&demangle(name)).to_owned(),
        file: code.map(|code: &CodeInfo<'_>| cut(&code.to_path().to_string_lossy()).to_owned()),
        line: code.and_then(|code| code.line),
        inlined,
    }
}

/// The text up to the limit, cut between characters.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("abc"), "abc");
        let long = "ä".repeat(limits::TEXT_BYTES);
        assert_eq!(cut(&format!("x{long}")).len(), limits::TEXT_BYTES - 1);
    }
}
