//! A Python whose interpreter keeps frame pointers: what a walk by frame pointers needs to get past its C frames.
//!
//! Python 3.15 is built that way by default; before that it depends on who built it. Where no installed one is, it
//! is Debian's 3.15, which `cargo xtask setup` unpacks into a root of its own under the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::interpreter::roots;

/// An interpreter, possibly in a root of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    root: Option<PathBuf>,
    program: PathBuf,
}

impl Python {
    /// The first Python ≥ 3.12 with frame pointers, installed or unpacked; an error says what is missing.
    pub fn with_frame_pointers() -> Result<Self> {
        match installed().into_iter().find(|program| keeps_frame_pointers(program)) {
            Some(program) => Ok(Self { root: None, program }),
            None => unpacked(),
        }
    }

    /// A command that runs the script's text with a perf map; the script is placed where the interpreter sees it.
    pub fn perf_command(&self, script: &Path) -> Result<Command> {
        let text = fs::read(script).with_context(|| format!("failed to read `{}`", script.display()))?;
        let name = script.file_name().context("a script has a name")?;
        let inside = Path::new("/tmp").join(name);
        let outside = self.root.as_deref().map_or(inside.clone(), |root| root.join("tmp").join(name));
        fs::write(&outside, text).with_context(|| format!("failed to write `{}`", outside.display()))?;
        let mut command = match &self.root {
            Some(root) => {
                let mut chroot = Command::new("chroot");
                chroot.arg(root).arg(&self.program);
                chroot
            }
            None => Command::new(&self.program),
        };
        command.args(["-X", "perf", "-u"]).arg(inside);
        Ok(command)
    }
}

fn installed() -> Vec<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["python3", "python3.12", "python3.13", "python3.14", "python3.15"];
    let on_path = std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
    std::env::var_os("PROFILERD_TEST_PYTHON").map(PathBuf::from).into_iter().chain(on_path).collect()
}

/// Asks the interpreter how it was compiled.
fn keeps_frame_pointers(program: &Path) -> bool {
    const QUESTION: &str = "import sys, sysconfig; flags = sysconfig.get_config_var('PY_CORE_CFLAGS') or ''; \
         print(sys.version_info >= (3, 12) and '-fno-omit-frame-pointer' in flags)";
    if !program.exists() {
        return false;
    }
    let answer = Command::new(program).args(["-c", QUESTION]).output();
    answer.is_ok_and(|answer| answer.stdout.starts_with(b"True"))
}

fn unpacked() -> Result<Python> {
    let root = roots().join("sid");
    ensure!(
        root.join("usr/bin/python3.15").exists(),
        "there is no Python with frame pointers; `cargo xtask setup --for live` unpacks Debian's 3.15"
    );
    Ok(Python { program: "/usr/bin/python3.15".into(), root: Some(root) })
}
