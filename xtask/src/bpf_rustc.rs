//! The compiler as cargo calls it for the kernel half: the real one, with identities that do not depend on the folder.
//!
//! Cargo identifies a package outside the workspace by its absolute path, and the compiler writes that identity into
//! the names of functions. So that the same sources give the same object everywhere, cargo is told to call this program
//! instead (`RUSTC_WRAPPER`), which hands everything on but names the repository's own crates itself.
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set where this program is to act as the compiler.
pub(crate) const MARK: &str = "PROFILERD_ACT_AS_RUSTC";
const OWN_CRATES: [&str; 2] = ["profiler_common", "profiler_ebpf"];

/// Puts a copy of this program into `dir`, for cargo to call: the original may be rebuilt meanwhile.
pub(crate) fn install_into(dir: &Path) -> Result<PathBuf> {
    let (fresh, program) = (dir.join(format!("rustc.{}", std::process::id())), dir.join("rustc"));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::copy("/proc/self/exe", &fresh))
        .and_then(|_| std::fs::rename(&fresh, &program))
        .with_context(|| format!("failed to copy this program to `{}`", program.display()))?;
    Ok(program)
}

/// Whether cargo calls this program as a compiler.
pub(crate) fn is_asked_for() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Becomes the compiler that the first argument names. Returns only if that fails.
pub(crate) fn run() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let rustc = words.next().context("failed to find the compiler's name: cargo gives it as the first argument")?;
    let error = Command::new(&rustc).args(with_stable_identity(words.collect())).env_remove(MARK).exec();
    Err(error).with_context(|| format!("failed to run the compiler `{}`", rustc.display()))
}

fn with_stable_identity(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words.windows(2).find(|pair| pair[0] == "--crate-name").map(|pair| pair[1].clone());
    let Some(own) = OWN_CRATES.into_iter().find(|own| name.as_deref() == Some(OsStr::new(own))) else { return words };
    for word in &mut words {
        if word.to_str().is_some_and(|word| word.starts_with("metadata=")) {
            *word = format!("metadata={own}").into();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stable(words: &[&str]) -> Vec<OsString> {
        with_stable_identity(words.iter().map(Into::into).collect())
    }

    #[test]
    fn own_crates_are_identified_by_their_names() {
        let given = ["--crate-name", "profiler_common", "-C", "metadata=0123", "-C", "extra-filename=-4567"];
        let wanted =
            ["--crate-name", "profiler_common", "-C", "metadata=profiler_common", "-C", "extra-filename=-4567"];
        assert_eq!(stable(&given), wanted.map(OsString::from));
    }

    #[test]
    fn other_crates_and_questions_are_handed_on_as_they_are() {
        for given in [&["--crate-name", "aya_ebpf", "-C", "metadata=0123"][..], &["-vV"], &["--print", "sysroot"]] {
            assert_eq!(stable(given), given);
        }
    }
}
