//! What this host allows, and what to do about each gap.

use super::{Features, Kernel, LoadError, Runtime, SwitchIn, Variant};
use crate::settings::SamplingSettings;
use crate::sys::capability;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, at a cost the advice names.
    Degraded,
    /// Profiling is impossible until this is mended.
    Failed,
}

impl Verdict {
    /// The word shown: `ok`, `fallback` or `FAILED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Degraded => "fallback",
            Self::Failed => "FAILED",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, e.g. `kernel types`.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do, or what it costs; empty where nothing is to be done.
    pub advice: String,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, detail: detail.into(), advice: String::new() }
    }

    fn failed(name: &'static str, error: &LoadError) -> Self {
        let text = error.to_string();
        let (detail, advice) = text.split_once("; ").unwrap_or((&text, ""));
        Self { name, verdict: Verdict::Failed, detail: detail.to_owned(), advice: advice.to_owned() }
    }
}

/// Checks privileges, kernel and types, and loads the kernel half without attaching it.
pub fn check_host(settings: &SamplingSettings) -> Vec<Check> {
    let mut checks = vec![check_privileges()];
    match Features::detect(settings.variant, settings.switch_in) {
        Ok(features) => checks.extend(check_features(&features)),
        Err(error) => {
            checks.push(Check::failed("kernel", &error));
            return checks;
        }
    }
    if checks[0].verdict == Verdict::Good {
        checks.push(match load_all(settings) {
            Ok(()) => Check::good("programs", "all BPF programs load and pass the verifier"),
            Err(error) => Check::failed("programs", &error),
        });
    }
    checks
}

fn load_all(settings: &SamplingSettings) -> Result<(), LoadError> {
    // Programs that are loaded later need the maps the others have handed out.
    let (mut kernel, _rings, _code) = Kernel::load(settings)?;
    kernel.walk_runtime(Runtime::Python)?;
    kernel.walk_runtime(Runtime::Java)
}

fn check_privileges() -> Check {
    match capability::can_load_programs() {
        true => Check::good("privileges", "may load BPF programs"),
        false => Check::failed("privileges", &LoadError::NoPrivilege),
    }
}

fn check_features(features: &Features) -> Vec<Check> {
    let mut checks = vec![Check::good("kernel", format!("Linux {} with type information", features.release))];
    let fallback = |word: &str| features.fallbacks.iter().find(|text| text.contains(word)).cloned();
    checks.push(match features.variant {
        Variant::Storage => Check::good("thread state", "task-local storage"),
        Variant::Hash => degraded("thread state", "hash", fallback("hash")),
    });
    checks.push(match &features.switch_in {
        SwitchIn::SchedExit => Check::good("switch-in hook", "sched_exit_tp"),
        other => degraded("switch-in hook", other.name(), fallback("resume")),
    });
    for (name, word) in
        [("throttling", "throttling"), ("wakers", "who ended a wait"), ("places of memory", "vm_unmapped_area")]
    {
        checks.extend(fallback(word).map(|text| degraded(name, "not visible", Some(text))));
    }
    checks
}

fn degraded(name: &'static str, detail: &str, advice: Option<String>) -> Check {
    Check { name, verdict: Verdict::Degraded, detail: detail.to_owned(), advice: advice.unwrap_or_default() }
}
