//! `profilerd doctor`: what this host allows, and what to do about each gap.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::output::{print_json, print_text};
use super::sampling_flags::{HistoryFlags, SamplingFlags};
use super::target_checks::check_target;
use crate::bpf::{Check, Verdict, check_host};
use crate::process::{ProcWorld, in_initial_pid_namespace};
use crate::settings::quantity::parse_number;

/// Say what this host, its kernel and a process allow, and what to do about each gap
///
/// Exits with 1 if profiling is impossible.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  profilerd doctor
  profilerd doctor --pid 4711 --json")]
pub(super) struct DoctorArguments {
    /// Look at this process, too
    #[arg(long, value_name = "N")]
    pid: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingFlags,
}

/// One check, as JSON.
#[derive(Debug, Serialize)]
struct CheckRow<'a> {
    name: &'a str,
    status: &'a str,
    detail: &'a str,
    advice: &'a str,
}

/// Checks and prints.
pub(super) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.sampling.settings(&HistoryFlags::default()).context("failed to read the flags")?;
    let pid = arguments.pid.as_deref().map(|text| parse_number("--pid", text, 1..=i32::MAX as u32));
    let pid = pid.transpose().context("failed to read the flags")?;
    let mut checks = check_host(&settings);
    checks.extend(check_namespace());
    checks.extend(pid.into_iter().flat_map(|pid| check_target(pid, &ProcWorld)));
    match arguments.json {
        true => print_json(&serde_json::json!({ "checks": checks.iter().map(CheckRow::from).collect::<Vec<_>>() }))?,
        false => print_text(&as_text(&checks))?,
    }
    let possible = checks.iter().all(|check| check.verdict != Verdict::Failed);
    Ok(if possible { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A process elsewhere sees other pids than the kernel half.
fn check_namespace() -> Option<Check> {
    (!in_initial_pid_namespace()).then(|| Check {
        name: "pid namespace",
        verdict: Verdict::Failed,
        detail: "profilerd runs in a PID namespace of its own, so its pids are not the host's".to_owned(),
        advice: "start it in the host's (docker run --pid=host, hostPID: true)".to_owned(),
    })
}

impl<'a> From<&'a Check> for CheckRow<'a> {
    fn from(check: &'a Check) -> Self {
        let status = check.verdict.name();
        Self { name: check.name, status, detail: &check.detail, advice: &check.advice }
    }
}

fn as_text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        writeln!(text, "{:<8}  {:<16}  {}", check.verdict.name(), check.name, check.detail)
            .expect("writing to a string succeeds");
        if !check.advice.is_empty() {
            writeln!(text, "{:<28}{}", "", check.advice).expect("writing to a string succeeds");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_followed_by_what_to_do_about_it() {
        let check = Check {
            name: "privileges",
            verdict: Verdict::Failed,
            detail: "not root".to_owned(),
            advice: "run with sudo".to_owned(),
        };
        let text = as_text(&[check]);
        assert_eq!(text, "FAILED    privileges        not root\n                            run with sudo\n");
    }
}
