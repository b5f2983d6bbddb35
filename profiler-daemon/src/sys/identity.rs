//! Opening files as another user could: so that nobody makes the daemon read to them what they may not read themselves.

use std::io;

use rustix::process::{Gid, getegid, geteuid, getgroups};
use rustix::thread::set_thread_groups;

use super::capability::can_read_any_file;

/// Whose rights decide about opening a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The user.
    pub uid: u32,
    /// The only group.
    pub gid: u32,
}

impl Reader {
    /// Does something with no more rights to files than the reader has; only the calling thread is affected.
    ///
    /// Fails if the rights cannot be given up: the daemon is neither root nor the reader without further privileges.
    pub fn act<T>(self, act: impl FnOnce() -> T) -> io::Result<T> {
        if !geteuid().is_root() {
            let is_self = geteuid().as_raw() == self.uid && !can_read_any_file();
            return if is_self { Ok(act()) } else { Err(io::ErrorKind::PermissionDenied.into()) };
        }
        let _changed = Changed::to(self)?;
        Ok(act())
    }
}

/// The thread's identity for files while it is another one than the daemon's.
struct Changed {
    groups: Vec<Gid>,
}

impl Changed {
    fn to(reader: Reader) -> io::Result<Self> {
        let changed = Self { groups: getgroups()? };
        set_thread_groups(&[])?;
        set_file_identity(reader.uid, reader.gid);
        match file_identity() == reader {
            true => Ok(changed),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        set_file_identity(geteuid().as_raw(), getegid().as_raw());
        if let Err(error) = set_thread_groups(&self.groups) {
            tracing::warn!("failed to take the groups of the daemon again: {error}");
        }
    }
}

/// Changes what it is allowed to; away from root, the kernel takes the privileges over files as well.
fn set_file_identity(uid: u32, gid: u32) {
    // SAFETY: both calls take numbers and change nothing but the calling thread's credentials.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// The identity now: a call with a number that is no id changes nothing and tells it.
fn file_identity() -> Reader {
    // SAFETY: as above.
    let (uid, gid) = unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) };
    Reader { uid: uid as u32, gid: gid as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_opened_only_if_the_reader_could_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, nobody) = (folder.path().join("x"), Reader { uid: 65_534, gid: 65_534 });
        fs::write(&path, "x").unwrap();
        let as_reader = |reader: Reader, folder_mode, mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).unwrap();
            reader.act(|| File::open(&path).is_ok()).unwrap_or(false)
        };
        let own = Reader { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        assert!(as_reader(own, 0o700, 0o600));
        assert_eq!(as_reader(nobody, 0o755, 0o644), geteuid().is_root());
        for (folder_mode, mode) in [(0o755, 0o600), (0o755, 0o640), (0o700, 0o644)] {
            assert!(!as_reader(nobody, folder_mode, mode), "{folder_mode:o} {mode:o}");
        }
        assert!(as_reader(own, 0o700, 0o600), "the daemon's own rights are back");
    }
}
