//! One release of Debian's archive, read with an index of its own: the machine's package settings stay untouched.
use crate::command::Command;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The package that depends on the current kernel of the flavour.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// The package that holds the folders of a root file system.
const BASE: &str = "base-files";
/// How long downloading packages may take.
const PATIENCE: Duration = Duration::from_secs(600);

const SOURCES: &str = "sources.list";
const SETTINGS: &str = "apt.conf";

/// The index of one release.
pub(crate) struct Archive {
    suite: &'static str,
    dir: PathBuf,
}

impl Archive {
    /// Reads the index of `suite` for an architecture, as Debian names it, into `dir`. Needs no privileges.
    pub(crate) fn open(suite: &'static str, architecture: &str, dir: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = dir.join(part);
            std::fs::create_dir_all(&part).with_context(|| format!("failed to create folder `{}`", part.display()))?;
        }
        let source = format!("deb [arch={architecture} signed-by={KEYRING}] {MIRROR} {suite} main\n");
        for (name, text) in [(SOURCES, source), (SETTINGS, settings(architecture, dir))] {
            let file = dir.join(name);
            std::fs::write(&file, text).with_context(|| format!("failed to write `{}`", file.display()))?;
        }
        let archive = Self { suite, dir: dir.to_owned() };
        let advice = format!("is the network there, and {KEYRING} (package debian-archive-keyring)?");
        archive.apt("apt-get").args(["-qq", "update"]).advice(advice).run()?;
        Ok(archive)
    }

    /// The package that holds the current kernel's image.
    pub(crate) fn kernel_package(&self) -> Result<String> {
        let depends = self.apt("apt-cache").args(["depends", META_PACKAGE]).read().unwrap_or_default();
        let image = image_package(&depends)
            .with_context(|| format!("failed to find the kernel that `{META_PACKAGE}` of {} depends on", self.suite))?;
        // Since 7.0 the image lies in a package of its own.
        let depends = self.apt("apt-cache").args(["depends", image]).read().unwrap_or_default();
        Ok(dependency(&depends, "linux-binary-").unwrap_or(image).to_owned())
    }

    /// Downloads `package` and unpacks it into `target`, running none of its scripts.
    pub(crate) fn unpack(&self, package: &str, target: &Path) -> Result<()> {
        let downloads = self.dir.join("downloads");
        let _ = std::fs::remove_dir_all(&downloads);
        std::fs::create_dir_all(&downloads).with_context(|| format!("failed to create `{}`", downloads.display()))?;
        self.apt("apt-get").args(["-q", "download", package]).dir(&downloads).advice("is the network there?").run()?;
        let file = downloads.read_dir()?.flatten().next().context("apt-get downloaded nothing")?.path();
        unpack_file(&file, target)
    }

    /// Downloads `packages` and all they depend on, and unpacks them into `target`, running none of their scripts: a
    /// root file system in which their programs run. `base-files` brings its folders.
    pub(crate) fn unpack_root(&self, packages: &[&str], target: &Path) -> Result<()> {
        let options = ["-q", "-y", "--no-install-recommends", "--download-only", "install", BASE];
        let command = self.apt("apt-get").args(options).args(packages).advice("is the network there?");
        command.stream(PATIENCE, |line| eprintln!("  {line}"))?;
        let downloads = self.dir.join("cache/archives");
        let mut files: Vec<_> = downloads.read_dir()?.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
        files.sort_by_key(|file| (!is_base(file), file.clone()));
        files.iter().try_for_each(|file| unpack_file(file, target))
    }

    fn apt(&self, program: &str) -> Command {
        Command::new(program).env("APT_CONFIG", self.dir.join(SETTINGS))
    }
}

/// Whether this is the package whose folders and links all others are unpacked into.
fn is_base(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{BASE}_")))
}

fn unpack_file(file: &Path, target: &Path) -> Result<()> {
    Command::new("dpkg-deb").arg("-x").arg(file).arg(target).advice("is there room on the disk?").run()
}

/// Settings that keep everything in `dir` and drop no privileges, since there may be none to drop.
fn settings(architecture: &str, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::Etc::SourceList \"{dir}/{SOURCES}\";\nDir::Etc::SourceParts \"-\";\n\
         Dir::State::Lists \"{dir}/lists\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{dir}/cache\";\n\
         APT::Architecture \"{architecture}\";APT::Architectures {{ \"{architecture}\"; }};\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    )
}

fn image_package(depends: &str) -> Option<&str> {
    dependency(depends, "linux-image-")
}

fn dependency<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_package_of_that_very_name_is_the_base() {
        assert!(is_base(Path::new("/a/base-files_14.2_amd64.deb")));
        assert!(!is_base(Path::new("/a/base-files-more_14.2_amd64.deb")));
        assert!(!is_base(Path::new("/base-files_1/zlib1g_1.deb")));
    }

    #[test]
    fn the_image_is_the_dependency_with_a_version() {
        let text =
            "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.2.13-cloud-amd64\n";
        assert_eq!(image_package(text), Some("linux-image-7.2.13-cloud-amd64"));
        assert_eq!(image_package("linux-image-cloud-amd64\n"), None);
    }
}
