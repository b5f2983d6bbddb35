//! One boot: qemu without acceleration, the console on its standard output, and what the steps reported there.
use super::Initramfs;
use crate::command::{Command, find_program};
use crate::qemu;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Duration;

/// Begins every line the first process prints for this side.
const MARK: &str = "profilerd-vm:";
/// Far more than a boot and a phase need; a kernel that hangs must not hang the caller.
const DEADLINE: Duration = Duration::from_secs(600);
const MEMORY_MIB: u32 = 2048;

/// One command to run inside, as the shell reads it.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
}

/// What came of a boot.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// The kernel's own name for itself.
    pub(crate) release: Option<String>,
    /// Each step's exit status, in order.
    pub(crate) steps: Vec<(String, i32)>,
    /// Whether the last step was followed by an orderly end.
    pub(crate) ended: bool,
    /// What the check that succeeded saw.
    pub(crate) summary: Option<String>,
}

impl Outcome {
    /// Whether every one of `count` steps ran and succeeded.
    pub(crate) fn is_success(&self, count: usize) -> bool {
        self.ended && self.steps.len() == count && self.steps.iter().all(|(_, status)| *status == 0)
    }

    /// Takes in one line of the console.
    fn note(&mut self, line: &str) {
        if let Some((_, seen)) = line.split_once("vm_check: ok ") {
            self.summary = Some(seen.trim().to_owned());
        }
        let Some((_, said)) = line.split_once(MARK) else { return };
        match said.split_whitespace().collect::<Vec<_>>()[..] {
            ["booted", release] => self.release = Some(release.to_owned()),
            ["step", name, "exit", status] => self.steps.push((name.to_owned(), status.parse().unwrap_or(-1))),
            ["end"] => self.ended = true,
            _ => {}
        }
    }
}

/// Adds the first process to `files`, boots `image` with them and runs `steps`, each whatever became of the last.
///
/// The console is shown and kept as `console.log` in `dir`.
pub(crate) fn boot(image: &Path, mut files: Initramfs, steps: &[Step], dir: &Path) -> Result<Outcome> {
    let busybox = find_program("busybox", &[]).context("busybox is missing: run `cargo xtask setup --for vm`")?;
    files.add_program_with_libraries("/bin/busybox", &busybox)?;
    files.add_program("/init", first_process(steps).as_bytes());
    let initramfs = dir.join("initramfs.cpio");
    files.write(&initramfs)?;
    let mut outcome = Outcome::default();
    let mut console = String::new();
    let result = qemu(image, &initramfs).stream(DEADLINE, |line| {
        outcome.note(line);
        eprintln!("  | {line}");
        console.push_str(line);
        console.push('\n');
    });
    let log = dir.join("console.log");
    std::fs::write(&log, console).with_context(|| format!("failed to write `{}`", log.display()))?;
    result?;
    if outcome.release.is_none() {
        bail!("the kernel did not boot; its console is in `{}`", log.display());
    }
    Ok(outcome)
}

fn qemu(image: &Path, initramfs: &Path) -> Command {
    qemu::command()
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", &MEMORY_MIB.to_string()])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 oops=panic"])
        .advice("run `cargo xtask setup --for vm`")
}

/// The shell script that becomes process 1.
fn first_process(steps: &[Step]) -> String {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox mkdir -p /proc /sys /dev /tmp /usr/bin /usr/sbin /sbin /root\n\
         /bin/busybox --install -s\n\
         export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root PROFILERD_BIN=/profilerd\n\
         mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /tmp\n\
         mount -t tracefs tracefs /sys/kernel/tracing; mount -t bpf bpf /sys/fs/bpf; mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         ip link set lo up\n",
    );
    script.push_str(&format!("echo; echo {MARK} booted $(uname -r)\n"));
    for Step { name, command } in steps {
        script.push_str(&format!("{command}\necho {MARK} step {name} exit $?\n"));
    }
    script.push_str(&format!("echo {MARK} end\npoweroff -f\n"));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(console: &str) -> Outcome {
        let mut outcome = Outcome::default();
        console.lines().for_each(|line| outcome.note(line));
        outcome
    }

    #[test]
    fn a_boot_succeeds_when_every_step_did_and_the_end_was_reached() {
        let text = "[ 1.0] x\nprofilerd-vm: booted 5.10.0\nnoise\nprofilerd-vm: step one exit 0\r\nprofilerd-vm: end\n";
        let outcome = outcome_of(text);
        assert_eq!(outcome.release.as_deref(), Some("5.10.0"));
        assert!(outcome.is_success(1));
        assert!(!outcome.is_success(2), "a step that never reported is a failure");
    }

    #[test]
    fn a_failed_step_or_a_missing_end_is_a_failure() {
        assert!(!outcome_of("profilerd-vm: step one exit 1\nprofilerd-vm: end").is_success(1));
        assert!(!outcome_of("profilerd-vm: step one exit 0\n").is_success(1));
        assert!(!outcome_of("profilerd-vm: step one exit no\nprofilerd-vm: end").is_success(1));
    }
}
