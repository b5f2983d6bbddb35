//! Load on PostgreSQL, and what its own view `pg_stat_activity` says about the backends that bear it.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::estimate::Estimate;
use crate::postgres::PostgresFolder;
use crate::program::Program;
use crate::span::Span;

const END: Duration = Duration::from_secs(60);
/// The name by which the backends are told from others.
const NAME: &str = "load";

/// Every client increments the same row, and thinks twice while it has it locked.
const CONTENTION: &str = "BEGIN;\nUPDATE hot SET n = n + 1 WHERE id = 1;\n\\sleep 3 ms\nEND;\n\\sleep 5 ms\n";

/// Looks at the view at random moments, 4 ms apart on average besides what a look takes.
const LOOKS: &str = "
CREATE TEMP TABLE seen (at float8, pid int, type text, event text);
\\echo looking
DO $$
DECLARE stop timestamptz := clock_timestamp() + interval 'SECONDS s'; moment float8;
BEGIN
    WHILE clock_timestamp() < stop LOOP
        PERFORM pg_stat_clear_snapshot();
        moment := extract(epoch FROM clock_timestamp());
        INSERT INTO seen SELECT moment, pid, coalesce(wait_event_type, ''), coalesce(wait_event, '')
            FROM pg_stat_activity WHERE application_name = 'load';
        PERFORM pg_sleep(random() * 0.008);
    END LOOP;
END $$;
SELECT 'look', at, pid, type, event FROM seen ORDER BY at;
";

/// One backend at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When, by the system's clock.
    pub at: f64,
    /// The backend.
    pub pid: u32,
    /// `Lock`, `Client`, `IO`, …; empty while it does not wait.
    pub kind: String,
    /// `transactionid`, `ClientRead`, `WALSync`, …
    pub event: String,
}

/// Starts clients that contend for one row, until dropped.
pub fn start_contention(server: &PostgresFolder, clients: usize) -> Result<Program> {
    psql(server, "CREATE TABLE hot (id int PRIMARY KEY, n int); INSERT INTO hot VALUES (1, 0);")?;
    let script = server.path().join("contention.sql");
    fs::write(&script, CONTENTION).context("failed to write a script")?;
    let mut command = server.command("pgbench");
    command.args(["-n", "-U", "postgres", "-T", "600", "-j", "1", "-P", "1", "-c", &clients.to_string(), "-h"]);
    command.arg(server.path()).arg("-f").arg(script).arg("postgres").env("PGAPPNAME", NAME);
    let mut load = Program::start(command)?;
    load.await_line(END, |line| line.starts_with("progress:").then_some(()))?;
    Ok(load)
}

/// The pids of the backends that bear the load.
pub fn backends(server: &PostgresFolder) -> Result<Vec<u32>> {
    let text = psql(server, "SELECT 'pid', pid FROM pg_stat_activity WHERE application_name = 'load';")?;
    text.lines().filter_map(|line| line.strip_prefix("pid,")).map(|pid| Ok(pid.trim().parse()?)).collect()
}

/// Begins to look at the backends, for so many seconds; returns when the connection to do so stands.
pub fn start_looking(server: &PostgresFolder, seconds: u32) -> Result<Program> {
    let script = server.path().join("looks.sql");
    fs::write(&script, LOOKS.replace("SECONDS", &seconds.to_string())).context("failed to write a script")?;
    let mut command = psql_command(server);
    command.arg("-f").arg(script);
    let mut looking = Program::start(command)?;
    looking.await_line(END, |line| (line == "looking").then_some(()))?;
    Ok(looking)
}

/// The looks within the span, which they have to surround.
pub fn finish_looking(looking: Program, span: &Span) -> Result<Vec<Look>> {
    let ended = looking.finish(END)?;
    ensure!(ended.status.success(), "psql failed: {:?}", ended.lines.last());
    let mut looks: Vec<Look> = ended.lines.iter().filter_map(|line| Look::parse(line)).collect();
    let (first, last) = (looks.first().context("no looks")?.at, looks.last().context("no looks")?.at);
    ensure!(first < span.from && last > span.to, "looked from {first} to {last}, not through {span:?}");
    looks.retain(|look| span.contains(look.at));
    Ok(looks)
}

/// The part of the backends' time in such events.
pub fn share(looks: &[Look], is_such: impl Fn(&Look) -> bool) -> Estimate {
    let at_once = |together: &[Look]| {
        let such = together.iter().filter(|look| is_such(look)).count();
        such as f64 / together.len() as f64
    };
    let parts: Vec<f64> = looks.chunk_by(|one, other| one.at == other.at).map(at_once).collect();
    Estimate::mean(&parts)
}

/// The shares of all events, for people.
pub fn describe(looks: &[Look]) -> String {
    let mut events: Vec<_> = looks.iter().map(|look| (&look.kind, &look.event)).collect();
    events.sort();
    let mut text = String::new();
    for same in events.chunk_by(|one, other| one == other) {
        let percent = 100.0 * same.len() as f64 / looks.len() as f64;
        let _ = write!(text, " {}:{} {percent:.1} %", same[0].0, same[0].1);
    }
    text
}

impl Look {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.strip_prefix("look,")?.split(',');
        let mut next = || cells.next();
        let (at, pid) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self { at, pid, kind: next()?.to_owned(), event: next()?.trim().to_owned() })
    }
}

fn psql_command(server: &PostgresFolder) -> std::process::Command {
    let mut command = server.command("psql");
    command.args(["-X", "-q", "-A", "-t", "-F", ",", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
    command.arg(server.path());
    command
}

/// What SQL prints, without headings.
fn psql(server: &PostgresFolder, sql: &str) -> Result<String> {
    let output = psql_command(server).arg("-c").arg(sql).output().context("failed to run psql")?;
    ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
