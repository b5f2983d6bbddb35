//! What each ring of building and testing needs, how it is found, and where it comes from.
use crate::bpf_toolchain::{self, BPF_LINKER_VERSION, Compiler};
use crate::command::{Command, find_program};
use crate::{apt, jdk, python, qemu};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// What is to be done on this machine; each needs more than the last but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// Building the kernel half from source. Using the daemon does not need this.
    BuildEbpf,
    /// Building the daemon and running the tests that need no privileges.
    Test,
    /// Running the live tests: workloads in C, C++, Python and Java, servers, a browser.
    Live,
    /// Feeding the parsers of untrusted input with what a fuzzer makes up.
    Fuzz,
    /// Booting other kernels in a virtual machine.
    Vm,
}

/// One thing that must be there.
pub(crate) struct Need {
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// The rings that need it.
    pub(crate) rings: &'static [Ring],
    /// Where or which it is; `None` when it is missing.
    pub(crate) find: fn() -> Option<String>,
    /// Installs it on a machine with apt, as root.
    install: fn() -> Result<()>,
    /// What to do where it cannot be installed from here.
    pub(crate) elsewhere: &'static str,
}

impl Need {
    /// Installs this need and looks again.
    pub(crate) fn install(&self) -> Result<String> {
        (self.install)().with_context(|| format!("failed to install {}; {}", self.name, self.elsewhere))?;
        (self.find)().with_context(|| format!("{} is still missing after installing it; {}", self.name, self.elsewhere))
    }
}

/// Every need. Those further down may depend on those further up.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        name: "C compiler and linker",
        rings: &[Ring::BuildEbpf, Ring::Test, Ring::Live, Ring::Fuzz],
        find: || find_shown("cc"),
        install: || apt::install(&["gcc", "libc6-dev"]),
        elsewhere: "install gcc and the C library's headers",
    },
    Need {
        name: "C++ compiler, objcopy and xz",
        rings: &[Ring::Test],
        find: || find_shown("objcopy").and_then(|_| find_shown("xz")).and_then(|_| find_shown("g++")),
        install: || apt::install(&["g++", "binutils", "xz-utils"]),
        elsewhere: "install g++, binutils and xz",
    },
    Need {
        name: "Go",
        rings: &[Ring::Test],
        find: || find_shown("go"),
        install: || apt::install(&["golang-go"]),
        elsewhere: "install Go 1.18 or newer",
    },
    Need {
        name: "Rust compiler for bpfel-unknown-none",
        rings: &[Ring::BuildEbpf],
        find: || Compiler::detect().map(|compiler| compiler.version),
        install: install_compiler,
        elsewhere: "run `rustup toolchain install nightly --component rust-src --component clippy`",
    },
    Need {
        name: "clippy of that compiler",
        rings: &[Ring::BuildEbpf],
        find: || Compiler::detect()?.clippy().map(|_| "present".to_owned()),
        install: || apt::install(&["rust-web-clippy"]),
        elsewhere: "run `rustup component add --toolchain nightly clippy`",
    },
    Need {
        name: "bpf-linker for that compiler's LLVM",
        rings: &[Ring::BuildEbpf],
        find: || bpf_toolchain::find_linker(Compiler::detect()?.llvm).map(|path| path.display().to_string()),
        install: install_linker,
        elsewhere: "run `cargo install bpf-linker --no-default-features --features llvm-N --locked` with LLVM_PREFIX set, \
                    where N is the LLVM version in `rustc -vV`, or put a release of bpf-linker on PATH",
    },
    Need {
        name: "llvm-objcopy",
        rings: &[Ring::BuildEbpf],
        find: || bpf_toolchain::find_objcopy(Compiler::detect()?.llvm).map(|path| path.display().to_string()),
        install: || apt::install(&[format!("llvm-{}", expect_compiler()?.llvm.major)]),
        elsewhere: "install LLVM's tools",
    },
    Need {
        name: "Debian's Pythons 3.9, 3.11, 3.13, 3.14 and 3.15, PyPy and a 32-bit Python, in roots of their own",
        rings: &[Ring::Live],
        find: python::find,
        install: python::install,
        elsewhere: "run this on Debian or Ubuntu, where apt-get and dpkg-deb can unpack them",
    },
    Need {
        name: "JDK 17 or newer",
        rings: &[Ring::Live],
        find: || jdk::find().map(|path| path.display().to_string()),
        install: jdk::install,
        elsewhere: "install a JDK 17 or newer with java, javac and jcmd, and name its folder in JAVA_HOME",
    },
    Need {
        name: "Debian's Java virtual machines 8, 11, 17, 21, 25 and 26, in a root of their own",
        rings: &[Ring::Live],
        find: jdk::find_releases,
        install: jdk::install_releases,
        elsewhere: "run this on Debian or Ubuntu, where apt-get and dpkg-deb can unpack them",
    },
    Need {
        name: "C++ compiler",
        rings: &[Ring::Live, Ring::Fuzz],
        find: || find_shown("g++"),
        install: || apt::install(&["g++"]),
        elsewhere: "install g++",
    },
    Need {
        name: "libdw with its headers, which walks stacks as the oracle of the tests",
        rings: &[Ring::Live],
        find: || find_file("/usr/include/elfutils/libdwfl.h"),
        install: || apt::install(&["libdw-dev"]),
        elsewhere: "install the headers of elfutils' libdw, 0.188 or newer",
    },
    Need {
        name: "Python 3.11 of Debian, without frame pointers",
        rings: &[Ring::Live],
        find: || find_file("/usr/bin/python3.11"),
        install: || apt::install(&["python3.11"]),
        elsewhere: "run this on Debian 12",
    },
    Need {
        name: "Redis server and benchmark",
        rings: &[Ring::Live],
        find: || find_shown("redis-server").filter(|_| find_shown("redis-benchmark").is_some()),
        install: || apt::install_without_starting(&["redis-server", "redis-tools"]),
        elsewhere: "install redis-server and redis-benchmark",
    },
    Need {
        name: "PostgreSQL server, psql and pgbench",
        rings: &[Ring::Live],
        find: find_postgres,
        install: || apt::install_without_starting(&["postgresql"]),
        elsewhere: "install PostgreSQL as Debian does, under /usr/lib/postgresql",
    },
    Need {
        name: "nginx",
        rings: &[Ring::Live],
        find: || find_file("/usr/sbin/nginx"),
        install: || apt::install_without_starting(&["nginx-light"]),
        elsewhere: "install nginx",
    },
    Need {
        name: "wrk, which puts load on HTTP servers",
        rings: &[Ring::Live],
        find: || find_shown("wrk"),
        install: || apt::install(&["wrk"]),
        elsewhere: "install wrk 4",
    },
    Need {
        name: "uvicorn and Starlette of Debian's Python",
        rings: &[Ring::Live],
        find: || find_file("/usr/lib/python3/dist-packages/uvicorn/main.py").filter(|_| is_starlette_there()),
        install: || apt::install(&["python3-uvicorn", "python3-starlette"]),
        elsewhere: "install python3-uvicorn and python3-starlette, for /usr/bin/python3",
    },
    Need {
        name: "Chromium",
        rings: &[Ring::Live],
        find: || find_shown("chromium"),
        install: || apt::install_without_starting(&["chromium"]),
        elsewhere: "install Chromium as a program named `chromium`, not as a snap",
    },
    Need {
        name: "qemu for x86-64",
        rings: &[Ring::Vm],
        find: || qemu::find().map(|path| path.display().to_string()),
        install: qemu::install,
        elsewhere: "install qemu-system-x86_64",
    },
    Need {
        name: "static busybox",
        rings: &[Ring::Vm],
        find: || find_shown("busybox").filter(|_| is_busybox_static()),
        install: || apt::install(&["busybox-static"]),
        elsewhere: "install a statically linked busybox",
    },
    Need {
        name: "apt-get and dpkg-deb, which fetch Debian's kernels",
        rings: &[Ring::Vm],
        find: || find_shown("dpkg-deb").and_then(|_| find_shown("apt-get")),
        install: || bail!("there is no package for it"),
        elsewhere: "run this on Debian or Ubuntu",
    },
];

fn find_shown(program: &str) -> Option<String> {
    find_program(program, &[]).map(|path| path.display().to_string())
}

fn find_file(path: &str) -> Option<String> {
    Path::new(path).exists().then(|| path.to_owned())
}

fn is_starlette_there() -> bool {
    find_file("/usr/lib/python3/dist-packages/starlette/routing.py").is_some()
}

/// Debian keeps the programs of each version apart, and none of them on the path.
fn find_postgres() -> Option<String> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().ok()?.flatten().map(|entry| entry.path().join("bin"));
    let complete =
        |folder: &PathBuf| ["initdb", "postgres", "psql", "pgbench"].iter().all(|name| folder.join(name).exists());
    versions.filter(complete).max().map(|folder| folder.display().to_string())
}

fn is_busybox_static() -> bool {
    let Some(busybox) = find_program("busybox", &[]) else { return false };
    // ldd fails on a static program, or says so.
    Command::new("ldd")
        .arg(busybox)
        .read()
        .is_none_or(|text| text.contains("not a dynamic") || text.contains("statically"))
}

fn expect_compiler() -> Result<Compiler> {
    Compiler::detect().context("failed to find a compiler for bpfel-unknown-none")
}

fn install_compiler() -> Result<()> {
    const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
    if apt::are_offered(&DEBIAN) {
        return apt::install(&DEBIAN);
    }
    Command::new("rustup")
        .args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"])
        .args(["--component", "clippy"])
        .advice("this machine's package sources have no compiler for BPF; install rustup from https://rustup.rs")
        .run()
}

fn install_linker() -> Result<()> {
    let llvm = expect_compiler()?.llvm;
    let (major, prefix) = (llvm.major, llvm.prefix());
    let development = [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")];
    apt::install(&development)?;
    apt::install(&["g++", "zlib1g-dev", "libzstd-dev"])?;
    Command::cargo()
        .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{major}")])
        .env("LLVM_PREFIX", &prefix)
        .env(&format!("LLVM_SYS_{major}{}_PREFIX", llvm.minor), &prefix)
        .advice(format!("cargo says above why; this version of bpf-linker must have the feature llvm-{major}"))
        .run()
}
