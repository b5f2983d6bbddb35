//! Names of processes of this host at the other ends of connections: from an address to sockets, and from those to who has them.
//!
//! It is asked on the thread that names stacks, when a window closes, for everything in it at once. What is told is true then:
//! of a connection that still exists, the processes that have its other end; of one that does not, on a loopback address, those
//! that listen there. A peer in another network namespace is not found, nor one behind a rewritten address.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits;
use super::sockets::{TcpSocket, read_tcp};
use super::stat::{ProcessStat, parse_cgroups};
use super::{ProcFile, World};
use crate::profile::ProcessId;

/// A process, and the address of the other end of a connection of it.
pub type Connection = (ProcessId, SocketAddr);

/// Looks for the processes at the other ends of connections, at most for a hundredth of the time.
#[derive(Debug, Default)]
pub struct Peers {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// The sockets at the other ends of connections.
    ends: Kept<Connection, Vec<u64>>,
    /// Who has a socket, by its inode.
    holders: Kept<u64, Vec<Holder>>,
    listing: Rest,
    scanning: Rest,
}

/// A process that has a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    pid: u32,
    start_ticks: u64,
}

impl Peers {
    /// Names the other ends that are processes of this host, as `ADDRESS (NAME[PID])`, and ` in CONTAINER` if it is in one;
    /// of several processes of one name, without the pid. Untrusted text.
    pub fn ask(&self, connections: &HashSet<Connection>, world: &dyn World) -> HashMap<Connection, Arc<str>> {
        if connections.is_empty() {
            return HashMap::new();
        }
        let now = Instant::now();
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = books.find_ends(connections, now, world);
        let mut living = Living::new(world);
        books.forget_gone(ends.values().flatten(), &mut living);
        books.find_holders(ends.values().flatten(), now, world);
        let name = |(connection, inodes): (Connection, Vec<u64>)| {
            let holders = inodes.iter().filter_map(|inode| books.holders.get(inode)).flatten();
            let program = describe(holders.copied().collect(), &mut living)?;
            Some((connection, format!("{} ({program})", connection.1).into()))
        };
        ends.into_iter().filter_map(name).collect()
    }
}

impl Books {
    /// The sockets at the other ends, as of now where there is time to look, or else as they were known last.
    fn find_ends(
        &mut self,
        connections: &HashSet<Connection>,
        now: Instant,
        world: &dyn World,
    ) -> HashMap<Connection, Vec<u64>> {
        self.ends.forget_old(now);
        if self.listing.is_over(now) {
            let mut of_process: HashMap<ProcessId, Vec<SocketAddr>> = HashMap::new();
            connections.iter().for_each(|(process, address)| of_process.entry(*process).or_default().push(*address));
            let mut networks = Networks::default();
            for (process, addresses) in of_process {
                if now.elapsed() >= limits::PEERS_LIST_TIME {
                    break;
                }
                for (address, inodes) in networks.find_peers(process, &addresses, world) {
                    self.ends.insert((process, address), inodes, now);
                }
            }
            self.listing.begin(now);
        }
        connections.iter().filter_map(|connection| Some((*connection, self.ends.get(connection)?.clone()))).collect()
    }

    /// Forgets who has a socket if one of them has ended.
    fn forget_gone<'a>(&mut self, inodes: impl Iterator<Item = &'a u64>, living: &mut Living<'_>) {
        for inode in inodes {
            let is_gone = |holders: &Vec<Holder>| holders.iter().any(|holder| living.name_of(*holder).is_none());
            if self.holders.get(inode).is_some_and(is_gone) {
                self.holders.remove(inode);
            }
        }
    }

    /// Looks for those who have the sockets, as far as they are not known: among all processes, or while that rests, among those
    /// that have others.
    fn find_holders<'a>(&mut self, inodes: impl Iterator<Item = &'a u64>, now: Instant, world: &dyn World) {
        self.holders.forget_old(now);
        let sought: HashSet<u64> = inodes.copied().filter(|inode| self.holders.get(inode).is_none()).collect();
        if sought.is_empty() {
            return;
        }
        let begun = Instant::now();
        if !self.scanning.is_over(begun) {
            let known: HashSet<u32> = self.holders.values().flatten().map(|holder| holder.pid).collect();
            let found = scan(&sought, known, begun + limits::PEERS_KNOWN_TIME, world).unwrap_or_default();
            let held = found.into_iter().filter(|(_, holders)| !holders.is_empty());
            return held.for_each(|(inode, holders)| self.holders.insert(inode, holders, now));
        }
        let pids = world.pids().unwrap_or_default();
        for (inode, holders) in scan(&sought, pids, begun + limits::PEERS_SCAN_TIME, world).into_iter().flatten() {
            self.holders.insert(inode, holders, now);
        }
        self.scanning.begin(begun);
    }
}

/// Who has the sockets; nothing if the time does not suffice, because one that was not looked at might have them as well.
fn scan(
    sought: &HashSet<u64>,
    pids: impl IntoIterator<Item = u32>,
    until: Instant,
    world: &dyn World,
) -> Option<HashMap<u64, Vec<Holder>>> {
    let mut found: HashMap<u64, Vec<Holder>> = sought.iter().map(|inode| (*inode, Vec::new())).collect();
    for pid in pids {
        if Instant::now() >= until {
            return None;
        }
        // Those of other users may not be readable, and many end meanwhile.
        let inodes = world.socket_inodes(pid, limits::PEERS_DESCRIPTORS).unwrap_or_default();
        let held: HashSet<u64> = inodes.into_iter().filter(|inode| sought.contains(inode)).collect();
        if held.is_empty() {
            continue;
        }
        let Some(stat) = read_stat(pid, world) else { continue };
        let holder = Holder { pid, start_ticks: stat.start_ticks };
        held.iter().for_each(|inode| found.entry(*inode).or_default().push(holder));
    }
    Some(found)
}

/// `NAME[PID]` of a process, or the name that several have in common.
fn describe(mut holders: HashSet<Holder>, living: &mut Living<'_>) -> Option<String> {
    /// The init process, which listens in place of services and keeps what it hands on to them.
    const INIT: u32 = 1;
    if holders.len() > 1 {
        holders.retain(|holder| holder.pid != INIT);
    }
    let mut names = holders.iter().map(|holder| living.name_of(*holder));
    let first = names.next()??;
    let is_common = names.all(|name| name.as_ref() == Some(&first));
    match holders.iter().next() {
        Some(Holder { pid, .. }) if holders.len() == 1 => {
            let container = container_of(*pid, living.world).map(|id| format!(" in {id}"));
            Some(format!("{first}[{pid}]{}", container.unwrap_or_default()))
        }
        _ => is_common.then(|| first.to_string()),
    }
}

/// The first characters of the id of its container, as people write it, if the path of one of its cgroups has one.
fn container_of(pid: u32, world: &dyn World) -> Option<String> {
    const ID: usize = 64;
    const SHORT: usize = 12;
    let cgroups = parse_cgroups(&world.read(pid, ProcFile::Cgroup).ok()?);
    let words = cgroups.iter().flat_map(|path| path.split(|char: char| !char.is_ascii_alphanumeric()));
    let mut ids = words.filter(|word| word.len() == ID && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    ids.next().map(|id| id[..SHORT].to_owned())
}

fn read_stat(pid: u32, world: &dyn World) -> Option<ProcessStat> {
    ProcessStat::parse(&world.read(pid, ProcFile::Stat).ok()?)
}

/// The names of processes as of now, each read once.
struct Living<'a> {
    world: &'a dyn World,
    names: HashMap<Holder, Option<Arc<str>>>,
}

impl<'a> Living<'a> {
    fn new(world: &'a dyn World) -> Self {
        Self { world, names: HashMap::new() }
    }

    /// `None` if it has ended.
    fn name_of(&mut self, holder: Holder) -> Option<Arc<str>> {
        let read = || {
            let stat = read_stat(holder.pid, self.world)?;
            (stat.start_ticks == holder.start_ticks).then(|| stat.comm.into())
        };
        self.names.entry(holder).or_insert_with(read).clone()
    }
}

/// Lists of sockets, read once for each network.
#[derive(Debug, Default)]
struct Networks {
    read: HashMap<u64, Network>,
}

/// The sockets of a network.
#[derive(Debug, Default)]
struct Network {
    /// Own address and that of the peer, by inode.
    connections: HashMap<u64, (SocketAddr, SocketAddr)>,
    /// Inodes by the same.
    by_ends: HashMap<(SocketAddr, SocketAddr), u64>,
    /// Addresses and inodes of those that listen, by port.
    listeners: HashMap<u16, Vec<(IpAddr, u64)>>,
}

impl Networks {
    /// The sockets at the other ends of the connections of a process, as far as it lives.
    fn find_peers(
        &mut self,
        process: ProcessId,
        addresses: &[SocketAddr],
        world: &dyn World,
    ) -> Vec<(SocketAddr, Vec<u64>)> {
        let is_alive = read_stat(process.pid, world).is_some_and(|stat| stat.started_at(process.start_ns));
        let Some(id) = world.network(process.pid).ok().filter(|_| is_alive) else { return Vec::new() };
        let network = self.read.entry(id).or_insert_with(|| Network::new(&read_tcp(process.pid, world)));
        let own = world.socket_inodes(process.pid, limits::PEERS_DESCRIPTORS).unwrap_or_default();
        let mut locals: HashMap<SocketAddr, Vec<SocketAddr>> = HashMap::new();
        for (local, remote) in own.iter().filter_map(|inode| network.connections.get(inode)) {
            locals.entry(*remote).or_default().push(*local);
        }
        let peers = addresses.iter().map(|address| {
            let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
            (*address, network.find(plain, locals.get(&plain).map_or(&[], Vec::as_slice)))
        });
        peers.collect()
    }
}

impl Network {
    fn new(sockets: &[TcpSocket]) -> Self {
        let mut network = Self::default();
        for TcpSocket { inode, local, remote, listens } in sockets.iter().copied() {
            match remote {
                Some(remote) => {
                    network.by_ends.insert((local, remote), inode);
                    network.connections.insert(inode, (local, remote));
                }
                None if listens => network.listeners.entry(local.port()).or_default().push((local.ip(), inode)),
                None => {}
            }
        }
        // Connections that no process has.
        network.connections.remove(&0);
        network
    }

    /// The sockets at an address that those at `locals` are connected to. While one that listens has not accepted a connection,
    /// it stands for it.
    fn find(&self, address: SocketAddr, locals: &[SocketAddr]) -> Vec<u64> {
        if locals.is_empty() && address.ip().is_loopback() {
            return self.listening_at(address);
        }
        let ends: Vec<u64> = locals.iter().filter_map(|local| self.by_ends.get(&(address, *local))).copied().collect();
        let accepted: Vec<u64> = ends.iter().copied().filter(|inode| *inode != 0).collect();
        if accepted.is_empty() && !ends.is_empty() { self.listening_at(address) } else { accepted }
    }

    /// Those that a connection to the address goes to: what listens at the very address comes before what listens at all.
    fn listening_at(&self, address: SocketAddr) -> Vec<u64> {
        let of_family = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let listeners = self.listeners.get(&address.port()).map_or(&[] as &[_], Vec::as_slice);
        let at = |ip: IpAddr| listeners.iter().filter(move |(own, _)| *own == ip).map(|(_, inode)| *inode);
        let places = [address.ip(), of_family, Ipv6Addr::UNSPECIFIED.into()];
        places.into_iter().map(|ip| at(ip).collect::<Vec<_>>()).find(|inodes| !inodes.is_empty()).unwrap_or_default()
    }
}

/// What is remembered for [`limits::PEERS_KEPT`].
#[derive(Debug)]
struct Kept<K, V> {
    known: HashMap<K, (Instant, V)>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key).map(|(_, value)| value)
    }

    fn insert(&mut self, key: K, value: V, now: Instant) {
        if self.known.len() >= limits::PEERS && !self.known.contains_key(&key) {
            self.known.clear();
        }
        self.known.insert(key, (now, value));
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.known.values().map(|(_, value)| value)
    }

    fn remove(&mut self, key: &K) {
        self.known.remove(key);
    }

    fn forget_old(&mut self, now: Instant) {
        self.known.retain(|_, (since, _)| now.saturating_duration_since(*since) < limits::PEERS_KEPT);
    }
}

/// The time between two pieces of work, by how long the first took.
#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
}

impl Rest {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// Rests from now on, after work that has begun then.
    fn begin(&mut self, begun: Instant) {
        let worked: Duration = begun.elapsed();
        self.until = Some(begun + worked * (limits::PEERS_REST + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::fs::FileType;

    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::process::stat::TICK_NS;
    use crate::process::{ProcWorld, Sockets};

    const CLIENT: ProcessId = ProcessId { pid: 7, start_ns: 0 };

    /// `127.0.0.1:5432` listens, with inode 11; the client's `127.0.0.1:40000` is connected to it, with inodes 21 and 12; and so
    /// is its `10.0.0.1:40001` to `10.0.0.2:5432`, with inodes 22 and, as that is another host, none.
    const TCP: &str = "  sl  local_address rem_address   st ...\n\
        0: 0100007F:1538 00000000:0000 0A 0:0 0:0 0 0 0 11 1\n\
        1: 0100007F:1538 0100007F:9C40 01 0:0 0:0 0 0 0 12 1\n\
        2: 0100007F:9C40 0100007F:1538 01 0:0 0:0 0 0 0 21 1\n\
        3: 0100000A:9C41 0200000A:1538 01 0:0 0:0 0 0 0 22 1\n";

    fn process(comm: &str, inodes: &[u64]) -> FixtureProcess {
        let link = |inode| (format!("socket:[{inode}]").into(), FileType::Socket);
        let descriptors = (3..).zip(inodes.iter().map(link)).collect();
        let sockets = [(Sockets::Tcp, TCP.to_owned())].into();
        FixtureProcess { comm: comm.into(), network: 1, descriptors, sockets, ..FixtureProcess::default() }
    }

    fn host(processes: &[(u32, &str, &[u64])]) -> FixtureWorld {
        let world = FixtureWorld::default();
        processes.iter().for_each(|(pid, comm, inodes)| world.insert(*pid, process(comm, inodes)));
        world
    }

    fn ask(peers: &Peers, address: &str, world: &FixtureWorld) -> Option<String> {
        let connection = (CLIENT, address.parse().unwrap());
        peers.ask(&[connection].into(), world).get(&connection).map(|name| name.to_string())
    }

    #[test]
    fn who_has_the_other_end_is_told_and_not_who_listens() {
        let world = host(&[(7, "client", &[21]), (8, "postmaster", &[11]), (9, "postgres", &[12])]);
        let peers = Peers::default();
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world).as_deref(), Some("127.0.0.1:5432 (postgres[9])"));
        let name = ask(&Peers::default(), "[::ffff:127.0.0.1]:5432", &world);
        assert_eq!(name.as_deref(), Some("[::ffff:127.0.0.1]:5432 (postgres[9])"));
    }

    #[test]
    fn who_listens_is_told_on_a_loopback_address_once_the_connection_is_closed() {
        let world = host(&[(7, "client", &[]), (8, "postmaster", &[11]), (9, "postgres", &[12])]);
        let name = ask(&Peers::default(), "127.0.0.1:5432", &world);
        assert_eq!(name.as_deref(), Some("127.0.0.1:5432 (postmaster[8])"));
        for elsewhere in ["10.0.0.1:5432", "127.0.0.1:5433", "[::1]:5432"] {
            assert_eq!(ask(&Peers::default(), elsewhere, &world), None);
        }
    }

    #[test]
    fn an_address_of_another_host_or_network_names_nobody() {
        let world = host(&[(7, "client", &[21, 22]), (8, "postgres", &[11])]);
        assert_eq!(ask(&Peers::default(), "10.0.0.2:5432", &world), None);
        let none_listens = FixtureProcess { network: 2, sockets: [].into(), ..process("client", &[21]) };
        world.insert(7, none_listens);
        assert_eq!(ask(&Peers::default(), "127.0.0.1:5432", &world), None);
    }

    #[test]
    fn processes_that_share_a_socket_are_told_by_the_name_they_have_in_common() {
        for (second, name) in [("nginx", Some("127.0.0.1:5432 (nginx)")), ("other", None)] {
            let world = host(&[(1, "systemd", &[11]), (7, "client", &[]), (8, "nginx", &[11]), (9, second, &[11])]);
            assert_eq!(ask(&Peers::default(), "127.0.0.1:5432", &world).as_deref(), name);
        }
        let world = host(&[(1, "systemd", &[11]), (7, "client", &[]), (8, "nginx", &[11])]);
        let name = ask(&Peers::default(), "127.0.0.1:5432", &world);
        assert_eq!(name.as_deref(), Some("127.0.0.1:5432 (nginx[8])"), "init only hands on");
    }

    #[test]
    fn a_pid_that_another_process_has_by_now_names_nobody() {
        let world = host(&[(7, "client", &[21]), (8, "postgres", &[12])]);
        let peers = Peers::default();
        assert!(ask(&peers, "127.0.0.1:5432", &world).is_some());
        world.insert(8, FixtureProcess { start_ns: TICK_NS, ..process("other", &[]) });
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world), None);
    }

    #[test]
    fn what_was_found_is_told_without_looking_again_also_of_a_client_that_has_ended() {
        let world = host(&[(7, "client", &[21]), (8, "postgres", &[12])]);
        let peers = Peers::default();
        let name = ask(&peers, "127.0.0.1:5432", &world);
        // The client's own, and those of both.
        assert_eq!(world.descriptor_scans(), 3);
        peers.books.lock().unwrap().listing = Rest::default();
        peers.books.lock().unwrap().scanning = Rest::default();
        world.remove(7);
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world), name);
        assert_eq!(world.descriptor_scans(), 3);
        // Another process that has its pid is not asked in its place.
        world.insert(7, FixtureProcess { start_ns: TICK_NS, ..process("other", &[]) });
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world), name);
    }

    #[test]
    fn a_new_connection_to_a_known_process_is_told_while_all_of_them_are_not_looked_through() {
        let world = host(&[(7, "client", &[]), (8, "postgres", &[11])]);
        let peers = Peers::default();
        let name = ask(&peers, "127.0.0.1:5432", &world);
        assert!(name.is_some());
        peers.books.lock().unwrap().listing = Rest::default();
        peers.books.lock().unwrap().scanning.until = Some(Instant::now() + limits::PEERS_KEPT);
        world.insert(7, process("client", &[21]));
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world), None, "another process may have it");
        peers.books.lock().unwrap().listing = Rest::default();
        world.insert(8, process("postgres", &[11, 12]));
        assert_eq!(ask(&peers, "127.0.0.1:5432", &world), name);
    }

    #[test]
    fn the_container_of_a_process_is_told() {
        let id = "0123456789abcdef".repeat(4);
        let cgroups = [format!("0::/docker/{id}"), format!("0::/kubepods/cri-containerd-{id}.scope\n1:cpu:/")];
        for cgroup in cgroups {
            let world = host(&[(7, "client", &[21])]);
            world.insert(8, FixtureProcess { cgroup, ..process("redis", &[12]) });
            let name = ask(&Peers::default(), "127.0.0.1:5432", &world);
            assert_eq!(name.as_deref(), Some("127.0.0.1:5432 (redis[8] in 0123456789ab)"));
        }
    }

    #[test]
    fn a_scan_that_would_not_end_in_time_tells_nothing() {
        let world = host(&[(7, "client", &[21]), (8, "postgres", &[12])]);
        assert_eq!(scan(&[12].into(), [8], Instant::now(), &world), None);
        let found = scan(&[12].into(), [7, 8], Instant::now() + limits::PEERS_SCAN_TIME, &world).unwrap();
        assert_eq!(found, HashMap::from([(12, vec![Holder { pid: 8, start_ticks: 0 }])]));
    }

    #[test]
    fn work_is_rested_from_for_ninety_nine_times_as_long() {
        let (mut rest, begun) = (Rest::default(), Instant::now());
        assert!(rest.is_over(begun));
        let ago = begun.checked_sub(Duration::from_millis(10)).unwrap();
        rest.begin(ago);
        assert!(!rest.is_over(ago + Duration::from_millis(999)));
        assert!(rest.is_over(ago + begun.elapsed() * 200 + Duration::from_secs(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded_in_number_and_time() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        for key in 0..=limits::PEERS {
            kept.insert(key, (), now);
        }
        assert_eq!(kept.known.len(), 1);
        kept.forget_old(now + limits::PEERS_KEPT);
        assert!(kept.known.is_empty());
    }

    #[test]
    fn a_real_connection_is_told_by_the_process_at_its_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (_accepted, own) = listener.accept().unwrap();
        let pid = std::process::id();
        let stat = read_stat(pid, &ProcWorld).unwrap();
        let process = ProcessId { pid, start_ns: stat.start_ticks * TICK_NS };
        let named = Peers::default().ask(&[(process, address), (process, own)].into(), &ProcWorld);
        for end in [client.peer_addr().unwrap(), client.local_addr().unwrap()] {
            assert!(named[&(process, end)].starts_with(&format!("{end} ({}[{pid}]", stat.comm)));
        }
    }
}
