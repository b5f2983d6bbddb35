//! What the kernel says about a profiler: the statistics of the BPF programs it holds, its CPU time, and its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use rustix::param::clock_ticks_per_second;

/// Runs of one BPF program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Runs {
    /// The program's id.
    pub(crate) id: u32,
    /// Its name.
    pub(crate) name: String,
    /// How often it ran while statistics were on.
    pub(crate) count: u64,
    /// How long it ran in all.
    pub(crate) ns: u64,
}

/// Turns the statistics on for as long as the value lives; what `kernel.bpf_stats_enabled` says stays as it is.
pub(crate) fn statistics() -> Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("failed to enable the statistics of BPF programs")
}

/// Whether a process holds a link of a BPF program to something that happens in the kernel.
pub(crate) fn is_attached(pid: u32) -> Result<bool> {
    Ok(descriptors(pid)?.any(|text| text.contains("link_type:")))
}

/// The CPU time of all threads of a process, living and ended.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
    let ticks = cpu_ticks(&text).with_context(|| format!("`{path}` is malformed"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// The CPU time of a process's living threads, to the nanosecond.
pub(crate) fn exact_cpu_time(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("failed to read `{folder}`"))?;
    let times = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    Ok(Duration::from_nanos(times.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()))
}

/// The CPU time of all children of this process whose end it has seen, and of theirs.
pub(crate) fn children_cpu_time() -> Result<Duration> {
    let used = times_of_children().context("the kernel tells no times of children")?;
    Ok(Duration::from_secs_f64(used as f64 / clock_ticks_per_second() as f64))
}

fn times_of_children() -> Option<u64> {
    fields_sum(&fs::read_to_string("/proc/self/stat").ok()?, 13)
}

/// The most memory a process has had resident.
pub(crate) fn peak_resident_bytes(pid: u32) -> Result<u64> {
    Ok(field_of(&format!("/proc/{pid}/status"), "VmHWM:")? * 1024)
}

/// What a process has written so far, to whatever it was.
pub(crate) fn bytes_written(pid: u32) -> Result<u64> {
    field_of(&format!("/proc/{pid}/io"), "wchar:")
}

/// The kernel's memory for the BPF maps a process has open.
pub(crate) fn map_bytes(pid: u32) -> Result<u64> {
    let maps = descriptors(pid)?.filter_map(|text| Some((number(&text, "map_id:")?, number(&text, "memlock:")?)));
    Ok(maps.collect::<BTreeMap<_, _>>().values().sum())
}

/// The first number behind a name in a file.
fn field_of(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    number(&text, name).with_context(|| format!("`{path}` has no {name}"))
}

fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The ids of the BPF programs a process has open.
fn program_ids(pid: u32) -> Result<BTreeSet<u32>> {
    Ok(descriptors(pid)?.filter_map(|text| program_id(&text)).collect())
}

/// What the kernel says about each open descriptor of a process.
fn descriptors(pid: u32) -> Result<impl Iterator<Item = String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to read `{folder}`"))?;
    Ok(entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok()))
}

/// Runs of the programs a process has open, by id.
pub(crate) fn runs_of(pid: u32) -> Result<Vec<Runs>> {
    let ids = program_ids(pid)?;
    let mut runs = Vec::new();
    for program in loaded_programs() {
        // One that was unloaded meanwhile belongs to somebody else.
        let Ok(program) = program else { continue };
        if ids.contains(&program.id()) {
            let ns = program.run_time().as_nanos() as u64;
            let name = program.name_as_str().unwrap_or("?").to_owned();
            runs.push(Runs { id: program.id(), name, count: program.run_count(), ns });
        }
    }
    Ok(runs)
}

/// What was added between two readings; programs that did not run are left out.
pub(crate) fn difference(before: &[Runs], after: &[Runs]) -> Vec<Runs> {
    let added = |now: &Runs| {
        let then = before.iter().find(|then| then.id == now.id);
        let (count, ns) = then.map_or((0, 0), |then| (then.count, then.ns));
        Runs { count: now.count - count, ns: now.ns - ns, ..now.clone() }
    };
    after.iter().map(added).filter(|runs| runs.count > 0).collect()
}

/// Adds runs to those of the same name; a program has another id each time it is loaded.
pub(crate) fn add(sums: &mut Vec<Runs>, more: Vec<Runs>) {
    for runs in more {
        match sums.iter_mut().find(|sum| sum.name == runs.name) {
            Some(sum) => (sum.count, sum.ns) = (sum.count + runs.count, sum.ns + runs.ns),
            None => sums.push(runs),
        }
    }
}

/// User and system time of a `stat` file: the 14th and 15th field. The 2nd, a name, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    fields_sum(stat, 11)
}

/// The sum of two fields behind the name, after so many.
fn fields_sum(stat: &str, skipped: usize) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(skipped);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn program_id(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_id_is_read_from_its_descriptor() {
        assert_eq!(program_id("pos:\t0\nprog_type:\t26\nprog_id:\t117\nrun_cnt:\t3\n"), Some(117));
        assert_eq!(program_id("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn cpu_time_is_user_and_system_time_whatever_the_name() {
        let stat = "7 (a) R 9 (b) S 1 7 7 0 -1 4194304 100 0 0 0 25 17 3 4 20 0 1 0 900";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (short) S 1"), None);
    }

    #[test]
    fn runs_of_one_name_are_added_whatever_the_id() {
        let runs = |id, name: &str, count, ns| Runs { id, name: name.to_owned(), count, ns };
        let mut sums = vec![runs(1, "on_cpu", 2, 20)];
        add(&mut sums, vec![runs(5, "sched_exit", 7, 70), runs(6, "on_cpu", 3, 40)]);
        assert_eq!(sums, [runs(1, "on_cpu", 5, 60), runs(5, "sched_exit", 7, 70)]);
    }

    #[test]
    fn only_what_ran_in_between_counts() {
        let runs = |id, count, ns| Runs { id, name: "sched_switch".to_owned(), count, ns };
        let before = [runs(1, 10, 1_000), runs(2, 5, 50)];
        let after = [runs(1, 30, 4_000), runs(2, 5, 50), runs(3, 1, 7)];
        assert_eq!(difference(&before, &after), [runs(1, 20, 3_000), runs(3, 1, 7)]);
    }
}
