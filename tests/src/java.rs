//! Programs of a JVM: the JDK's tools, and the compiled classes of `workloads/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::host;
use crate::workload::{scratch, sources};

/// A tool of the JDK that `JAVA_HOME` names, or else of the one on `PATH`.
pub fn jdk_tool(name: &str) -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    home.map_or_else(|| name.into(), |home| home.join("bin").join(name))
}

/// The folder of a source file's classes; `None` after saying why where there is no compiler.
pub fn compile_java(source: &str) -> Result<Option<PathBuf>> {
    let classes = scratch()?.join("java");
    match Command::new(jdk_tool("javac")).arg("-d").arg(&classes).arg(sources().join(source)).status() {
        Ok(status) => {
            ensure!(status.success(), "javac failed on `{source}`");
            Ok(Some(classes))
        }
        Err(error) => {
            host::skip(&format!("javac cannot be run: {error}; it is in Debian's package openjdk-17-jdk-headless"));
            Ok(None)
        }
    }
}

/// Has a JVM write the map of its compiled methods, as they are at this moment.
pub fn write_java_map(pid: u32) -> Result<()> {
    let status =
        Command::new(jdk_tool("jcmd")).args([&pid.to_string(), "Compiler.perfmap"]).stdout(Stdio::null()).status();
    ensure!(status.context("failed to run jcmd")?.success(), "jcmd could not write the map");
    ensure!(Path::new(&format!("/tmp/perf-{pid}.map")).exists(), "jcmd wrote no map");
    Ok(())
}
