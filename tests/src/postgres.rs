//! PostgreSQL from Debian with a database of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::host;
use crate::program::{Program, is_installed};

const START: Duration = Duration::from_secs(60);
/// On a disk, reachable for every user, and so short that the path of a socket below it is not too long.
const FOLDERS: &str = "/var/tmp";

/// The folder of the newest version's programs.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|folder| folder.join("initdb").exists() && folder.join("pgbench").exists()).max()
}

/// The server refuses to run as root, so it runs as a user without rights, who owns the folder.
pub struct PostgresFolder {
    programs: PathBuf,
    /// The folder, which goes with this value.
    pub folder: TempDir,
    user: (u32, u32),
}

impl PostgresFolder {
    /// A folder with a new database; `None` after saying why where PostgreSQL is not installed.
    pub fn create() -> Result<Option<Self>> {
        let Some(programs) = postgres_programs() else {
            host::skip("there is no /usr/lib/postgresql; it comes with Debian's package `postgresql`");
            return Ok(None);
        };
        ensure!(is_installed("setpriv"), "there is no setpriv; it is in Debian's package `util-linux`");
        let folder = tempfile::tempdir_in(FOLDERS).context("failed to create a folder")?;
        let user = unprivileged_user()?;
        chown(folder.path(), Some(user.0), Some(user.1)).context("failed to give the folder away")?;
        let server = Self { programs, folder, user };
        server.run("initdb", &["--auth=trust", "--username=postgres", "--no-sync", "-D"], &[server.data()])?;
        Ok(Some(server))
    }

    /// Starts the server, which listens within the folder and where the options say.
    pub fn start(&self, options: &[&str]) -> Result<Program> {
        let mut command = self.command("postgres");
        command.arg("-F").args(options).arg("-k").arg(self.path()).arg("-D").arg(self.data());
        let mut program = Program::start(command)?;
        program.await_line(START, |line| line.contains("ready to accept connections").then_some(()))?;
        Ok(program)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// One of PostgreSQL's programs, as the user who owns the folder.
    pub fn command(&self, program: &str) -> Command {
        let (user, group) = (self.user.0.to_string(), self.user.1.to_string());
        let mut command = Command::new("setpriv");
        // The kernel forgets whom to tell of the end of a parent when the user changes, unless that is kept.
        command.args(["--pdeathsig", "keep", "--reuid", &user, "--regid", &group, "--clear-groups", "--"]);
        command.arg(self.programs.join(program)).current_dir(self.path()).env("LC_ALL", "C");
        command
    }

    /// Runs one of them to its end.
    pub fn run(&self, program: &str, arguments: &[&str], paths: &[PathBuf]) -> Result<()> {
        let mut command = self.command(program);
        let output = command.args(arguments).args(paths).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("failed to run {program}"))?;
        ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// The user `nobody` and its group.
fn unprivileged_user() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("failed to read `/etc/passwd`")?;
    let line = users.lines().find(|line| line.starts_with("nobody:")).context("there is no user `nobody`")?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    let mut next = || numbers.next().context("a user has numbers")?.context("they are numbers");
    Ok((next()?, next()?))
}
