//! `vm`: the daemon on other kernels, in a virtual machine.
use super::live::build_daemon;
use super::setup::Setup;
use crate::command::Command;
use crate::need::Ring;
use crate::repository;
use crate::vm::{Initramfs, KERNELS, Kernel, Outcome, Step, boot};
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What runs inside. The check says on the console what it saw.
const SCENARIO: [Step; 2] = [
    Step { name: "doctor", command: "/profilerd doctor" },
    Step { name: "vm_check", command: "/vm_check /ground_truth" },
];
const PROBE: [Step; 1] = [Step { name: "probe", command: "test -e /sys/kernel/btf/vmlinux" }];

/// Boot one of Debian's kernels under qemu and run the daemon on it.
///
/// Fetches the kernel once, packs the daemon and a program that knows where its time goes into an initramfs, boots
/// it (no KVM and no root needed) and checks what the daemon says. Everything is kept under the target folder's `vm`.
#[derive(Args)]
pub(crate) struct Vm {
    /// Which kernel.
    #[arg(long, value_name = "VERSION", default_value = "newest",
          value_parser = PossibleValuesParser::new(KERNELS.iter().map(|kernel| kernel.name)))]
    kernel: String,
    /// Every kernel of the table, one after the other.
    #[arg(long, conflicts_with = "kernel")]
    all: bool,
    /// Only boot, look for BTF and power off.
    #[arg(long)]
    boot_only: bool,
    /// Fetch the kernel again even if it is there.
    #[arg(long)]
    refresh: bool,
    /// Keep the initramfs.
    #[arg(long)]
    keep: bool,
}

impl Vm {
    /// The whole scenario on `kernel`.
    pub(crate) fn on(kernel: &Kernel) -> Self {
        Self { kernel: kernel.name.to_owned(), all: false, boot_only: false, refresh: false, keep: false }
    }

    /// Boots each kernel asked for and prints a table at the end.
    ///
    /// # Errors
    /// When a kernel did not boot or a step in it failed.
    pub(crate) fn run(self) -> Result<()> {
        Setup::for_rings(&[Ring::Vm, Ring::Test]).run()?;
        let payload = if self.boot_only { None } else { Some(Payload::build()?) };
        let chosen = KERNELS.iter().filter(|kernel| self.all || kernel.name == self.kernel);
        let mut failed = 0;
        let mut table = String::new();
        for kernel in chosen {
            let begin = Instant::now();
            let result = self.run_on(kernel, payload.as_ref());
            failed += usize::from(result.is_err());
            table.push_str(&table_row(kernel, begin.elapsed(), &result));
        }
        eprint!("\n{table}");
        if failed > 0 {
            bail!("{failed} of the kernels above failed; each console is in the target folder, vm/VERSION/console.log");
        }
        Ok(())
    }

    fn run_on(&self, kernel: &Kernel, payload: Option<&Payload>) -> Result<Outcome> {
        let image = kernel.image(self.refresh)?;
        let mut files = Initramfs::new();
        let steps: &[Step] = if payload.is_some() { &SCENARIO } else { &PROBE };
        payload.map_or(Ok(()), |payload| payload.add_to(&mut files))?;
        let outcome = boot(&image, files, steps, &kernel.dir())?;
        if !self.keep {
            let _ = std::fs::remove_file(kernel.dir().join("initramfs.cpio"));
        }
        if !outcome.is_success(steps.len()) {
            bail!(
                "{} ({})",
                described(&outcome),
                if outcome.ended { "a step failed" } else { "it did not end in order" }
            );
        }
        Ok(outcome)
    }
}

/// The programs that run inside, as built for this machine.
struct Payload {
    daemon: PathBuf,
    check: PathBuf,
    workload: PathBuf,
}

impl Payload {
    fn build() -> Result<Self> {
        let daemon = without_debug_sections(&build_daemon()?)?;
        Command::cargo()
            .args(["build", "--release", "-p", "profiler-tests", "--bin", "vm_check"])
            .advice("mend the compiler's complaints above")
            .run()?;
        let check = without_debug_sections(&repository::target_dir().join("release/vm_check"))?;
        Ok(Self { daemon, check, workload: static_workload()? })
    }

    fn add_to(&self, files: &mut Initramfs) -> Result<()> {
        files.add_program_with_libraries("/profilerd", &self.daemon)?;
        files.add_program_with_libraries("/vm_check", &self.check)?;
        files.add_program_with_libraries("/ground_truth", &self.workload)
    }
}

/// Built as distributions do, without frame pointers, and a static PIE; no call becomes a jump, so that every function of
/// it can be seen.
fn static_workload() -> Result<PathBuf> {
    let program = scratch()?.join("ground_truth");
    Command::new("gcc")
        .args(["-O2", "-g", "-static-pie", "-pthread", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-o"])
        .arg(&program)
        .arg("tests/workloads/ground_truth.c")
        .advice("run `cargo xtask setup --for test`")
        .run()?;
    Ok(program)
}

/// A smaller copy: what is booted is read at the speed of an emulated machine.
fn without_debug_sections(program: &Path) -> Result<PathBuf> {
    let copy = scratch()?.join(program.file_name().context("a program has a name")?);
    Command::new("strip").arg("--strip-debug").arg("-o").arg(&copy).arg(program).advice("install binutils").run()?;
    Ok(copy)
}

fn scratch() -> Result<PathBuf> {
    let dir = repository::target_dir().join("vm/payload");
    std::fs::create_dir_all(&dir).with_context(|| format!("failed to create folder `{}`", dir.display()))?;
    Ok(dir)
}

fn table_row(kernel: &Kernel, elapsed: Duration, result: &Result<Outcome>) -> String {
    let (verdict, text) = match result {
        Ok(outcome) => ("ok", described(outcome)),
        Err(error) => ("FAILED", format!("{error:#}")),
    };
    format!("{:<8} {verdict:<7} {:>6.1} s  {text}\n", kernel.name, elapsed.as_secs_f64())
}

fn described(outcome: &Outcome) -> String {
    let steps = outcome.steps.iter().map(|(name, status)| format!(", {name} exit {status}"));
    let said = outcome.summary.as_deref().map_or_else(String::new, |summary| format!(", {summary}"));
    format!("{}{}{said}", outcome.release.as_deref().unwrap_or("unknown kernel"), steps.collect::<String>())
}
