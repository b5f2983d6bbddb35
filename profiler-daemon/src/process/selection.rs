//! Which processes a selector means: those it names, and all their descendants.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ProcessError;
use super::image::{read_stat, without_deleted};
use super::limits;
use super::stat::{ProcessStat, parse_cgroups};
use super::world::{ProcFile, World};
use crate::settings::Selector;

/// The pids of all processes the selector means now, in ascending order.
///
/// # Errors
/// [`ProcessError::NoSuchProcess`] if the selector names a pid no process has. That nothing matches another selector is no
/// error: a process that does may start later.
pub fn resolve(selector: &Selector, world: &dyn World) -> Result<Vec<u32>, ProcessError> {
    let stats = read_all_stats(world)?;
    if let Selector::Pid(pid) = selector
        && !stats.contains_key(pid)
    {
        return Err(ProcessError::NoSuchProcess(*pid));
    }
    let criterion = Criterion::new(selector, world);
    let named: Vec<u32> =
        stats.iter().filter(|(pid, stat)| criterion.names(**pid, stat, world)).map(|(pid, _)| *pid).collect();
    Ok(with_descendants(named, &stats))
}

/// Whether the selector means the process: names it or one of its ancestors.
pub fn matches(selector: &Selector, pid: u32, world: &dyn World) -> bool {
    let criterion = Criterion::new(selector, world);
    let mut at = pid;
    for _ in 0..limits::ANCESTORS {
        let Ok(stat) = read_stat(at, world) else { return false };
        if criterion.names(at, &stat, world) {
            return true;
        }
        match stat.parent {
            0 => return false,
            parent => at = parent,
        }
    }
    false
}

/// A selector with what must be looked up only once.
struct Criterion<'a> {
    selector: &'a Selector,
    canonical: Option<PathBuf>,
}

impl<'a> Criterion<'a> {
    fn new(selector: &'a Selector, world: &dyn World) -> Self {
        let canonical = match selector {
            Selector::Exe(path) => world.canonical_path(path).ok(),
            _ => None,
        };
        Self { selector, canonical }
    }

    /// Whether the selector names this very process, whatever its ancestors.
    fn names(&self, pid: u32, stat: &ProcessStat, world: &dyn World) -> bool {
        match self.selector {
            Selector::All => true,
            Selector::Pid(wanted) => *wanted == pid,
            Selector::Comm(name) => comm_equals(&stat.comm, name),
            Selector::Exe(path) => self.runs(path, pid, world),
            Selector::Cgroup(path) => {
                let text = world.read(pid, ProcFile::Cgroup).unwrap_or_default();
                parse_cgroups(&text).iter().any(|cgroup| is_below(cgroup, path))
            }
        }
    }

    /// The path may be meant as the process sees it, as the host sees it, or with symbolic links on the host.
    fn runs(&self, wanted: &Path, pid: u32, world: &dyn World) -> bool {
        let Ok(shown) = world.executable_path(pid) else { return false };
        let path = without_deleted(shown);
        if path == wanted || Some(&path) == self.canonical.as_ref() {
            return true;
        }
        let Ok(root) = world.root_path(pid) else { return false };
        path.strip_prefix(root).is_ok_and(|inside| Path::new("/").join(inside) == wanted)
    }
}

/// Whether a process of the name `comm` is the one wanted. The kernel keeps 15 bytes of a name; a longer one that is asked
/// for is compared by what the kernel would keep of it.
pub fn comm_equals(comm: &str, wanted: &str) -> bool {
    /// The bytes the kernel keeps of a name.
    const COMM_BYTES: usize = 15;
    comm == String::from_utf8_lossy(&wanted.as_bytes()[..wanted.len().min(COMM_BYTES)])
}

fn is_below(cgroup: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    cgroup.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn read_all_stats(world: &dyn World) -> Result<HashMap<u32, ProcessStat>, ProcessError> {
    let pids = world.pids()?;
    Ok(pids.into_iter().filter_map(|pid| Some((pid, read_stat(pid, world).ok()?))).collect())
}

fn with_descendants(named: Vec<u32>, stats: &HashMap<u32, ProcessStat>) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in stats {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let (mut selected, mut open) = (Vec::new(), named);
    while let Some(pid) = open.pop() {
        selected.push(pid);
        open.extend(children.remove(&pid).unwrap_or_default());
    }
    selected.sort_unstable();
    selected.dedup();
    selected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::process::{ProcWorld, stat::TICK_NS};

    fn world() -> FixtureWorld {
        let world = FixtureWorld::default();
        for (pid, parent, comm, executable, root, cgroup) in [
            (1, 0, "systemd", "/sbin/init", "/", "0::/init.scope\n"),
            (10, 1, "web", "/usr/bin/python3.12 (deleted)", "/", "4:cpu:/\n0::/kubepods/pod1/c1\n"),
            (11, 10, "worker", "/usr/bin/python3.12", "/", "0::/kubepods/pod1/c1/x\n"),
            (12, 11, "sh", "/bin/sh", "/", "0::/kubepods/pod1/c1/x\n"),
            (20, 1, "web) S 1 (", "/srv/jail/bin/web", "/srv/jail", "0::/kubepods/pod10\n"),
            (21, 20, "averyveryverylo", "/bin/x", "/", "2:memory:/kubepods/pod1\n0::/\n"),
        ] {
            world.insert(
                pid,
                FixtureProcess {
                    comm: comm.into(),
                    parent,
                    start_ns: TICK_NS,
                    executable: executable.into(),
                    root: root.into(),
                    cgroup: cgroup.into(),
                    ..Default::default()
                },
            );
        }
        world
    }

    #[test]
    fn each_selector_means_what_it_names_and_the_descendants() {
        let world = world();
        for (text, expected) in [
            ("all", vec![1, 10, 11, 12, 20, 21]),
            ("pid:10", vec![10, 11, 12]),
            ("pid:12", vec![12]),
            ("comm:worker", vec![11, 12]),
            ("comm:web", vec![10, 11, 12]),
            ("comm:averyveryverylongname", vec![21]),
            ("comm:averyvery", vec![]),
            ("exe:/usr/bin/python3.12", vec![10, 11, 12]),
            ("exe:/srv/jail/bin/web", vec![20, 21]),
            ("exe:/bin/web", vec![20, 21]),
            ("exe:/bin/sh", vec![12]),
            ("cgroup:/kubepods/pod1", vec![10, 11, 12, 21]),
            ("cgroup:/kubepods/pod10", vec![20, 21]),
            ("cgroup:/kubepods", vec![10, 11, 12, 20, 21]),
            ("cgroup:/init.scope", vec![1, 10, 11, 12, 20, 21]),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(resolve(&selector, &world).unwrap(), expected, "{text}");
            for pid in [1, 10, 11, 12, 20, 21] {
                assert_eq!(matches(&selector, pid, &world), expected.contains(&pid), "{text} {pid}");
            }
        }
    }

    #[test]
    fn a_pid_that_does_not_exist_is_an_error_and_matches_nothing() {
        let selector = Selector::Pid(99);
        assert!(matches!(resolve(&selector, &world()), Err(ProcessError::NoSuchProcess(99))));
        assert!(!matches(&selector, 99, &world()) && !matches(&Selector::All, 99, &world()));
    }

    #[test]
    fn a_thread_that_is_not_its_groups_leader_is_no_process() {
        let resolved = std::thread::scope(|scope| {
            let tid = || rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
            scope.spawn(move || resolve(&Selector::Pid(tid()), &ProcWorld)).join().unwrap()
        });
        assert!(matches!(resolved, Err(ProcessError::NoSuchProcess(_))), "{resolved:?}");
    }

    #[test]
    fn a_name_cut_within_a_character_is_still_found() {
        let kept = String::from_utf8_lossy(&"größenordnungen".as_bytes()[..15]).into_owned();
        assert!(comm_equals(&kept, "größenordnungen"));
        let kept = String::from_utf8_lossy(&"maßeinheitgröße".as_bytes()[..15]).into_owned();
        assert!(comm_equals(&kept, "maßeinheitgröße"), "{kept}");
    }

    #[test]
    fn parents_that_form_a_circle_end_the_search() {
        let world = FixtureWorld::default();
        for (pid, parent) in [(5, 6), (6, 5)] {
            world.insert(pid, FixtureProcess { parent, ..Default::default() });
        }
        assert!(!matches(&Selector::Pid(7), 5, &world));
        assert_eq!(resolve(&Selector::Pid(5), &world).unwrap(), [5, 6]);
    }

    #[test]
    fn the_test_process_is_found_by_each_of_its_properties() {
        let pid = std::process::id();
        let comm = read_stat(pid, &ProcWorld).unwrap().comm;
        let exe = std::env::current_exe().unwrap();
        for selector in [Selector::All, Selector::Pid(pid), Selector::Comm(comm), Selector::Exe(exe)] {
            assert!(resolve(&selector, &ProcWorld).unwrap().contains(&pid), "{selector}");
            assert!(matches(&selector, pid, &ProcWorld), "{selector}");
        }
    }
}
