//! What `/proc/PID/stat`, `status` and `cgroup` tell of a process: name, parent, start, owner, pid namespace, cgroups.

use super::limits;

/// The kernel's unit of times in `/proc`, fixed at 100 per second on the architectures supported.
pub const TICK_NS: u64 = 10_000_000;
/// The flag of `/proc/PID/stat` that marks a kernel thread.
const KERNEL_THREAD_FLAG: u64 = 0x0020_0000;

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// The name of the thread-group leader. Untrusted text.
    pub comm: String,
    /// The parent's pid; zero if it lies outside the PID namespace or does not exist.
    pub parent: u32,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// Whether it has ended and only waits for its parent to take notice.
    pub ended: bool,
    /// Start since boot, in ticks of [`TICK_NS`].
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Reads the text of `/proc/PID/stat`; `None` if it makes no sense.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let comm = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
        let fields: Vec<&str> = std::str::from_utf8(text.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            comm,
            parent: u32::try_from(number(1)?).ok()?,
            // A leader that ended before its other threads looks the same, but for their number.
            ended: matches!(fields.first(), Some(&("Z" | "X"))) && number(17)? <= 1,
            kernel: number(6)? & KERNEL_THREAD_FLAG != 0,
            start_ticks: number(19)?,
        })
    }

    /// Whether the process started in the tick that contains `start_ns`, an exact time since boot.
    pub fn started_at(&self, start_ns: u64) -> bool {
        self.start_ticks == start_ns / TICK_NS
    }
}

/// The fields of `/proc/PID/status` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessCredentials {
    /// The effective user id, in the initial user namespace.
    pub uid: u32,
    /// The effective group id, in the initial user namespace.
    pub gid: u32,
    /// Whether the real, effective and saved ids are the same: it is no set-uid or set-gid program.
    pub is_plain: bool,
    /// The pid as the process itself sees it.
    pub namespace_pid: u32,
}

impl ProcessCredentials {
    /// Reads the text of `/proc/PID/status`; `None` if a field is missing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (uids, gids) = (ids_of(text, "Uid:")?, ids_of(text, "Gid:")?);
        let is_plain = [uids, gids].iter().all(|[real, effective, saved]| real == effective && effective == saved);
        let namespace_pid = field_of(text, "NSpid:")?.split_ascii_whitespace().last()?.parse().ok()?;
        Some(Self { uid: uids[1], gid: gids[1], is_plain, namespace_pid })
    }
}

/// The real, effective and saved id of a field.
fn ids_of(text: &[u8], name: &str) -> Option<[u32; 3]> {
    let mut ids = field_of(text, name)?.split_ascii_whitespace().map(|id| id.parse().ok());
    Some([ids.next()??, ids.next()??, ids.next()??])
}

/// The value of a field; the name of the process comes first and is escaped by the kernel, so it can fake no line.
fn field_of<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    std::str::from_utf8(line).ok()
}

/// The paths of all cgroups of a process, of version 1 and 2, from the text of `/proc/PID/cgroup`. Untrusted text.
pub fn parse_cgroups(text: &[u8]) -> Vec<String> {
    let bounded = &text[..text.len().min(limits::PROC_FILE_BYTES)];
    let lines = String::from_utf8_lossy(bounded).into_owned();
    lines.lines().filter_map(|line| Some(line.splitn(3, ':').nth(2)?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process};

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        for (comm, shown) in [("sh", "(sh)"), (") R 1 (x", "() R 1 (x)"), ("a b", "(a b)"), ("", "()")] {
            let text = format!("17 {shown} S 4 17 17 0 -1 4194304 {} 777 99", "0 ".repeat(12));
            let stat = ProcessStat::parse(text.as_bytes()).unwrap();
            assert_eq!((stat.comm.as_str(), stat.parent, stat.start_ticks), (comm, 4, 777));
        }
    }

    #[test]
    fn a_kernel_thread_is_told_by_its_flag() {
        let text = format!("2 (kthreadd) S 0 0 0 0 -1 {} {} 5", 2_129_984, "0 ".repeat(12));
        assert!(ProcessStat::parse(text.as_bytes()).unwrap().kernel);
    }

    #[test]
    fn a_start_is_compared_in_ticks() {
        let stat = ProcessStat { comm: String::new(), parent: 1, kernel: false, ended: false, start_ticks: 777 };
        assert!(stat.started_at(7_770_000_000) && stat.started_at(7_779_999_999));
        assert!(!stat.started_at(7_769_999_999) && !stat.started_at(7_780_000_000));
    }

    #[test]
    fn broken_text_is_no_process() {
        for text in ["", "17", "17 (sh", "17 )sh( S", "17 (sh) S", "17 (sh) S -1 0 0 0 0 0 0 0 0"] {
            assert_eq!(ProcessStat::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ProcessCredentials::parse(b"Name:\tx\nUid:\t1\n"), None);
    }

    #[test]
    fn the_effective_user_and_the_innermost_pid_count() {
        let text = b"Name:\tNSpid: 9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t4711\t12\t7\n";
        let found = ProcessCredentials { uid: 2, gid: 6, is_plain: false, namespace_pid: 7 };
        assert_eq!(ProcessCredentials::parse(text), Some(found));
        let text = b"Uid:\t1\t1\t1\t1\nGid:\t5\t5\t5\t5\nNSpid:\t7\n";
        assert!(ProcessCredentials::parse(text).unwrap().is_plain);
    }

    #[test]
    fn all_cgroup_hierarchies_are_listed() {
        let text = b"4:memory:/a:b\n1:name=systemd:/init.scope\n0::/kubepods/pod1\nnonsense\n";
        assert_eq!(parse_cgroups(text), ["/a:b", "/init.scope", "/kubepods/pod1"]);
    }

    #[test]
    fn the_test_process_reads_itself() {
        let stat = ProcessStat::parse(&fs::read("/proc/self/stat").unwrap()).unwrap();
        let credentials = ProcessCredentials::parse(&fs::read("/proc/self/status").unwrap()).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert_eq!(credentials.namespace_pid, process::id());
        assert!(stat.start_ticks > 0 && !stat.kernel);
    }
}
