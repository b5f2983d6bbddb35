//! External commands: echoed before they run, and failing with what to do about it.
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// One external command. What it prints goes to the terminal, unless [`Command::read`] collects it.
pub(crate) struct Command {
    inner: std::process::Command,
    envs: Vec<(String, OsString)>,
    advice: Option<String>,
}

impl Command {
    /// A command with the caller's environment, less what `cargo xtask` itself put there.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = std::process::Command::new(program);
        inner.stdin(Stdio::null()).current_dir(crate::repository::root());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_left_by_cargo) {
                inner.env_remove(name);
            }
        }
        Self { inner, envs: Vec::new(), advice: None }
    }

    /// The cargo that runs this task, for the host half.
    pub(crate) fn cargo() -> Self {
        let mut command = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
            command.inner.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable; it is echoed with the command.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Runs in `dir` instead of the repository's root.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Puts `dir` first on `PATH`.
    pub(crate) fn path_first(self, dir: &Path) -> Self {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&rest));
        let joined = std::env::join_paths(all).unwrap_or(rest);
        self.env("PATH", joined)
    }

    /// Writes what it prints on its standard error into `file`.
    pub(crate) fn log_to(mut self, file: File) -> Self {
        self.inner.stderr(file);
        self
    }

    /// What the user should do if the command fails.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Echoes and runs the command; anything but success is an error that carries the advice.
    pub(crate) fn run(mut self) -> Result<()> {
        let shown = self.shown();
        eprintln!("$ {shown}");
        self.inner.envs(self.envs.iter().map(|(name, value)| (name, value)));
        let status = self.inner.status().with_context(|| self.failure(&shown, "it could not be started"))?;
        if !status.success() {
            bail!(self.failure(&shown, &status.to_string()));
        }
        Ok(())
    }

    /// Runs the command silently and returns what it printed on both streams; `None` if it failed or does not exist.
    pub(crate) fn read(mut self) -> Option<String> {
        self.inner.envs(self.envs.iter().map(|(name, value)| (name, value)));
        let output = self.inner.output().ok().filter(|output| output.status.success())?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Some(text)
    }

    /// Echoes and runs the command and hands over each line of its standard output as it comes; ends it at `deadline`.
    pub(crate) fn stream(mut self, deadline: Duration, mut on_line: impl FnMut(&str)) -> Result<()> {
        let shown = self.shown();
        eprintln!("$ {shown}");
        self.inner.envs(self.envs.iter().map(|(name, value)| (name, value))).stdout(Stdio::piped());
        let mut child = self.inner.spawn().with_context(|| self.failure(&shown, "it could not be started"))?;
        let lines = read_lines(child.stdout.take().expect("its standard output was piped"));
        let end = Instant::now() + deadline;
        let in_time = loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => on_line(&line),
                Err(error) => break error == RecvTimeoutError::Disconnected,
            }
        };
        if !in_time {
            let _ = child.kill();
        }
        let status = child.wait().with_context(|| self.failure(&shown, "its end was not seen"))?;
        match (in_time, status.success()) {
            (false, _) => bail!("`{shown}` was ended after {} s", deadline.as_secs()),
            (true, false) => bail!(self.failure(&shown, &status.to_string())),
            (true, true) => Ok(()),
        }
    }

    fn failure(&self, shown: &str, how: &str) -> String {
        let advice = self.advice.as_deref().map(|advice| format!("\n  what to do: {advice}")).unwrap_or_default();
        format!("failed to run `{shown}`: {how}{advice}")
    }

    fn shown(&self) -> String {
        let envs = self
            .envs
            .iter()
            .filter(|(name, _)| name != "PATH")
            .map(|(name, value)| format!("{name}={}", quoted(&value.to_string_lossy().replace('\u{1f}', " "))));
        let words = std::iter::once(self.inner.get_program()).chain(self.inner.get_args());
        envs.chain(words.map(|word| quoted(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
    }
}

/// Lines of `stream` as they come, whatever bytes they hold; the channel closes at its end.
fn read_lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// The first executable file called `name` on `PATH` or in one of `more`.
pub(crate) fn find_program(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(more.iter().cloned()).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether `file` exists, is a regular file and may be executed by somebody.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Variables that cargo and rustup set for this process and that would mislead another toolchain. The user's own
/// cargo settings (home, target folder, network, registries, terminal) stay.
fn is_left_by_cargo(name: &str) -> bool {
    const OF_THE_RUNNING_PACKAGE: [&str; 5] = ["PKG_", "MANIFEST_", "CRATE_", "BIN_", "PRIMARY_"];
    const OF_THE_TOOLCHAIN: [&str; 7] =
        ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT", "LD_LIBRARY_PATH"];
    match name.strip_prefix("CARGO_") {
        Some(rest) => OF_THE_RUNNING_PACKAGE.iter().any(|prefix| rest.starts_with(prefix)),
        None => OF_THE_TOOLCHAIN.contains(&name),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_to_do() {
        let error = Command::new("false").advice("try harder").run().unwrap_err().to_string();
        assert!(error.contains("`false`") && error.contains("what to do: try harder"), "{error}");
    }

    #[test]
    fn a_command_that_does_not_exist_says_what_to_do() {
        let error = Command::new("no-such-program-anywhere").advice("install it").run().unwrap_err().to_string();
        assert!(error.contains("install it"), "{error}");
    }

    #[test]
    fn what_cargo_left_behind_is_dropped_and_what_the_user_set_is_kept() {
        for dropped in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "RUSTUP_TOOLCHAIN", "RUSTC", "LD_LIBRARY_PATH"]
        {
            assert!(is_left_by_cargo(dropped), "{dropped}");
        }
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "PATH", "CI"] {
            assert!(!is_left_by_cargo(kept), "{kept}");
        }
    }

    #[test]
    fn streamed_lines_arrive_in_order_and_a_hanging_command_is_ended() {
        let mut lines = Vec::new();
        let script = "echo one; echo two; exec sleep 60";
        let error =
            Command::new("sh").args(["-c", script]).stream(Duration::from_secs(1), |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two"]);
        assert!(error.unwrap_err().to_string().contains("ended after 1 s"));
    }

    #[test]
    fn echoed_words_with_spaces_are_quoted() {
        let shown = Command::new("printf").arg("two words").env("A", "b").shown();
        assert_eq!(shown, "A=b printf 'two words'");
    }
}
