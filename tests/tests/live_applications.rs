//! Applications nobody here wrote, attached to while they run under load: the reports say what their own statistics say.
//!
//! Each is started as Debian packages it. Both sides have errors, and say so: reports by their standard error, samplers by
//! the number of their looks, counters by how they round and when they were asked. Figures may be apart by that, and no more.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::activity::{self, Look};
use profiler_tests::books::{self, FunctionRow};
use profiler_tests::daemon::Daemon;
use profiler_tests::estimate::{Estimate, Figure, check_agreement};
use profiler_tests::kernel_books::KernelBooks;
use profiler_tests::load::Load;
use profiler_tests::nginx::{self, Nginx, Served};
use profiler_tests::postgres::PostgresFolder;
use profiler_tests::redis::{Redis, RedisClient};
use profiler_tests::span::{Span, WINDOW};
use profiler_tests::uvicorn::{Handled, Uvicorn};
use profiler_tests::{Books, Program, live_host, tell};
use rustix::time::{ClockId, clock_getres};
use serde_json::Value;

/// Clients of PostgreSQL that contend for one row.
const CLIENTS: usize = 4;
/// How often Redis is told to sleep, and for how long.
const SLEEPS: u32 = 30;
const SLEEP: Duration = Duration::from_millis(30);
/// Windows that a span has; looks at PostgreSQL begin before it, and end after it: it begins within three seconds.
const WINDOWS: u32 = 5;
const LOOKED: u32 = WINDOWS + 6;
/// How far two reports of the same windows may be apart, in seconds: they add up the same captures, but what a wait was for is not
/// told where no capture fell on it, and that is certain only from the least wait period on, which is a millisecond.
const UNCAPTURED: f64 = 1e-3;

#[test]
fn redis_computes_and_sleeps_as_long_as_its_own_statistics_say() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(redis) = Redis::start(&["--enable-debug-command", "yes"])? else { return Ok(()) };
    let mut client = redis.connect()?;
    fill_list(&mut client)?;
    let load = redis.load(&["LRANGE", "list", "0", "-1"], 2)?;
    let pid = redis.program.pid();
    let daemon = Daemon::start_for(pid, &[])?;
    let begin = RedisEdge::read(&mut client, &daemon, pid, &load)?;
    sleep_often(&mut client)?;
    check_commands(&begin, &RedisEdge::read(&mut client, &daemon, pid, &load)?)
}

fn fill_list(client: &mut RedisClient) -> Result<()> {
    let list: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    client.ask(&[&["RPUSH", "list"], &*list.iter().map(String::as_str).collect::<Vec<_>>()].concat())?;
    Ok(())
}

fn sleep_often(client: &mut RedisClient) -> Result<()> {
    for _ in 0..SLEEPS {
        client.ask(&["DEBUG", "SLEEP", &SLEEP.as_secs_f64().to_string()])?;
        // The load has its turn.
        thread::sleep(SLEEP * 2);
    }
    Ok(())
}

/// What the main thread computed and slept between two moments.
fn check_commands(begin: &RedisEdge, end: &RedisEdge) -> Result<()> {
    let passed = |of: fn(&RedisStatistics) -> f64| {
        Estimate::between(of(&end.before) - of(&begin.after), of(&end.after) - of(&begin.before))
    };
    // Redis rounds the time of each call down to a microsecond.
    let rounded = |calls: f64| Estimate::between(0.0, calls / 1e6);
    let (sleeps, calls) = (f64::from(SLEEPS), end.after.calls - begin.before.calls);
    let books = end.books.since(&begin.books);
    tell(&format!("  {calls} commands; {}", describe(&books)));
    let told = passed(|of| of.sleeping_s) + rounded(sleeps);
    let asleep = books.waited("sleep") as f64 / 1e9;
    let least = sleeps * SLEEP.as_secs_f64();
    ensure!((least..told.value + told.bound).contains(&asleep), "asleep for {asleep} s, not {least} to {told:?}");
    check_agreement(&[
        Figure::new("main thread on a CPU", passed(|of| of.cpu_s), Estimate::exact(books.cpu as f64 / 1e9)),
        Figure::new("DEBUG SLEEP", told, end.spent("debugCommand", begin)?),
        Figure::new("all commands", passed(|of| of.commands_s) + rounded(calls), end.spent("call", begin)?),
    ])
}

/// What Redis says of itself at one moment, in seconds.
#[derive(Debug, Clone, Copy)]
struct RedisStatistics {
    cpu_s: f64,
    commands_s: f64,
    sleeping_s: f64,
    calls: f64,
}

impl RedisStatistics {
    fn read(client: &mut RedisClient) -> Result<Self> {
        let info = client.info()?;
        let number = |name: &str| info.number(name).with_context(|| format!("INFO has no `{name}`"));
        Ok(Self {
            cpu_s: number("used_cpu_user_main_thread")? + number("used_cpu_sys_main_thread")?,
            commands_s: info.sum("cmdstat_", "usec") / 1e6,
            sleeping_s: info.sum("cmdstat_debug", "usec") / 1e6,
            calls: info.sum("cmdstat_", "calls"),
        })
    }
}

/// What the daemon says of the main thread at one moment, and what Redis says before and after that.
struct RedisEdge {
    before: RedisStatistics,
    books: Books,
    functions: Vec<FunctionRow>,
    after: RedisStatistics,
}

impl RedisEdge {
    /// The load is held back meanwhile, so that little happens between the questions.
    fn read(client: &mut RedisClient, daemon: &Daemon, pid: u32, load: &Program) -> Result<Self> {
        let _paused = load.pause()?;
        let before = RedisStatistics::read(client)?;
        let (books, functions) = main_thread(daemon, pid)?;
        let after = RedisStatistics::read(client)?;
        Ok(Self { before, books, functions, after })
    }

    /// What a function and all it called took since an earlier edge.
    fn spent(&self, function: &str, earlier: &Self) -> Result<Estimate> {
        let of = |rows: &[FunctionRow]| rows.iter().find(|row| row.function == function).map(Estimate::total_of);
        let now = of(&self.functions).with_context(|| format!("no row for `{function}`"))?;
        Ok(now - of(&earlier.functions).unwrap_or_default())
    }
}

/// The books of a process's main thread, and its functions, each with what it called.
fn main_thread(daemon: &Daemon, pid: u32) -> Result<(Books, Vec<FunctionRow>)> {
    let rows = daemon.breakdown(&format!("&pid={pid}&thread={pid}"))?;
    let books = rows.into_iter().next().with_context(|| format!("the breakdown has no row for {pid}"))?;
    let query = format!("last=1h&inclusive=true&idle=show&limit=100000&pid={pid}&thread={pid}");
    Ok((books, rows_of(&daemon.json(&format!("/api/v1/hotspots?{query}"))?)?))
}

#[test]
fn redis_waits_for_its_disk_as_its_client_and_its_latency_monitor_say() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let options = ["--appendonly", "yes", "--appendfsync", "always", "--latency-monitor-threshold", "1"];
    let Some(redis) = Redis::start(&options)? else { return Ok(()) };
    let mut client = redis.connect()?;
    write_for(&mut client, Duration::from_millis(200))?;
    let pid = redis.program.pid();
    let daemon = Daemon::start_for(pid, &[])?;
    client.ask(&["LATENCY", "RESET"])?;
    let own = || KernelBooks::read(std::process::id(), rustix::thread::gettid().as_raw_nonzero().get() as u32);
    let client_before = own()?;
    let latency = write_for(&mut client, Duration::from_secs(4))?;
    let client_books = own()?.since(client_before);
    let slowest = slowest_syncs(&client.ask(&["LATENCY", "HISTORY", "aof-fsync-always"])?)?;
    let (books, functions) = main_thread(&daemon, pid)?;
    let row = functions.iter().find(|row| row.function == "flushAppendOnlyFile").context("no row for the flush")?;
    let flushing = Estimate::waiting_of(row);
    tell(&format!("  {}; in the flush {:?} queueing {}", describe(&books), row.wait, row.runq));
    // What the client waited for besides: the rest of Redis, and CPUs on both sides.
    let rest = books.cpu + books.runq - row.runq.min(books.runq) + client_books.cpu + client_books.run_delay;
    let found = Estimate::between(flushing.value, flushing.value + rest as f64 / 1e9);
    let found = Estimate { stderr: flushing.stderr, ..found };
    check_agreement(&[Figure::new("answers to SET", Estimate::exact(latency), found)])?;
    ensure!(flushing.may_reach(slowest), "Redis flushed for {slowest} s at least, not {flushing:?}");
    tell(&format!("  its latency monitor alone: {slowest:.3} s of slow syncs in {:.3} s", flushing.value));
    check_synced_file(&redis, &daemon)
}

/// The wait for a sync is told to be for the append-only file, at the function that flushes it.
fn check_synced_file(redis: &Redis, daemon: &Daemon) -> Result<()> {
    let pid = redis.program.pid();
    let waits = daemon.json(&format!("/api/v1/hotspots?last=1h&by=wait&idle=show&pid={pid}&thread={pid}"))?;
    let rows = books::rows(&waits)?;
    let row = rows.iter().find(|row| row["function"] == "disk/sync").context("no wait for a sync")?;
    let path = row["waits_for"].as_str().unwrap_or_default();
    ensure!(path.starts_with(&*redis.folder.path().to_string_lossy()) && path.ends_with(".incr.aof"), "{row}");
    ensure!(row["waits_in"] == "flushAppendOnlyFile", "{row}");
    Ok(())
}

/// Lets the client write again and again; the sum of what it waited for answers, in seconds.
fn write_for(client: &mut RedisClient, length: Duration) -> Result<f64> {
    let (begin, mut waited) = (Instant::now(), Duration::ZERO);
    while begin.elapsed() < length {
        let sent = Instant::now();
        client.ask(&["SET", "key", "value"])?;
        waited += sent.elapsed();
    }
    Ok(waited.as_secs_f64())
}

/// The sum of what the latency monitor kept: of each second the slowest, in whole milliseconds.
fn slowest_syncs(history: &str) -> Result<f64> {
    let numbers = history.lines().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>().context("no history")?;
    Ok(numbers.chunks_exact(2).map(|pair| pair[1] / 1e3).sum())
}

#[test]
fn postgres_backends_wait_in_the_shares_that_pg_stat_activity_shows() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(server) = PostgresFolder::create()? else { return Ok(()) };
    let postmaster = server.start(&["-c", "listen_addresses=", "-c", "fsync=on"])?;
    let _load = activity::start_contention(&server, CLIENTS)?;
    let backends = activity::backends(&server)?;
    ensure!(backends.len() == CLIENTS, "the backends are {backends:?}");
    let daemon = Daemon::start_for(postmaster.pid(), &WINDOW)?;
    let looking = activity::start_looking(&server, LOOKED)?;
    let span = Span::record(&daemon, WINDOWS)?;
    let looks = activity::finish_looking(looking, &span)?;
    tell(&format!("  {} looks:{}", looks.len() / CLIENTS, activity::describe(&looks)));
    let (functions, wall_ns) = functions_of(&daemon, &span, &backends)?;
    check_shares(&looks, &functions, wall_ns)
}

/// The functions of some processes, each with what it called, and how long these lived.
fn functions_of(daemon: &Daemon, span: &Span, pids: &[u32]) -> Result<(Vec<FunctionRow>, u64)> {
    let (mut functions, mut wall_ns) = (Vec::new(), 0);
    for pid in pids {
        let books = span.books(daemon, *pid)?;
        tell(&format!("  backend {pid}: {}", describe(&books)));
        let query = format!("inclusive=true&idle=show&pid={pid}");
        functions.extend(rows_of(&span.report(daemon, "hotspots", &query)?)?);
        wall_ns += books.wall;
    }
    Ok((functions, wall_ns))
}

/// Which parts of their time the backends waited for what.
fn check_shares(looks: &[Look], functions: &[FunctionRow], wall_ns: u64) -> Result<()> {
    let found = |function: &str| {
        let rows = functions.iter().filter(|row| row.function == function);
        rows.map(Estimate::waiting_of).fold(Estimate::default(), |sum, one| sum + one).part_of(wall_ns as f64 / 1e9)
    };
    let share = |wanted: fn(&Look) -> bool| activity::share(looks, wanted);
    let flush = |look: &Look| look.event.starts_with("WAL");
    check_agreement(&[
        Figure::new("Lock, in ProcSleep", share(|look| look.kind == "Lock"), found("ProcSleep")),
        Figure::new(
            "Client:ClientRead, in secure_read",
            share(|look| look.event == "ClientRead"),
            found("secure_read"),
        ),
        Figure::new("IO:WALSync and WALWrite, in XLogFlush", share(flush), found("XLogFlush")),
    ])
}

#[test]
fn nginx_waits_for_its_upstream_and_its_clients_as_long_as_its_access_log_says() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let upstream = nginx::start_slow_upstream()?;
    let Some(nginx) = Nginx::start(upstream)? else { return Ok(()) };
    let Some(_load) = Load::start(nginx.address, 1, "function delay() return 15 end")? else { return Ok(()) };
    let daemon = Daemon::start_for(nginx.program.pid(), &WINDOW)?;
    let span = Span::record(&daemon, WINDOWS)?;
    let books = span.books(&daemon, nginx.worker)?;
    let waits = span.report(&daemon, "hotspots", &format!("by=wait&idle=show&pid={}", nginx.worker))?;
    let mut served = nginx.served()?;
    served.retain(|one| span.overlap(one.end - one.request, one.end) > 0.0);
    tell(&format!("  {} requests; {}", served.len(), describe(&books)));
    // The upstream is a thread of this process.
    let comm = std::fs::read_to_string("/proc/self/comm").context("failed to read a name")?;
    let upstream = format!("{upstream} ({}[{}])", comm.trim_end(), std::process::id());
    let clients = format!("port {}", nginx.address.port());
    check_served(
        &served,
        &span,
        &books,
        [waited_for(&waits, "poll/reply", &upstream)?, waited_for(&waits, "poll/request", &clients)?],
    )?;
    let idle = waited_for(&waits, "poll/request", &clients)?.value - books.idle as f64 / 1e9;
    ensure!(idle.abs() < UNCAPTURED, "what is idle is not what waits for clients: {idle} s apart");
    Ok(())
}

/// How long the worker waited for its upstream, and for its clients.
fn check_served(served: &[Served], span: &Span, books: &Books, [upstream, clients]: [Estimate; 2]) -> Result<()> {
    // Each time in the log is the difference of two readings of a clock that stands still between ticks.
    let tick = clock_getres(ClockId::MonotonicCoarse).tv_nsec as f64 / 1e9;
    let stderr = tick * (served.len() as f64 / 6.0).sqrt();
    let logged =
        |of: fn(&Served) -> f64| served.iter().map(|one| span.overlap(one.end - of(one), one.end)).sum::<f64>();
    let own = |value: f64| Estimate { value, stderr, bound: 0.0 };
    // What is logged begins and ends while the worker runs.
    let running = Estimate::between(0.0, (books.cpu + books.runq + books.steal) as f64 / 1e9);
    check_agreement(&[
        Figure::new("upstream", own(logged(|one| one.upstream)), upstream + running),
        Figure::new("between requests", own(span.seconds() - logged(|one| one.request)), clients + running),
    ])
}

/// The time of one kind of wait for one subject.
fn waited_for(waits: &Value, kind: &str, subject: &str) -> Result<Estimate> {
    let rows = books::rows(waits)?;
    let row = rows.iter().find(|row| row["function"] == kind && row["waits_for"] == subject);
    let row = row.with_context(|| format!("no {kind} for {subject} in {waits}"))?;
    Ok(Estimate::total_of(&FunctionRow::parse(row)?))
}

#[test]
fn endpoints_of_a_uvicorn_service_take_as_long_as_its_own_timing_says() -> Result<()> {
    let Some(_host) = live_host() else { return Ok(()) };
    let Some(service) = Uvicorn::start()? else { return Ok(()) };
    let script = "local paths = {'/computing', '/blocking', '/awaiting', '/pooled'}\nlocal at = 0\n\
                  request = function() at = at % #paths + 1; return wrk.format('GET', paths[at]) end";
    let Some(_load) = Load::start(service.address, 1, script)? else { return Ok(()) };
    let pid = service.program.pid();
    let daemon = Daemon::start_for(pid, &WINDOW)?;
    let span = Span::record(&daemon, WINDOWS)?;
    let handled = service.handled()?;
    let books = span.books(&daemon, pid)?;
    let rows = rows_of(&span.report(&daemon, "hotspots", &format!("inclusive=true&idle=show&pid={pid}"))?)?;
    let waits = span.report(&daemon, "hotspots", &format!("by=wait&idle=show&pid={pid}"))?;
    tell(&format!("  {} requests; {}", handled.len(), describe(&books)));
    check_endpoints(&handled, &span, &books, &rows, kinds(&waits, &["poll/timer", "poll/handoff"])?)?;
    let idle = kinds(&waits, &["sync/idle worker", "poll/request"])?.value;
    ensure!((idle - books.idle as f64 / 1e9).abs() < UNCAPTURED, "idle is {}, not {idle} s", books.idle);
    Ok(())
}

/// How long each endpoint took; `looped` is what the loop waited for those that await something.
fn check_endpoints(
    handled: &[Handled],
    span: &Span,
    books: &Books,
    rows: &[FunctionRow],
    looped: Estimate,
) -> Result<()> {
    let lasted = |name: &str| {
        let of_endpoint = handled.iter().filter(|one: &&Handled| one.path.ends_with(name));
        Estimate::exact(of_endpoint.map(|one| span.overlap(one.begin, one.end)).sum())
    };
    let row = |name: &str| rows.iter().find(|row| row.function == name).with_context(|| format!("no row for `{name}`"));
    let mut figures = Vec::new();
    // Around the endpoints both threads run, and queue for CPUs: one more or less of that is in the loop's waits. On a busy
    // machine it is most of what both may be apart.
    let mut around_ns = books.cpu + books.runq;
    for name in ["computing", "blocking", "pooled"] {
        let row = row(name)?;
        figures.push(Figure::new(name, lasted(name), Estimate::total_of(row)));
        around_ns = around_ns.saturating_sub(row.cpu_sum() + row.runq);
    }
    let awaited = (lasted("awaiting") + lasted("pooled")).within(around_ns as f64 / 1e9);
    figures.push(Figure::new("awaiting and pooled, in the loop's waits", awaited, looped));
    check_agreement(&figures)?;
    let (blocking, pooled) = (row("blocking")?, row("pooled")?);
    ensure!(blocking.is_mostly("sleep") && pooled.is_mostly("sleep"), "{blocking:?} {pooled:?}");
    Ok(())
}

/// The time of some kinds of waits, whatever they were for.
fn kinds(waits: &Value, kinds: &[&str]) -> Result<Estimate> {
    let rows = rows_of(waits)?;
    let wanted = rows.iter().filter(|row| kinds.contains(&row.function.as_str())).map(Estimate::total_of);
    Ok(wanted.fold(Estimate::default(), |sum, one| sum + one))
}

fn rows_of(answer: &Value) -> Result<Vec<FunctionRow>> {
    books::rows(answer)?.iter().map(FunctionRow::parse).collect()
}

/// Where the time went, for people.
fn describe(books: &Books) -> String {
    let s = |ns: u64| ns as f64 / 1e9;
    let waits = books.wait.iter().filter(|(_, ns)| **ns > 0).map(|(class, ns)| format!(", {class} {:.4}", s(*ns)));
    let waits: String = waits.collect();
    format!(
        "wall {:.4} s: cpu {:.4}, runq {:.4}, steal {:.4}{waits}",
        s(books.wall),
        s(books.cpu),
        s(books.runq),
        s(books.steal)
    )
}
