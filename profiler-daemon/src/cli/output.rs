//! Where results go: standard output, or a file that is either whole or not there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use tempfile::{Builder, NamedTempFile};

/// Prints text, which ends with its own line break.
pub(super) fn print_text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to print")
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string(value).context("failed to encode JSON")?;
    print_text(&(json + "\n"))
}

/// A file to be written at once: readers see the old content or the new one, and a failure keeps the old one.
pub(super) struct WholeFile {
    path: PathBuf,
}

impl WholeFile {
    /// A file at the path. Fails now if it could not be written later.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        let file = Self { path: path.to_owned() };
        if path.is_dir() {
            anyhow::bail!("failed to write `{}`: it is a folder; name a file", path.display());
        }
        file.scratch()?;
        Ok(file)
    }

    /// Replaces the file by what `write` writes.
    pub(super) fn write(&self, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut scratch = io::BufWriter::new(self.scratch()?);
        write(&mut scratch)?;
        let scratch = scratch.into_inner().map_err(io::IntoInnerError::into_error);
        let scratch = scratch.with_context(|| self.failure())?;
        scratch.persist(&self.path).map_err(|error| error.error).with_context(|| self.failure())?;
        Ok(())
    }

    /// A new file in the same folder, with the rights of any new file, that vanishes unless it is kept.
    fn scratch(&self) -> anyhow::Result<NamedTempFile> {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let rights = std::fs::Permissions::from_mode(0o666);
        let scratch = Builder::new().prefix(".profilerd-").permissions(rights).tempfile_in(folder);
        scratch.map_err(|error| io::Error::from(error.kind())).with_context(|| self.failure())
    }

    fn failure(&self) -> String {
        format!("failed to write `{}`; choose a place that can be written", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_while_writing_keeps_the_old_content_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        std::fs::write(&path, "old").unwrap();
        let file = WholeFile::at(&path).unwrap();
        let failed = file.write(|out| {
            out.write_all(b"half")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        file.write(|out| Ok(out.write_all(b"new")?)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(WholeFile::at(folder.path()).is_err());
        assert!(WholeFile::at(&folder.path().join("missing/a.svg")).is_err());
    }
}
