//! Chromium as a subject: a browser without a window on a page that never rests.

use std::process::Command;

use anyhow::{Context, Result};
use profiler_daemon::process::{ProcWorld, resolve};
use profiler_daemon::settings::Selector;
use rustix::process::Signal;

use super::Subject;
use super::subject::{Begin, End, STEP};
use crate::host;
use crate::kernel_books::KernelBooks;
use crate::program::{Program, poll_until};
use crate::workload::sources;

/// What the page has computed when it is at work, in nanoseconds.
const AT_WORK_NS: u64 = 1_000_000_000;

const OPTIONS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-background-networking",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
];

impl Subject {
    /// A browser and all its processes; `None` after saying why where it is not installed.
    pub fn chromium() -> Result<Option<Self>> {
        let folder = tempfile::tempdir().context("failed to create a folder")?;
        let mut command = Command::new("chromium");
        command.args(OPTIONS).env("HOME", folder.path());
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg(format!("file://{}", sources().join("stacks.html").display()));
        let Ok(mut program) = Program::start(command) else {
            host::skip("there is no chromium; it is in Debian's package `chromium`");
            return Ok(None);
        };
        program.await_line(STEP, |line| line.starts_with("DevTools listening").then_some(()))?;
        poll_until(STEP, || Ok(is_at_work(program.pid())?.then_some(()))).context("the page does not compute")?;
        let subject = Self::new("chromium", program, Begin::Nothing, End::Signal(Signal::TERM));
        Ok(Some(subject.with_folder(folder)))
    }
}

/// Whether a process that shows the page has begun to.
fn is_at_work(browser: u32) -> Result<bool> {
    let all = resolve(&Selector::Pid(browser), &ProcWorld)?;
    Ok(all
        .into_iter()
        .any(|pid| is_renderer(pid) && KernelBooks::read(pid, pid).is_ok_and(|books| books.cpu >= AT_WORK_NS)))
}

fn is_renderer(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("--type=renderer")
}
