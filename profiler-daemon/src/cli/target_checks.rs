//! What can be seen of one process, for `doctor --pid`.

use std::path::PathBuf;

use crate::bpf::{Check, Verdict};
use crate::process::image::read_stat;
use crate::process::stat::TICK_NS;
use crate::process::{Executables, Image, ProcessError, World};
use crate::profile::{ImageId, ProcessId};
use crate::report::escape_untrusted;
use crate::runtime::hotspot::{self, HotSpots};
use crate::runtime::python::{Pythons, Refusal, Version};

/// Looks at a process as the daemon would: its files and, where a language runtime is mapped, what it takes to show its
/// functions.
pub(super) fn check_target(pid: u32, world: &dyn World) -> Vec<Check> {
    let image = match read_image(pid, world) {
        Ok(image) => image,
        Err(error) => return vec![failed("process", &error)],
    };
    let mut checks = vec![check_process(&image), check_files(&image)];
    checks.extend(Pythons::default().version(&image, world).map(check_python));
    match HotSpots::default().version(&image, world) {
        Some(Ok(version)) => checks.push(good("java", format!("methods and lines of Java {version}"))),
        Some(Err(refusal)) => checks.extend(check_other_java(&image, &refusal, world)),
        None => {}
    }
    checks
}

fn read_image(pid: u32, world: &dyn World) -> Result<Image, ProcessError> {
    let stat = read_stat(pid, world).map_err(|_| ProcessError::NoSuchProcess(pid))?;
    let process = ProcessId { pid, start_ns: stat.start_ticks * TICK_NS };
    Image::read(ImageId { process, exec_ns: 0 }, &Executables::default(), world)
}

fn check_process(image: &Image) -> Check {
    let executable = image.executable.as_ref().map_or("no executable".into(), |path| path.display().to_string());
    good("process", format!("{} ({})", escape_untrusted(&image.comm), escape_untrusted(&executable)))
}

fn check_files(image: &Image) -> Check {
    let files = || image.mappings.iter().filter(|mapping| mapping.inode.inode != 0);
    let missing: Vec<_> = files().filter(|mapping| !matches!(image.find(mapping.start), Some((_, Some(_))))).collect();
    match missing.first() {
        None => good("mapped files", format!("all {} can be read", files().count())),
        Some(first) => Check {
            name: "mapped files",
            verdict: Verdict::Degraded,
            detail: format!("{} of {} cannot be read", missing.len(), files().count()),
            advice: format!("their functions stay addresses; the first is {}", escape_untrusted(&first.path_text())),
        },
    }
}

/// The minor version from which on asyncio publishes its tasks.
const TASKS_FROM: u8 = 14;

fn check_python(found: Result<Version, Refusal>) -> Check {
    match found {
        Ok(version) if version.minor >= TASKS_FROM => {
            good("python", format!("functions and lines of Python {version}, and what event loops wait for"))
        }
        Ok(version) => good("python", format!("functions and lines of Python {version}")),
        Err(refusal) => Check {
            name: "python",
            verdict: Verdict::Degraded,
            detail: refusal.to_string(),
            advice: "its Python functions are not shown, only the interpreter's own; see docs/python.md".to_owned(),
        },
    }
}

/// A virtual machine whose frames are not known may have written down what its compiled methods are called.
fn check_other_java(image: &Image, refusal: &hotspot::Refusal, world: &dyn World) -> [Check; 2] {
    let pid = image.id.process.pid;
    let advice = format!("start it with -XX:+PreserveFramePointer and run: jcmd {pid} Compiler.perfmap");
    let why = Check {
        name: "java",
        verdict: Verdict::Degraded,
        detail: refusal.to_string(),
        advice: "its Java methods are not shown, but for those a perf map names; see docs/java.md".to_owned(),
    };
    [why, check_perf_map(image, world, "Java", &advice)]
}

fn check_perf_map(image: &Image, world: &dyn World, language: &str, advice: &str) -> Check {
    let path = PathBuf::from(format!("/tmp/perf-{}.map", image.namespace_pid));
    match world.open_below_root(image.id.process.pid, &path) {
        Ok(_) => good("perf map", format!("{} names {language} functions", path.display())),
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let why = if missing { "does not exist".to_owned() } else { format!("is not usable ({error})") };
            Check {
                name: "perf map",
                verdict: Verdict::Degraded,
                detail: format!("{} {why}: {language} functions have no names", path.display()),
                advice: advice.to_owned(),
            }
        }
    }
}

fn good(name: &'static str, detail: String) -> Check {
    Check { name, verdict: Verdict::Good, detail, advice: String::new() }
}

fn failed(name: &'static str, error: &ProcessError) -> Check {
    let text = error.to_string();
    let (detail, advice) = text.split_once("; ").unwrap_or((&text, ""));
    Check { name, verdict: Verdict::Failed, detail: detail.to_owned(), advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcWorld;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    fn checks_of(process: FixtureProcess) -> Vec<Check> {
        let world = FixtureWorld::default();
        world.insert(7, process);
        check_target(7, &world)
    }

    fn java() -> FixtureProcess {
        FixtureProcess {
            comm: "java".into(),
            namespace_pid: 1,
            maps: "7f0000000000-7f0000001000 r-xp 00000000 08:01 42 /usr/lib/libjvm.so\n".into(),
            files: [("/usr/lib/libjvm.so".into(), b"elf".to_vec())].into(),
            ..FixtureProcess::default()
        }
    }

    #[test]
    fn a_java_program_without_a_perf_map_is_told_how_to_write_one() {
        let checks = checks_of(java());
        let check = checks.iter().find(|check| check.name == "perf map").unwrap();
        assert_eq!(check.verdict, Verdict::Degraded);
        assert!(check.detail.contains("/tmp/perf-1.map"), "the pid is its own: {}", check.detail);
        assert!(check.advice.contains("jcmd 7 Compiler.perfmap"), "{}", check.advice);
    }

    #[test]
    fn a_java_program_with_a_perf_map_is_fine() {
        let mut java = java();
        java.files.insert("/tmp/perf-1.map".into(), b"7f00 10 main\n".to_vec());
        let checks = checks_of(java);
        let check = checks.iter().find(|check| check.name == "perf map").unwrap();
        assert_eq!(check.verdict, Verdict::Good);
    }

    #[test]
    fn a_python_that_is_not_supported_is_told_why() {
        assert_eq!(check_python(Ok(Version::of_minor(11))).verdict, Verdict::Good);
        let check = check_python(Err(Refusal::PyPy));
        assert_eq!((check.verdict, check.detail.as_str()), (Verdict::Degraded, "PyPy is not supported"));
    }

    #[test]
    fn a_process_that_is_gone_fails() {
        let checks = check_target(8, &FixtureWorld::default());
        assert_eq!((checks.len(), checks[0].verdict), (1, Verdict::Failed));
        assert!(checks[0].detail.contains("no process has pid 8"), "{}", checks[0].detail);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let checks = check_target(std::process::id(), &ProcWorld);
        assert_eq!(checks[0].verdict, Verdict::Good, "{checks:?}");
    }
}
