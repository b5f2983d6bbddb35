//! Which file systems a process can reach, and which of them ask a server that may never answer.
//!
//! A file server can be a process of the target. So what the daemon opens must lie on a file system known to be local, and
//! that must be known before the kernel may ask the server. In comes the text of `/proc/PID/mountinfo`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::openat2::{Device, Place};

/// File systems whose content lies with a server: another machine, the host of a virtual machine, or a process.
const REMOTE: [&str; 14] = [
    "9p", "afs", "ceph", "cifs", "coda", "fuse", "fuseblk", "lustre", "nfs", "nfs4", "orangefs", "smb3", "smbfs",
    "virtiofs",
];

/// The mounts of a process, and those of the daemon: a process may have left the root it was started in.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    of_process: Vec<Mount>,
    of_daemon: Vec<Mount>,
    /// The device of files that exist in memory only; no mount shows it.
    memory: Option<Device>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    id: u64,
    device: Device,
    point: PathBuf,
    is_remote: bool,
}

impl Mounts {
    /// Reads the text of both files, and takes the device of files in memory. Lines that make no sense are left out.
    pub fn parse(of_process: &[u8], of_daemon: &[u8], memory: Option<Device>) -> Self {
        Self { of_process: parse_lines(of_process), of_daemon: parse_lines(of_daemon), memory }
    }

    /// Whether the files of a device, as mappings show it, are known to be local.
    pub fn is_device_local(&self, device: Device) -> bool {
        self.memory == Some(device) || is_known_local(self.all().filter(|mount| mount.device == device))
    }

    /// Whether a file found is known to be local.
    pub fn is_place_local(&self, place: &Place) -> bool {
        let on = self.all().filter(|mount| Some(mount.id) == place.mount_id);
        is_known_local(on) || (place.mount_id.is_none() && self.is_device_local(place.device))
    }

    /// Whether a path inside the process's root that follows no link stays away from all servers.
    pub fn is_path_local(&self, path: &Path) -> bool {
        !self.of_process.iter().any(|mount| mount.is_remote && path.starts_with(&mount.point))
    }

    /// Whether a link inside the process's root can lead to a server.
    pub fn has_server(&self) -> bool {
        self.of_process.iter().any(|mount| mount.is_remote)
    }

    fn all(&self) -> impl Iterator<Item = &Mount> {
        self.of_process.iter().chain(&self.of_daemon)
    }
}

/// Whether there is a mount and none is remote.
fn is_known_local<'a>(mut mounts: impl Iterator<Item = &'a Mount>) -> bool {
    mounts.next().is_some_and(|first| !first.is_remote) && mounts.all(|mount| !mount.is_remote)
}

fn parse_lines(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE …`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next_text = || std::str::from_utf8(fields.next()?).ok();
    let id = next_text()?.parse().ok()?;
    let device = next_text().and_then(|_parent| next_text())?;
    let (major, minor) = device.split_once(':')?;
    let device = Device { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let point = unescape(fields.nth(1)?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { id, device, point, is_remote: is_remote(&String::from_utf8_lossy(kind)) })
}

fn is_remote(kind: &str) -> bool {
    REMOTE.contains(&kind) || kind.starts_with("fuse.") || kind.starts_with("fuseblk.")
}

/// The kernel writes white space and backslashes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let (mut path, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&first, behind)) = rest.split_first() {
        let octal = if first == b'\\' { behind.get(..3).and_then(parse_octal) } else { None };
        path.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&path))
}

fn parse_octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_PROCESS: &[u8] = b"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 27 0:40 / /mnt/a\\040b rw master:2 shared:3 - fuse.sshfs host: rw\n\
        31 27 0:41 / /srv rw - nfs4 server:/ rw\n\
        nonsense\n";

    fn mounts() -> Mounts {
        let memory = Some(Device { major: 0, minor: 1 });
        Mounts::parse(OF_PROCESS, b"99 1 0:50 / / rw - xfs /dev/x rw", memory)
    }

    #[test]
    fn only_what_is_known_to_be_local_is_local() {
        let local = [(254, 0), (0, 50), (0, 1)];
        let other = [(0, 40), (0, 41), (0, 77)];
        let is_local = |(major, minor)| mounts().is_device_local(Device { major, minor });
        assert!(local.into_iter().all(is_local) && !other.into_iter().any(is_local));
        let place = |mount_id| Place { mount_id, device: Device { major: 254, minor: 0 } };
        let on = |id| mounts().is_place_local(&place(Some(id)));
        assert!(on(27) && on(99) && !on(30) && !on(31) && !on(77));
        assert!(mounts().is_place_local(&place(None)));
    }

    #[test]
    fn a_path_below_the_mount_of_a_server_is_not_local() {
        let is_local = |path| mounts().is_path_local(Path::new(path));
        assert!(is_local("/tmp/perf-1.map") && is_local("/srvx") && is_local("/mnt/a"));
        assert!(!is_local("/srv/x") && !is_local("/mnt/a b/x"));
        assert!(mounts().has_server() && !Mounts::default().has_server());
    }
}
