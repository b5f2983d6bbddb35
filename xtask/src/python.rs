//! Debian's Pythons for the tests: those of each suite unpacked into a root of its own under the target folder.
//!
//! Versions that no suite has, the tests find where somebody built them.
use crate::root;
use anyhow::Result;
use std::path::PathBuf;

/// Pythons of one suite.
struct Root {
    /// The folder below the one of all roots.
    name: &'static str,
    suite: &'static str,
    /// As Debian names it.
    architecture: &'static str,
    /// The versions, each as a program and as a library.
    versions: &'static [&'static str],
    /// Further packages.
    more: &'static [&'static str],
    /// A further program that must be there.
    program: Option<&'static str>,
}

const ROOTS: [Root; 6] = [
    Root { versions: &["3.9"], ..Root::of_suite("bullseye") },
    Root { versions: &["3.11"], ..Root::of_suite("bookworm") },
    Root { versions: &["3.13"], more: &["python3-numpy"], ..Root::of_suite("trixie") },
    Root { versions: &["3.14", "3.15"], ..Root::of_suite("sid") },
    // Those that the daemon refuses lie apart from those whose stacks are compared.
    Root { name: "refused/pypy", more: &["pypy3"], program: Some("pypy3"), ..Root::of_suite("bookworm") },
    Root {
        name: "refused/i386",
        architecture: "i386",
        more: &["python3.11-minimal"],
        program: Some("python3.11"),
        ..Root::of_suite("bookworm")
    },
];

/// Where the roots are, once all of them are complete.
pub(crate) fn find() -> Option<String> {
    ROOTS.iter().all(Root::is_complete).then(|| root::folder().display().to_string())
}

/// Unpacks the roots that are not complete.
pub(crate) fn install() -> Result<()> {
    root::install_keyring()?;
    ROOTS.iter().filter(|root| !root.is_complete()).try_for_each(Root::unpack)
}

impl Root {
    const fn of_suite(suite: &'static str) -> Self {
        Self { name: suite, suite, architecture: "amd64", versions: &[], more: &[], program: None }
    }

    fn path(&self) -> PathBuf {
        root::folder().join(self.name)
    }

    fn is_complete(&self) -> bool {
        let usr = self.path().join("usr");
        let has_program = self.program.is_none_or(|program| usr.join("bin").join(program).exists());
        has_program
            && self.versions.iter().all(|version| {
                let library = usr.join(format!("lib/x86_64-linux-gnu/libpython{version}.so.1.0"));
                usr.join(format!("bin/python{version}")).exists() && library.exists()
            })
    }

    fn packages(&self) -> Vec<String> {
        let pythons =
            self.versions.iter().flat_map(|version| [format!("python{version}"), format!("libpython{version}")]);
        pythons.chain(self.more.iter().map(|&name| name.to_owned())).collect()
    }

    fn unpack(&self) -> Result<()> {
        let packages = self.packages();
        let names: Vec<_> = packages.iter().map(String::as_str).collect();
        root::unpack(self.name, self.suite, self.architecture, &names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_comes_as_a_program_and_as_a_library() {
        assert_eq!(ROOTS[3].packages(), ["python3.14", "libpython3.14", "python3.15", "libpython3.15"]);
        assert_eq!(ROOTS[2].packages(), ["python3.13", "libpython3.13", "python3-numpy"]);
        assert_eq!(ROOTS[4].packages(), ["pypy3"]);
    }
}
