//! `fuzz`: the parsers of untrusted input, under libFuzzer.
use super::setup::Setup;
use crate::command::Command;
use crate::need::Ring;
use crate::repository;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

/// Feed the parsers of untrusted input with what libFuzzer makes up.
///
/// A target is a file of fuzz/src/bin. Each runs for some seconds, as many at once as there are processors, on a stable
/// toolchain. It begins with fuzz/corpus/TARGET and fuzz/regressions/TARGET and keeps what it finds worth keeping under
/// target/fuzz/corpus/TARGET, from where the next run goes on. An input that makes a target panic, takes ten seconds or
/// 1 GiB is written to fuzz/regressions/TARGET, and the task fails: commit it with what mends it; from then on the unit
/// tests try it too.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only these; all if left out.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// What makes code tell libFuzzer where it has been and what it compared. LLVM's pass is in every rustc; it is only the
/// switch for it that stable ones lack.
const INSTRUMENTATION: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What to do when the targets cannot be compiled.
pub(crate) const ADVICE: &str = "mend what is named above; if it is the lock file, which follows the daemon's needs, run \
                                 `cargo update --workspace --manifest-path fuzz/Cargo.toml` and commit it";

/// Lines of a failed target's log that are shown.
const SHOWN_LINES: usize = 40;

impl Fuzz {
    /// Every target for so long.
    pub(crate) fn all(seconds: u64) -> Self {
        Self { seconds, targets: Vec::new() }
    }

    /// Builds the targets and runs them.
    ///
    /// # Errors
    /// When a target found an input it does not bear.
    pub(crate) fn run(self) -> Result<()> {
        let targets = self.chosen_targets()?;
        Setup::for_rings(&[Ring::Fuzz]).run()?;
        let programs = build(&targets)?;
        let at_once = thread::available_parallelism().map_or(1, usize::from);
        let failed = targets.chunks(at_once).map(|targets| self.run_at_once(targets, &programs)).sum::<usize>();
        if failed > 0 {
            bail!("{failed} of {} fuzz targets failed; what each of them found is told above", targets.len());
        }
        Ok(())
    }

    fn chosen_targets(&self) -> Result<Vec<String>> {
        let known = known_targets()?;
        if let Some(unknown) = self.targets.iter().find(|target| !known.contains(target)) {
            bail!("there is no fuzz target `{unknown}`; there are: {}", known.join(", "));
        }
        Ok(if self.targets.is_empty() { known } else { self.targets.clone() })
    }

    /// Runs some targets side by side; returns how many failed.
    fn run_at_once(&self, targets: &[String], programs: &Path) -> usize {
        thread::scope(|scope| {
            let run = |target| scope.spawn(move || report(target, self.run_target(target, programs)));
            let running: Vec<_> = targets.iter().map(String::as_str).map(run).collect();
            running.into_iter().map(|target| usize::from(!target.join().unwrap_or(false))).sum()
        })
    }

    /// Runs one target; returns the last line in which it says how it stands.
    fn run_target(&self, target: &str, programs: &Path) -> Result<String> {
        let (scratch, log) = (folder().join("corpus").join(target), folder().join(format!("{target}.log")));
        let regressions = repository::fuzz().join("regressions").join(target);
        for folder in [&scratch, &regressions] {
            fs::create_dir_all(folder).with_context(|| format!("failed to make folder `{}`", folder.display()))?;
        }
        let file = File::create(&log).with_context(|| format!("failed to write `{}`", log.display()))?;
        let program = programs.join(target);
        let result = Command::new(&program)
            // New inputs go to the first folder only.
            .args([&scratch, &repository::fuzz().join("corpus").join(target), &regressions])
            .arg(format!("-max_total_time={}", self.seconds))
            .args(["-rss_limit_mb=1024", "-timeout=10", "-print_funcs=0"])
            .arg(format!("-artifact_prefix={}/", regressions.display()))
            .log_to(file)
            .run();
        let log = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        result.map_err(|error| error.context(failure(target, &program, &log)))?;
        Ok(log.lines().rfind(|line| line.contains(" cov: ")).unwrap_or("it said nothing").to_owned())
    }
}

/// The names of all targets.
fn known_targets() -> Result<Vec<String>> {
    let dir = repository::fuzz().join("src/bin");
    let entries = dir.read_dir().with_context(|| format!("failed to read folder `{}`", dir.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| stem(entry.path())).collect();
    names.sort();
    Ok(names)
}

/// Builds the targets; returns the folder they are in.
fn build(targets: &[String]) -> Result<PathBuf> {
    // With the target named, what runs during the build is not instrumented.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    Command::cargo()
        .args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple])
        .args(targets.iter().flat_map(|target| ["--bin", target]))
        .env("CARGO_TARGET_DIR", folder())
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"))
        .advice(ADVICE)
        .run()?;
    Ok(folder().join(triple).join("release"))
}

/// Where targets are built, and what they find new is kept.
fn folder() -> PathBuf {
    repository::target_dir().join("fuzz")
}

/// Says how a target ended; whether it ended well.
fn report(target: &str, result: Result<String>) -> bool {
    match &result {
        Ok(stand) => eprintln!("{target}: {}", stand.trim()),
        Err(error) => eprintln!("\n*** {target}: {error:#}\n"),
    }
    result.is_ok()
}

/// What the log of a failed target says, and what to do with the input it found.
fn failure(target: &str, program: &Path, log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    let Some(input) = log.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path))
    else {
        return format!("{shown}\nfailed on an input that is committed, or before the first one; it says above why");
    };
    format!(
        "{shown}\nfound an input that `{target}` does not bear: {input}\n\
         \x20 to see it again: `{} {input}`, or `cargo test -p profiler-daemon --lib every_committed_input`\n\
         \x20 commit it with what mends it",
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_fuzz_targets_is_one() {
        let targets = known_targets().unwrap();
        assert!(targets.iter().any(|name| name == "unwind_table"), "{targets:?}");
    }

    #[test]
    fn a_failure_names_the_input_and_how_to_see_it_again() {
        let log = "panicked at x\nartifact_prefix='a/'; Test unit written to a/crash-1\nBase64: AA==";
        let told = failure("elf", Path::new("/t/elf"), log);
        assert!(told.contains("`/t/elf a/crash-1`") && told.contains("panicked at x"), "{told}");
    }
}
