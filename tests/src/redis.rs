//! Redis from Debian, and a client that asks it for its own statistics.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::database::free_address;
use crate::host;
use crate::program::Program;
use crate::workload::scratch;

const START: Duration = Duration::from_secs(60);

/// A running server with an empty database in a folder of its own on a disk; both end when dropped.
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    /// The server.
    pub program: Program,
    /// Its folder.
    pub folder: TempDir,
}

impl Redis {
    /// Starts the server, which saves nothing unless options say so; `None` after saying why where it is not installed.
    pub fn start(options: &[&str]) -> Result<Option<Self>> {
        let (folder, address) =
            (tempfile::tempdir_in(scratch()?).context("failed to create a folder")?, free_address()?);
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &address.port().to_string()]);
        command.args(options).arg("--dir").arg(folder.path());
        let Ok(mut program) = Program::start(command) else {
            host::skip("there is no redis-server; it is in Debian's package `redis-server`");
            return Ok(None);
        };
        program.await_line(START, |line| line.contains("eady to accept connections").then_some(()))?;
        Ok(Some(Self { address, program, folder }))
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<RedisClient> {
        let stream = TcpStream::connect(self.address).context("failed to connect to Redis")?;
        Ok(RedisClient { stream: BufReader::new(stream) })
    }

    /// `redis-benchmark` of one command on so many connections, until dropped.
    pub fn load(&self, words: &[&str], connections: u32) -> Result<Program> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &self.address.port().to_string(), "-c", &connections.to_string()]);
        command.args(["-n", "1000000000", "-q"]).args(words);
        Program::start(command)
    }
}

/// A connection that asks and waits for the answer.
pub struct RedisClient {
    stream: BufReader<TcpStream>,
}

impl RedisClient {
    /// Sends one command; its answer as text, items of a list in lines.
    pub fn ask(&mut self, words: &[&str]) -> Result<String> {
        let items = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let command = format!("*{}\r\n{}", words.len(), items.collect::<String>());
        self.stream.get_mut().write_all(command.as_bytes()).context("failed to write to Redis")?;
        self.read_answer().with_context(|| format!("Redis on {words:?}"))
    }

    /// Everything it says of itself.
    pub fn info(&mut self) -> Result<Info> {
        Ok(Info(self.ask(&["INFO", "everything"])?))
    }

    fn read_answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("failed to read")?;
        let rest = line.trim_end().get(1..).unwrap_or_default();
        match line.as_bytes().first() {
            Some(b'+' | b':') => Ok(rest.to_owned()),
            Some(b'$') => self.read_text(rest.parse()?),
            Some(b'*') => {
                let items = (0..rest.parse()?).map(|_: usize| self.read_answer());
                Ok(items.collect::<Result<Vec<_>>>()?.join("\n"))
            }
            _ => bail!("it answered {line:?}"),
        }
    }

    fn read_text(&mut self, length: usize) -> Result<String> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).context("failed to read")?;
        bytes.truncate(length);
        String::from_utf8(bytes).context("an answer is no text")
    }
}

/// The answer to `INFO`: lines such as `name:value`, or `name:key=value,key=value`.
pub struct Info(String);

impl Info {
    /// The number of this name, or of a key within its line, as `name.key`.
    pub fn number(&self, name: &str) -> Option<f64> {
        let (line, key) = name.split_once('.').map_or((name, None), |(line, key)| (line, Some(key)));
        let (_, value) = self.lines().find(|(name, _)| *name == line)?;
        key.map_or_else(|| value.parse().ok(), |key| value_of(value, key))
    }

    /// The sum of a key over all lines whose names begin so.
    pub fn sum(&self, beginning: &str, key: &str) -> f64 {
        self.lines().filter(|(name, _)| name.starts_with(beginning)).filter_map(|(_, value)| value_of(value, key)).sum()
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.trim_end().split_once(':'))
    }
}

fn value_of(values: &str, key: &str) -> Option<f64> {
    values.split(',').find_map(|one| one.strip_prefix(key)?.strip_prefix('='))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_lines_and_within_them() {
        let text =
            "# CPU\r\nused_cpu_sys:0.5\r\ncmdstat_set:calls=20,usec=44,usec_per_call=2.20\r\ncmdstat_get:usec=1\r\n";
        let info = Info(text.into());
        assert_eq!(info.number("used_cpu_sys"), Some(0.5));
        assert_eq!(info.number("cmdstat_set.usec"), Some(44.0));
        assert_eq!(info.number("cmdstat_del.usec"), None);
        assert_eq!(info.sum("cmdstat_", "usec"), 45.0);
    }
}
