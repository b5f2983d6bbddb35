//! `lint`: formatting, lints and documentation of both halves, each a failure if it warns.
use super::build_ebpf::BuildEbpf;
use super::fuzz;
use crate::bpf_toolchain::Compiler;
use crate::command::Command;
use crate::{host, repository};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Check formatting, lints, documentation and the committed objects.
///
/// Warnings are failures. The kernel half is linted for its own target by the clippy of the BPF toolchain; without
/// that toolchain this part is skipped loudly, and fails under CI=true.
#[derive(Args)]
pub(crate) struct Lint {}

/// Private items are documented too, since the readers are contributors; so links to them lead somewhere.
const RUSTDOC_FLAGS: &str = "-D warnings -A rustdoc::private-intra-doc-links";

impl Lint {
    /// Runs every check, the fastest first.
    pub(crate) fn run(self) -> Result<()> {
        check_file_openings()?;
        check_formatting()?;
        BuildEbpf::check().run()?;
        lint_host_half()?;
        lint_fuzz_targets()?;
        lint_kernel_half()
    }
}

fn check_formatting() -> Result<()> {
    let kernel_half = repository::kernel_half().join("Cargo.toml");
    let format = || Command::cargo().args(["fmt", "--all"]).advice("run `cargo fmt --all` and commit what it changes");
    format().args(["--", "--check"]).run()?;
    for manifest in [kernel_half, repository::fuzz().join("Cargo.toml")] {
        format().arg("--manifest-path").arg(manifest).args(["--", "--check"]).run()?;
    }
    Ok(())
}

fn lint_host_half() -> Result<()> {
    Command::cargo()
        .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .advice("mend what clippy names above; `rustup component add clippy` if it is missing")
        .run()?;
    Command::cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", RUSTDOC_FLAGS)
        .advice("mend what rustdoc names above")
        .run()
}

/// In the target folder of the host half, so that what was checked there is not checked again. What the targets call is
/// part of the host half's tests.
fn lint_fuzz_targets() -> Result<()> {
    Command::cargo()
        .args(["clippy", "--locked", "--no-default-features", "--manifest-path", "fuzz/Cargo.toml"])
        .env("CARGO_TARGET_DIR", repository::target_dir())
        .args(["--", "-D", "warnings"])
        .advice(fuzz::ADVICE)
        .run()
}

fn lint_kernel_half() -> Result<()> {
    let Some(compiler) = Compiler::detect() else { return skip("there is no BPF toolchain") };
    for feature in ["storage", "hash"] {
        let Some(clippy) = compiler.clippy() else { return skip("the BPF toolchain has no clippy") };
        let clippy = for_kernel_half(clippy, feature).args(["--", "-D", "warnings"]);
        clippy.advice("mend what clippy names above").run()?;
        let doc = for_kernel_half(compiler.doc(), feature).args(["--no-deps", "--document-private-items"]);
        doc.env("RUSTDOCFLAGS", RUSTDOC_FLAGS).advice("mend what rustdoc names above").run()?;
    }
    Ok(())
}

fn for_kernel_half(command: Command, feature: &str) -> Command {
    command
        .args(["--release", "--no-default-features", "--features", feature])
        .dir(repository::kernel_half())
        .env("CARGO_TARGET_DIR", repository::target_dir().join("bpf-lint"))
        .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"")
}

fn skip(why: &str) -> Result<()> {
    if host::is_ci() {
        bail!("the kernel half must be linted under CI=true, but {why}: run `cargo xtask setup --for build-ebpf`");
    }
    eprintln!("\n*** KERNEL HALF NOT LINTED: {why}; `cargo xtask setup --for build-ebpf` installs it\n");
    Ok(())
}

/// Every Rust file begins by saying what it owns.
fn check_file_openings() -> Result<()> {
    let mut files = Vec::new();
    collect_rust_files(&repository::root(), &mut files)?;
    let silent: Vec<_> = files.iter().filter(|file| !opens_with_its_purpose(file)).collect();
    for file in &silent {
        eprintln!("{}: does not begin with a `//!` line that names what the file owns", file.display());
    }
    if !silent.is_empty() {
        bail!("{} files do not say what they own: add a `//!` line at the top of each", silent.len());
    }
    Ok(())
}

fn collect_rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in dir.read_dir().with_context(|| format!("failed to read folder `{}`", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect_rust_files(&path, files)?;
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn opens_with_its_purpose(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.starts_with("//! "))
}
