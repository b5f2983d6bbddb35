//! The compiler, linker and object tools for the kernel half, found on this machine.
//!
//! `core` for `bpfel-unknown-none` comes either prebuilt with a distribution's compiler (Debian: `rustc-web` and
//! `libstd-rust-web-dev-bpf`) or is built from source by a nightly of rustup with `rust-src`. The linker reads the
//! compiler's bitcode, so both must use the same LLVM: its version is read from the compiler, never assumed.
use crate::command::{Command, find_program, is_executable};
use std::path::{Path, PathBuf};

/// The linker's version; `cargo install` builds it for the compiler's LLVM.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
const TARGET: &str = "bpfel-unknown-none";

/// A compiler that can produce code for the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    origin: Origin,
    /// Its version line, as in `rustc 1.96.0 (...)`.
    pub(crate) version: String,
    /// The LLVM it was built with.
    pub(crate) llvm: LlvmVersion,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// In `/usr/bin`, with `core` for BPF in its sysroot.
    Distribution,
    /// A nightly of rustup, with the sources of `core`.
    RustupNightly,
}

/// Major and minor version of an LLVM; the minor one is part of the name of the linker's build setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LlvmVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Compiler {
    /// The first compiler on this machine that can build the kernel half.
    pub(crate) fn detect() -> Option<Self> {
        Self::distribution().or_else(Self::rustup_nightly)
    }

    fn distribution() -> Option<Self> {
        let rustc = Path::new("/usr/bin/rustc");
        let usable = is_executable(rustc) && is_executable(Path::new("/usr/bin/cargo"));
        let sysroot = Command::new(rustc).args(["--print", "sysroot"]).read().filter(|_| usable)?;
        let library = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
        holds_core(&library).then(|| Self::asked(Command::new(rustc), Origin::Distribution))?
    }

    fn rustup_nightly() -> Option<Self> {
        let rustc = || Command::new("rustup").args(["run", "nightly", "rustc"]);
        let sysroot = rustc().args(["--print", "sysroot"]).read()?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
        sources.is_dir().then(|| Self::asked(rustc(), Origin::RustupNightly))?
    }

    fn asked(rustc: Command, origin: Origin) -> Option<Self> {
        let text = rustc.arg("-vV").read()?;
        Some(Self { origin, version: text.lines().next()?.to_owned(), llvm: LlvmVersion::parse(&text)? })
    }

    /// `cargo build` for the kernel's target, its linker first on `PATH`. The caller adds profile and features.
    pub(crate) fn build(&self, linker: &Path) -> Command {
        self.cargo("build").path_first(linker.parent().unwrap_or(Path::new("/")))
    }

    /// `cargo doc` for the kernel's target.
    pub(crate) fn doc(&self) -> Command {
        self.cargo("doc")
    }

    /// `cargo clippy` for the kernel's target; `None` if this compiler came without clippy.
    pub(crate) fn clippy(&self) -> Option<Command> {
        match self.origin {
            Origin::Distribution => {
                // Named in full and started directly: cargo would look into its home first and find rustup's.
                let clippy = Path::new("/usr/bin/cargo-clippy");
                let command = Command::new(clippy).arg("clippy").env("CARGO", "/usr/bin/cargo").env("SYSROOT", "/usr");
                is_executable(clippy).then(|| self.configured(command))
            }
            Origin::RustupNightly => {
                let there = Command::new("rustup").args(["run", "nightly", "cargo", "clippy", "--version"]).read();
                there.map(|_| self.cargo("clippy"))
            }
        }
    }

    fn cargo(&self, verb: &str) -> Command {
        let command = match self.origin {
            Origin::Distribution => Command::new("/usr/bin/cargo").arg(verb),
            Origin::RustupNightly => Command::new("rustup").args(["run", "nightly", "cargo", verb, "-Zbuild-std=core"]),
        };
        self.configured(command)
    }

    fn configured(&self, command: Command) -> Command {
        let command = match self.origin {
            Origin::Distribution => command.env("RUSTC", "/usr/bin/rustc").env("RUSTDOC", "/usr/bin/rustdoc"),
            Origin::RustupNightly => command,
        };
        command.args(["--target", TARGET]).env("RUSTC_BOOTSTRAP", "1")
    }
}

impl LlvmVersion {
    /// From the text of `rustc -vV`.
    fn parse(verbose_version: &str) -> Option<Self> {
        let version = verbose_version.lines().find_map(|line| line.strip_prefix("LLVM version:"))?;
        let mut numbers = version.trim().split('.').map(str::parse);
        Some(Self { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }

    /// Where the distribution keeps this LLVM.
    pub(crate) fn prefix(self) -> PathBuf {
        PathBuf::from(format!("/usr/lib/llvm-{}", self.major))
    }
}

/// The linker, if it is there and was built for `llvm` (or statically, so that nothing can be said about it).
pub(crate) fn find_linker(llvm: LlvmVersion) -> Option<PathBuf> {
    let linker = find_program("bpf-linker", &[cargo_bin()])?;
    let libraries = Command::new("ldd").arg(&linker).read().unwrap_or_default();
    linked_llvm(&libraries).is_none_or(|major| major == llvm.major).then_some(linker)
}

/// A tool that strips debug sections: the compiler's LLVM first, then any.
pub(crate) fn find_objcopy(llvm: LlvmVersion) -> Option<PathBuf> {
    let own = llvm.prefix().join("bin/llvm-objcopy");
    if is_executable(&own) { Some(own) } else { find_program("llvm-objcopy", &[]).or_else(bundled_objcopy) }
}

/// Rust's own copy of the tool, which comes with rustup toolchains.
fn bundled_objcopy() -> Option<PathBuf> {
    let libdir = Command::new("rustc").args(["--print", "target-libdir"]).read()?;
    let tool = Path::new(libdir.trim()).parent()?.join("bin/rust-objcopy");
    is_executable(&tool).then_some(tool)
}

/// Where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> PathBuf {
    cargo_home().join("bin")
}

/// Cargo's home folder: installed programs and the registry's sources.
pub(crate) fn cargo_home() -> PathBuf {
    let default = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(default, PathBuf::from)
}

fn holds_core(library: &Path) -> bool {
    let Ok(entries) = library.read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// The major version in `libLLVM.so.22.1` or `libLLVM-22.so`, from the text of `ldd`.
fn linked_llvm(libraries: &str) -> Option<u32> {
    let after = libraries.split("libLLVM").nth(1)?;
    let digits = after.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_is_read_from_the_compiler() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8\n";
        assert_eq!(LlvmVersion::parse(text), Some(LlvmVersion { major: 22, minor: 1 }));
        assert_eq!(LlvmVersion::parse("rustc 1.96.0\n"), None);
    }

    #[test]
    fn the_linkers_llvm_is_read_from_its_libraries() {
        assert_eq!(linked_llvm("\tlibLLVM.so.22.1 => /lib/x86_64-linux-gnu/libLLVM.so.22.1 (0x1)"), Some(22));
        assert_eq!(linked_llvm("\tlibLLVM-19.so => /lib/libLLVM-19.so (0x1)"), Some(19));
        assert_eq!(linked_llvm("\tstatically linked"), None);
    }
}
