//! What the sockets of a network are, by their inodes, from the lists under `/proc/PID/net`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::world::{ProcFile, Sockets, World};

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Of TCP or UDP.
    Inet {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// Its own address.
        local: SocketAddr,
        /// That of its peer; none if it has none, as one that listens.
        remote: Option<SocketAddr>,
        /// Whether it listens.
        listens: bool,
    },
    /// A local one, with its path if it has one. Untrusted text.
    Unix(Option<String>),
}

/// A socket of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// Zero as long as no process has it, or none has it any more.
    pub inode: u64,
    /// Its own address.
    pub local: SocketAddr,
    /// That of its peer, if it has one.
    pub remote: Option<SocketAddr>,
    /// Whether it listens.
    pub listens: bool,
}

/// The sockets of TCP of the network of a process.
pub fn read_tcp(pid: u32, world: &dyn World) -> Vec<TcpSocket> {
    let texts = [Sockets::Tcp, Sockets::Tcp6].map(|kind| world.read(pid, ProcFile::Net(kind)).unwrap_or_default());
    let sockets = texts.iter().flat_map(|text| lines(text)).filter_map(|line| parse_inet(line, "tcp"));
    let tcp = sockets.filter_map(|(inode, socket)| match socket {
        Socket::Inet { local, remote, listens, .. } => Some(TcpSocket { inode, local, remote, listens }),
        Socket::Unix(_) => None,
    });
    tcp.collect()
}

/// The sockets of the network of a process, by inode.
pub fn read_sockets(pid: u32, world: &dyn World) -> HashMap<u64, Socket> {
    let inet = [Sockets::Tcp, Sockets::Tcp6, Sockets::Udp, Sockets::Udp6];
    let mut sockets = HashMap::new();
    for kind in inet {
        let text = world.read(pid, ProcFile::Net(kind)).unwrap_or_default();
        let protocol = if matches!(kind, Sockets::Tcp | Sockets::Tcp6) { "tcp" } else { "udp" };
        sockets.extend(lines(&text).filter_map(|line| parse_inet(line, protocol)));
    }
    let text = world.read(pid, ProcFile::Net(Sockets::Unix)).unwrap_or_default();
    add_local(lines(&text).filter_map(parse_unix), &mut sockets);
    sockets
}

/// A path may hold ends of lines, and so make up lines of other sockets: of a socket that is listed twice no path is believed, and
/// none takes the place of another kind.
fn add_local(listed: impl Iterator<Item = (u64, Option<String>)>, sockets: &mut HashMap<u64, Socket>) {
    let mut local: HashMap<u64, Option<String>> = HashMap::new();
    for (inode, path) in listed {
        local.entry(inode).and_modify(|path| *path = None).or_insert(path);
    }
    for (inode, path) in local {
        sockets.entry(inode).or_insert(Socket::Unix(path));
    }
}

/// The inode of a socket whose descriptor the kernel shows as `socket:[INODE]`.
pub fn inode_of(path: &str) -> Option<u64> {
    path.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Without the heading.
fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| std::str::from_utf8(line).ok())
}

fn parse_inet(line: &str, protocol: &'static str) -> Option<(u64, Socket)> {
    /// The state of TCP sockets that listen.
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
    let remote = parse_address(remote)?;
    let remote = (remote.port() != 0).then_some(remote);
    let listens = protocol == "tcp" && state == LISTEN;
    Some((inode.parse().ok()?, Socket::Inet { protocol, local: parse_address(local)?, remote, listens }))
}

/// An address as the kernel prints it: words of the machine's byte order, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<u32>> =
        (0..address.len() / 8).map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()).collect();
    let address = match words?[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// `ADDRESS: COUNT PROTOCOL FLAGS TYPE STATE INODE PATH`. The path may hold anything, spaces at its ends too.
fn parse_unix(line: &str) -> Option<(u64, Option<String>)> {
    let mut rest = line;
    let mut inode = "";
    for _ in 0..7 {
        (inode, rest) = rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest.trim_start_matches(' '), ""));
    }
    Some((inode.parse().ok()?, (!rest.is_empty()).then(|| rest.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{FixtureProcess, FixtureWorld};
    use super::*;

    #[test]
    fn sockets_are_told_by_their_inodes() {
        let heading = "  sl  local_address rem_address   st ...\n";
        let listens = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 11 1 0 100\n";
        let connected = "1: 0100007F:D431 0200000A:1538 01 00000000:00000000 02:00000000 00000000 0 0 12 2 0 20\n";
        let mapped =
            "0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:0051 01 0:0 0:0 0 0 0 13\n";
        let unix = "Num RefCount Protocol Flags Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 14 /run/a b.sock\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03    15\n";
        let sockets = [
            (Sockets::Tcp, format!("{heading}{listens}{connected}junk\n")),
            (Sockets::Tcp6, format!("{heading}{mapped}")),
            (Sockets::Unix, unix.to_owned()),
        ];
        let world = FixtureWorld::default();
        world.insert(7, FixtureProcess { sockets: sockets.into(), ..FixtureProcess::default() });
        let found = read_sockets(7, &world);
        let inet = |local: &str, remote: Option<&str>, listens| Socket::Inet {
            protocol: "tcp",
            local: local.parse().unwrap(),
            remote: remote.map(|remote| remote.parse().unwrap()),
            listens,
        };
        assert_eq!(found[&11], inet("127.0.0.1:8080", None, true));
        assert_eq!(found[&12], inet("127.0.0.1:54321", Some("10.0.0.2:5432"), false));
        assert_eq!(found[&13], inet("127.0.0.1:80", Some("127.0.0.1:81"), false));
        assert_eq!(found[&14], Socket::Unix(Some("/run/a b.sock".to_owned())));
        assert_eq!((&found[&15], found.len()), (&Socket::Unix(None), 5));
        assert_eq!([inode_of("socket:[15]"), inode_of("pipe:[15]")], [Some(15), None]);
    }

    #[test]
    fn a_path_with_ends_of_lines_makes_up_no_names_of_other_sockets() {
        let connected = "\n1: 0100007F:D431 0200000A:1538 01 00000000:00000000 02:00000000 00000000 0 0 12 2 0 20\n";
        let unix = "\n0000000000000000: 00000002 00000000 00010000 0001 01 14 /tmp/x\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 15 /run/forged\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 12 /run/forged\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01    15 /run/true \n";
        let world = FixtureWorld::default();
        let sockets = [(Sockets::Tcp, connected.to_owned()), (Sockets::Unix, unix.to_owned())];
        world.insert(7, FixtureProcess { sockets: sockets.into(), ..FixtureProcess::default() });
        let found = read_sockets(7, &world);
        assert!(matches!(found[&12], Socket::Inet { .. }));
        assert_eq!(found[&14], Socket::Unix(Some("/tmp/x".to_owned())));
        assert_eq!(found[&15], Socket::Unix(None), "which of the two is true is not known");
        assert_eq!(parse_unix("0: 2 0 0 1 01 7 / a "), Some((7, Some("/ a ".to_owned()))));
        assert_eq!([parse_unix("0: 2 0 0 1 01"), parse_unix("")], [None, None]);
    }
}
