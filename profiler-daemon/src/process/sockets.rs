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
    sockets.extend(lines(&text).filter_map(parse_unix));
    sockets
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

fn parse_unix(line: &str) -> Option<(u64, Socket)> {
    let inode = line.split_ascii_whitespace().nth(6)?;
    let path = line.split_once(&format!(" {inode} ")).map(|(_, path)| path.trim().to_owned());
    Some((inode.parse().ok()?, Socket::Unix(path.filter(|path| !path.is_empty()))))
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
}
