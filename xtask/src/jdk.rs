//! Java for the live tests: a JDK of this machine (`java`, `javac` and `jcmd` in one folder), and virtual machines of many
//! releases in a root of their own.
use crate::command::{Command, find_program, is_executable};
use crate::{apt, root};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const OLDEST: u32 = 17;

/// Releases of which the tests profile a virtual machine: all that have long-term support and are still mended, and the newest.
const RELEASES: [u32; 6] = [8, 11, 17, 21, 25, 26];
/// What has all of them.
const SUITE: &str = "sid";
/// The root that holds them.
const ROOT: &str = "java";

/// The home folder of a JDK new enough: `JAVA_HOME`, the one on `PATH`, or one under `/usr/lib/jvm`.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    let on_path =
        find_program("javac", &[]).and_then(|javac| Some(javac.canonicalize().ok()?.parent()?.parent()?.to_owned()));
    named.into_iter().chain(on_path).chain(installed()).find(|home| is_usable(home))
}

/// Installs the first new enough JDK that the machine's package sources offer.
pub(crate) fn install() -> Result<()> {
    let offered = ["openjdk-17-jdk-headless", "openjdk-21-jdk-headless", "openjdk-25-jdk-headless"];
    let package = apt::first_offered(&offered).context("the machine's package sources offer no JDK 17 or newer")?;
    apt::install(&[package])
}

/// Where the virtual machines are, once all of them are there.
pub(crate) fn find_releases() -> Option<String> {
    let folder = root::folder().join(ROOT);
    let program = |release| folder.join(format!("usr/lib/jvm/java-{release}-openjdk-amd64/bin/java"));
    RELEASES.iter().all(|release| program(release).exists()).then(|| folder.display().to_string())
}

/// Unpacks the virtual machines into one root.
pub(crate) fn install_releases() -> Result<()> {
    root::install_keyring()?;
    let packages = RELEASES.map(|release| format!("openjdk-{release}-jre-headless"));
    root::unpack(ROOT, SUITE, "amd64", &packages.each_ref().map(String::as_str))
}

fn installed() -> Vec<PathBuf> {
    let Ok(homes) = Path::new("/usr/lib/jvm").read_dir() else { return Vec::new() };
    let mut found: Vec<_> = homes.flatten().map(|home| home.path()).collect();
    found.sort();
    found
}

fn is_usable(home: &Path) -> bool {
    let complete = ["java", "javac", "jcmd"].iter().all(|tool| is_executable(&home.join("bin").join(tool)));
    let version = || Command::new(home.join("bin/java")).arg("-version").read();
    complete && version().and_then(|text| parse_version(&text)).is_some_and(|version| version >= OLDEST)
}

/// The feature release in `openjdk version "17.0.15" 2025-04-15`; 8 and older begin with `1.`.
fn parse_version(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    quoted.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feature_release_is_the_first_number() {
        assert_eq!(parse_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(parse_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(parse_version("java version \"1.8.0_402\""), Some(1));
        assert_eq!(parse_version("no java"), None);
    }
}
