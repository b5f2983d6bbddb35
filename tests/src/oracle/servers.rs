//! Redis and PostgreSQL as subjects: servers of their own in folders of their own, asked by their own benchmarks.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use super::Subject;
use super::subject::{Begin, End, STEP};
use crate::host;
use crate::program::Program;
use crate::workload::sources;

/// Sorting, numbers as text and patterns, in the server's own interpreter of Lua.
const LUA: &str = "local t = {} for i = 1, 200 do t[i] = (i * 7919) % 1009 end table.sort(t) \
    return #string.gsub(table.concat(t, ','), '%d7', 'x') + #cjson.encode(t)";

/// A process that loads a library is seen to have it only after its first stacks through it. Short-lived ones, such as
/// the workers of a query, load this one each anew; their parent has it, so that they begin with it.
const PRELOADED: &str = "shared_preload_libraries=plpgsql";

impl Subject {
    /// A Redis server that also writes its files; `None` after saying why where it is not installed.
    pub fn redis() -> Result<Option<Self>> {
        let folder = tempfile::tempdir().context("failed to create a folder")?;
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "5 1", "--appendonly", "yes", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(folder.path());
        let Ok(mut program) = Program::start(command) else {
            host::skip("there is no redis-server; it is in Debian's package `redis-server`");
            return Ok(None);
        };
        program.await_line(STEP, |line| line.contains("eady to accept connections").then_some(()))?;
        let commands = "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,zpopmin,lrange,mset";
        let mixed = benchmark(&socket, &["-l", "-c", "6", "-n", "20000", "-r", "1000", "-t", commands]);
        let scripts = benchmark(&socket, &["-l", "-c", "2", "-n", "10000", "eval", LUA, "0"]);
        let subject = Self::new("redis-server", program, Begin::Loads(vec![mixed, scripts]), End::Signal(Signal::TERM));
        Ok(Some(subject.with_folder(folder)))
    }

    /// A PostgreSQL server with a database of its own; `None` after saying why where it is not installed.
    pub fn postgres() -> Result<Option<Self>> {
        let Some(programs) = postgres_programs() else {
            host::skip("there is no /usr/lib/postgresql; it comes with Debian's package `postgresql`");
            return Ok(None);
        };
        let server = PostgresFolder::new(programs)?;
        server.run("initdb", &["--auth=trust", "--username=postgres", "--no-sync", "-D"], &[server.data()])?;
        let mut command = server.command("postgres");
        command.args(["-F", "-c", "listen_addresses=", "-c", PRELOADED, "-k"]).arg(server.path());
        command.arg("-D").arg(server.data());
        let mut program = Program::start(command)?;
        program.await_line(STEP, |line| line.contains("ready to accept connections").then_some(()))?;
        server.run(
            "pgbench",
            &["-i", "-q", "-s", "2", "-U", "postgres", "-d", "postgres", "-h"],
            &[server.path().into()],
        )?;
        let mut load = server.command("pgbench");
        load.args(["-n", "-c", "4", "-T", "36000", "-U", "postgres", "-d", "postgres", "-b", "tpcb-like@1", "-f"]);
        load.arg(format!("{}@1", sources().join("stacks.sql").display())).arg("-h").arg(server.path());
        let subject = Self::new("postgres", program, Begin::Loads(vec![load]), End::Signal(Signal::INT));
        Ok(Some(subject.with_folder(server.folder)))
    }
}

fn benchmark(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("redis-benchmark");
    command.arg("-s").arg(socket).arg("-q").args(arguments);
    command
}

/// The folder of the newest version's programs.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|folder| folder.join("initdb").exists() && folder.join("pgbench").exists()).max()
}

/// The server refuses to run as root, so it runs as a user without rights, who owns the folder.
struct PostgresFolder {
    programs: PathBuf,
    folder: TempDir,
    user: (u32, u32),
}

impl PostgresFolder {
    fn new(programs: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to create a folder")?;
        let user = unprivileged_user()?;
        chown(folder.path(), Some(user.0), Some(user.1)).context("failed to give the folder away")?;
        Ok(Self { programs, folder, user })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.uid(self.user.0).gid(self.user.1).current_dir(self.path()).env("LC_ALL", "C");
        command
    }

    fn run(&self, program: &str, arguments: &[&str], paths: &[PathBuf]) -> Result<()> {
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
