//! Whether live tests can run here, and where their results are shown.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::program::{bind_programs, is_installed};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Leave to run a live test; one test of a process holds it at a time, because each loads the machine on purpose.
pub struct LiveHost {
    _turn: MutexGuard<'static, ()>,
}

/// Leave to run a live test, or `None` after saying why not. With `PROFILERD_LIVE=required` a missing need is a panic.
///
/// The programs that the test starts from then on end with it, even if it is killed.
pub fn live_host() -> Option<LiveHost> {
    match missing_need() {
        None => {
            bind_programs();
            Some(LiveHost { _turn: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner) })
        }
        Some(need) => {
            skip(&need);
            None
        }
    }
}

/// Says loudly that a test is skipped and why; a panic where live tests are required.
pub fn skip(why: &str) {
    let required = std::env::var("PROFILERD_LIVE").is_ok_and(|value| value == "required");
    assert!(!required, "live tests are required, but {why}");
    tell(&format!("SKIPPED: {why}"));
}

/// Prints to the terminal even where the output of passing tests is captured.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn missing_need() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("this needs root".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("the kernel has no BTF at /sys/kernel/btf/vmlinux".into());
    }
    if !is_installed("setpriv") {
        return Some("there is no setpriv; it is in Debian's package `util-linux`".into());
    }
    let binary = profilerd();
    (!binary.exists()).then(|| format!("`{}` is missing; cargo build --release makes it", binary.display()))
}

/// The binary under test: `$PROFILERD_BIN`, or the release build.
pub fn profilerd() -> PathBuf {
    match std::env::var_os("PROFILERD_BIN") {
        Some(path) => path.into(),
        None => target_dir().join("release/profilerd"),
    }
}

/// Cargo's target folder: the nearest folder above the running program that cargo marked as its own.
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map_or_else(std::env::temp_dir, Path::to_path_buf)
}
