//! Names of what threads wait for: files and processes are asked for while they can be, the rest names itself.
//!
//! A name is asked for once in each window and goes with it: an inode or a pid may be another's in the next.

use std::net::SocketAddr;
use std::sync::Arc;

use super::asking_time::AskingTime;
use super::stat::ProcessStat;
use super::{ProcFile, World};
use crate::profile::{ProcessId, Subject};

/// Asks for names, within a limit of time.
#[derive(Debug, Default)]
pub struct Subjects {
    time: Arc<AskingTime>,
}

impl Subjects {
    /// Asks within a limit that others share.
    pub(super) fn within(time: Arc<AskingTime>) -> Self {
        Self { time }
    }

    /// The name of what a process waits for, if it has to be asked for, can be, and there is time for it. Untrusted text.
    pub fn ask(&self, process: ProcessId, subject: Subject, world: &dyn World) -> Option<Arc<str>> {
        if !matches!(subject, Subject::File { .. } | Subject::Process(_)) {
            return None;
        }
        self.time.spend(|| ask(process, subject, world)).flatten()
    }
}

/// What a process waited for is called; `asked` is the name that was asked for, if there is one. Untrusted text.
pub fn subject_name(subject: Subject, asked: Option<&Arc<str>>) -> Option<Arc<str>> {
    match subject {
        Subject::Address(address) => Some(asked.cloned().unwrap_or_else(|| with_service(address).into())),
        Subject::Port(port) => Some(format!("port {port}").into()),
        Subject::Lock(address) => Some(format!("{address:#x}").into()),
        Subject::File { .. } => asked.cloned(),
        Subject::Process(pid) => Some(asked.cloned().unwrap_or_else(|| format!("pid {pid}").into())),
    }
}

fn ask(process: ProcessId, subject: Subject, world: &dyn World) -> Option<Arc<str>> {
    match subject {
        Subject::File { inode, descriptor } => {
            let file = world.open_file(process.pid, descriptor).ok()?;
            (file.inode == inode).then(|| file.path.to_string_lossy().into())
        }
        Subject::Process(pid) => {
            let stat = ProcessStat::parse(&world.read(pid, ProcFile::Stat).ok()?)?;
            Some(format!("{} (pid {pid})", stat.comm).into())
        }
        _ => None,
    }
}

/// Ports whose service most people know by name.
const SERVICES: &[(u16, &str)] = &[
    (25, "smtp"),
    (53, "dns"),
    (80, "http"),
    (443, "https"),
    (2181, "zookeeper"),
    (2379, "etcd"),
    (3306, "mysql"),
    (4317, "otlp"),
    (5432, "postgresql"),
    (5672, "amqp"),
    (6379, "redis"),
    (6443, "kubernetes"),
    (7687, "neo4j"),
    (8123, "clickhouse"),
    (9042, "cassandra"),
    (9092, "kafka"),
    (9200, "elasticsearch"),
    (11211, "memcached"),
    (27017, "mongodb"),
];

/// An address, with the service its port usually stands for.
fn with_service(address: SocketAddr) -> String {
    match SERVICES.iter().find(|(port, _)| *port == address.port()) {
        Some((_, service)) => format!("{address} ({service})"),
        None => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};

    const WAITER: ProcessId = ProcessId { pid: 1, start_ns: 0 };

    #[test]
    fn services_and_processes_have_names() {
        let world = FixtureWorld::default();
        world.insert(7, FixtureProcess { comm: "postgres".into(), ..FixtureProcess::default() });
        let subjects = Subjects::default();
        for (subject, name) in [
            (Subject::Address("10.0.0.5:6379".parse().unwrap()), Some("10.0.0.5:6379 (redis)")),
            (Subject::Address("[::1]:4711".parse().unwrap()), Some("[::1]:4711")),
            (Subject::Port(8080), Some("port 8080")),
            (Subject::Process(7), Some("postgres (pid 7)")),
            (Subject::Process(8), Some("pid 8")),
            (Subject::File { inode: 1, descriptor: 3 }, None),
        ] {
            let asked = subjects.ask(WAITER, subject, &world);
            assert_eq!(subject_name(subject, asked.as_ref()).as_deref(), name, "{subject:?}");
        }
    }

    #[test]
    fn a_pid_that_is_reused_has_the_name_of_its_process_now() {
        let (world, subjects) = (FixtureWorld::default(), Subjects::default());
        for comm in ["first", "second"] {
            world.insert(7, FixtureProcess { comm: comm.into(), ..FixtureProcess::default() });
            let name = subjects.ask(WAITER, Subject::Process(7), &world);
            assert_eq!(name.as_deref(), Some(format!("{comm} (pid 7)").as_str()));
        }
    }
}
