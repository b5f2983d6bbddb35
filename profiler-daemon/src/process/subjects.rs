//! Names of what threads wait for: files and processes are asked for while they can be, the rest names itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::stat::ProcessStat;
use super::{ProcFile, World};
use crate::profile::{ProcessId, Subject};

/// Names kept; beyond, those known so far are asked for again.
const NAMES: usize = 16_384;

/// The names of subjects, by who waited for them.
#[derive(Debug, Default)]
pub struct Subjects {
    names: Mutex<Names>,
}

/// Who waited for what, and what that is called.
type Names = HashMap<(ProcessId, Subject), Option<Arc<str>>>;

impl Subjects {
    /// Asks for the name of what a process waits for, if that has to be done now.
    pub fn observe(&self, process: ProcessId, subject: Subject, world: &dyn World) {
        if !matches!(subject, Subject::File { .. } | Subject::Process(_)) {
            return;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains_key(&(process, subject)) {
            return;
        }
        if names.len() >= NAMES {
            names.clear();
        }
        names.insert((process, subject), ask(process, subject, world));
    }

    /// The name of what a process waited for; `None` if it is not known. Untrusted text.
    pub fn name(&self, process: ProcessId, subject: Subject) -> Option<Arc<str>> {
        match subject {
            Subject::Address(address) => Some(with_service(address).into()),
            Subject::Port(port) => Some(format!("port {port}").into()),
            Subject::Lock(address) => Some(format!("{address:#x}").into()),
            Subject::File { .. } | Subject::Process(_) => {
                let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                names.get(&(process, subject)).cloned().flatten()
            }
        }
    }
}

fn ask(process: ProcessId, subject: Subject, world: &dyn World) -> Option<Arc<str>> {
    match subject {
        Subject::File { inode, descriptor } => {
            let file = world.open_file(process.pid, descriptor).ok()?;
            (file.inode == inode).then(|| file.path.to_string_lossy().into())
        }
        Subject::Process(pid) => {
            let stat = world.read(pid, ProcFile::Stat).ok().and_then(|text| ProcessStat::parse(&text));
            Some(stat.map_or_else(|| format!("pid {pid}"), |stat| format!("{} (pid {pid})", stat.comm)).into())
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
            subjects.observe(WAITER, subject, &world);
            assert_eq!(subjects.name(WAITER, subject).as_deref(), name, "{subject:?}");
        }
    }
}
