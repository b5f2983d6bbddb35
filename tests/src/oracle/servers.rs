//! Redis and PostgreSQL as subjects: servers of their own in folders of their own, asked by their own benchmarks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::Subject;
use super::subject::{Begin, End, STEP};
use crate::host;
use crate::postgres::PostgresFolder;
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
        let Some(server) = PostgresFolder::create()? else { return Ok(None) };
        let program = server.start(&["-c", "listen_addresses=", "-c", PRELOADED])?;
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
