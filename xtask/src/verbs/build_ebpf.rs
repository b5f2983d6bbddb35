//! `build-ebpf`: builds the kernel half, and keeps the committed objects honest.
use crate::bpf_object::Likeness;
use crate::bpf_toolchain::{self, BPF_LINKER_VERSION, Compiler};
use crate::command::Command;
use crate::{bpf_object, bpf_rustc, bpf_sources, repository};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Each variant of the kernel half: its cargo feature and its object. One object serves every 64-bit little-endian
/// machine, since everything that differs between them is read from the kernel's BTF when it is loaded.
const VARIANTS: [(&str, &str); 2] = [("storage", "profilerd-storage.bpf.o"), ("hash", "profilerd-hash.bpf.o")];
/// The name of the binary target that is the object.
const PROGRAM: &str = "profiler-ebpf";

/// Build the kernel half from source.
///
/// Builds each variant of `profiler-ebpf`, strips debugging sections but keeps BTF, checks the result, and puts it
/// under `profiler-ebpf/prebuilt` together with a hash of the sources, all of it to be committed. The build is
/// reproducible: the same sources and tools give the same programs in any folder.
#[derive(Args)]
pub(crate) struct BuildEbpf {
    /// Build nothing; fail if the committed objects are not those of the current sources.
    #[arg(long, conflicts_with = "out")]
    check: bool,
    /// Put the objects into this folder and leave the committed ones alone.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl BuildEbpf {
    /// Only checks the committed objects.
    pub(crate) fn check() -> Self {
        Self { check: true, out: None }
    }

    /// Builds into `dir`.
    pub(crate) fn into(dir: PathBuf) -> Self {
        Self { check: false, out: Some(dir) }
    }

    /// Whether the objects in `dir` hold the programs of the committed ones.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn are_committed(dir: &Path) -> Result<bool> {
        VARIANTS.iter().try_fold(true, |so_far, (_, name)| {
            let likeness = bpf_object::compare(&dir.join(name), &repository::prebuilt().join(name))?;
            Ok(so_far && likeness != Likeness::Different)
        })
    }

    /// Builds or checks.
    pub(crate) fn run(self) -> Result<()> {
        if self.check {
            return bpf_sources::check(&VARIANTS.map(|(_, object)| object));
        }
        let tools = Tools::detect()?;
        match self.out {
            Some(dir) => tools.rebuild(&dir),
            None => tools.renew_committed(),
        }
    }
}

/// Everything a build of the kernel half runs.
struct Tools {
    compiler: Compiler,
    linker: PathBuf,
    objcopy: PathBuf,
}

impl Tools {
    fn detect() -> Result<Self> {
        const ADVICE: &str = "run `cargo xtask setup --for build-ebpf`";
        let compiler = Compiler::detect().with_context(|| format!("no Rust compiler for BPF found: {ADVICE}"))?;
        let linker = bpf_toolchain::find_linker(compiler.llvm)
            .with_context(|| format!("no bpf-linker for LLVM {} found: {ADVICE}", compiler.llvm.major))?;
        let objcopy =
            bpf_toolchain::find_objcopy(compiler.llvm).with_context(|| format!("no llvm-objcopy found: {ADVICE}"))?;
        Ok(Self { compiler, linker, objcopy })
    }

    /// What decides the object's bytes beside the sources.
    fn names(&self) -> Vec<String> {
        let linker = Command::new(&self.linker).arg("--version").read().unwrap_or_default();
        let linker = linker.lines().next().unwrap_or(BPF_LINKER_VERSION).to_owned();
        let llvm = self.compiler.llvm;
        vec![self.compiler.version.clone(), format!("LLVM {}.{}", llvm.major, llvm.minor), linker]
    }

    fn renew_committed(&self) -> Result<()> {
        let dir = repository::prebuilt();
        let objects = self.build_all(&dir, false)?;
        bpf_sources::write_record(&dir, &objects, &self.names())?;
        eprintln!("commit what changed in {}", dir.display());
        Ok(())
    }

    fn rebuild(&self, dir: &Path) -> Result<()> {
        let objects = self.build_all(dir, true)?;
        for object in &objects {
            self.compare_with_committed(object)?;
        }
        Ok(())
    }

    fn build_all(&self, dir: &Path, locked: bool) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(dir).with_context(|| format!("failed to create folder `{}`", dir.display()))?;
        VARIANTS.iter().map(|(feature, object)| self.build(feature, &dir.join(object), locked)).collect()
    }

    fn build(&self, feature: &str, object: &Path, locked: bool) -> Result<PathBuf> {
        let target_dir = repository::target_dir().join("bpf");
        let wrapper = bpf_rustc::install_into(&target_dir)?;
        self.compiler
            .build(&self.linker)
            .args(["--release", "--no-default-features", "--features", feature])
            .args(locked.then_some("--locked"))
            .dir(repository::kernel_half())
            .env("CARGO_TARGET_DIR", &target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", rust_flags().join("\u{1f}"))
            .env("RUSTC_WRAPPER", wrapper)
            .env(bpf_rustc::MARK, "1")
            .advice("mend the compiler's complaints above; if they are about `core`, run `cargo xtask setup --for build-ebpf`")
            .run()?;
        let built = target_dir.join("bpfel-unknown-none/release").join(PROGRAM);
        Command::new(&self.objcopy)
            .arg("--strip-debug")
            .arg(&built)
            .arg(object)
            .advice("check the tool's version")
            .run()?;
        bpf_object::verify(object)?;
        eprintln!("built {} ({} bytes)", object.display(), object.metadata().map_or(0, |meta| meta.len()));
        Ok(object.to_owned())
    }

    /// With the recorded tools a rebuild must give the committed programs; with other tools it need not.
    fn compare_with_committed(&self, object: &Path) -> Result<()> {
        let committed = repository::prebuilt().join(object.file_name().unwrap_or_default());
        let shown = object.display();
        match (bpf_object::compare(object, &committed)?, bpf_sources::was_built_with(&self.names())) {
            (Likeness::Same, _) => eprintln!("{shown} is byte for byte the committed one"),
            (Likeness::SameCode, _) => {
                eprintln!("{shown} holds the programs of the committed one, its types in another order")
            }
            (Likeness::Different, false) => eprintln!("{shown} differs from the committed one, built with other tools"),
            (Likeness::Different, true) => bail!(
                "`{shown}` differs from the committed one though the tools are the same: run `cargo xtask build-ebpf` \
                 and commit profiler-ebpf/prebuilt"
            ),
        }
        Ok(())
    }
}

/// No path of this machine may reach the object. The machine the bindings are for is fixed, so that the host's
/// does not matter.
fn rust_flags() -> Vec<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        remap(&repository::root(), "/profilerd"),
        remap(&bpf_toolchain::cargo_home(), "/cargo"),
    ];
    // Later ones win: dependencies lie in folders named after where they were fetched from.
    let sources = bpf_toolchain::cargo_home().join("registry/src");
    let folders = std::fs::read_dir(sources).into_iter().flatten().flatten();
    flags.extend(folders.map(|folder| remap(&folder.path(), "/dependencies")));
    flags
}
