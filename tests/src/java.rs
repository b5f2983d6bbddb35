//! Programs of a JVM: the JDK's tools, and the compiled classes of `workloads/`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::host;
use crate::workload::{scratch, sources};

/// A tool of the JDK that `JAVA_HOME` names, or else of the one on `PATH`.
pub fn jdk_tool(name: &str) -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    home.map_or_else(|| name.into(), |home| home.join("bin").join(name))
}

/// The folder of a source file's classes; `None` after saying why where there is no compiler.
pub fn compile_java(source: &str) -> Result<Option<PathBuf>> {
    compile(source, &[])
}

/// The same for virtual machines from Java 8 on.
pub fn compile_java8(source: &str) -> Result<Option<PathBuf>> {
    compile(source, &["--release", "8", "-Xlint:-options"])
}

fn compile(source: &str, options: &[&str]) -> Result<Option<PathBuf>> {
    let classes = scratch()?.join("java");
    let mut compiler = Command::new(jdk_tool("javac"));
    match compiler.args(options).arg("-d").arg(&classes).arg(sources().join(source)).status() {
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
