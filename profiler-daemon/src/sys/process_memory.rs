//! Reading the memory of another process, without waiting for whoever provides it.
//!
//! A page may come from a server: of a file, or a process that handles page faults (`userfaultfd`). Reading it waits until that
//! answers, perhaps for ever, and no signal but the last ends the wait. So memory is read directly only where its pages are
//! present, and else on a thread of its own, which is left behind after a while.
//!
//! What is not closed: a process that takes a page away between the look at it and the reading, a microsecond later, and
//! handles its page faults itself, can hold up the thread that reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// How long a thread that reads aside is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Threads that read aside at once, those left behind included; beyond, memory that is not present is not read.
const READERS: usize = 8;

/// Pages looked at in one reading; a longer one goes aside.
const PAGES: usize = 64;

/// Fills `to` with the memory of a process from `address` on, if all its pages are present; `None` if one is not.
///
/// Needs the right to trace the process. Nothing stops it meanwhile: what is read may be in the middle of a change.
pub fn read_present(pid: u32, address: u64, to: &mut [u8]) -> Option<io::Result<()>> {
    are_pages_present(pid, address, to.len()).then(|| read_waiting(pid, address, to))
}

/// The same on another thread, whatever that has to wait for. An error of kind `TimedOut` if it takes too long; from then on
/// nothing of this process is read so, until that thread goes on.
pub fn read_aside(pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
    let place = Place::take(pid).ok_or(io::ErrorKind::ResourceBusy)?;
    let (number, length) = (place.0, to.len());
    let (sender, answer) = sync_channel(1);
    let read = move || {
        let _place = place;
        let mut bytes = vec![0; length];
        let read = read_waiting(pid, address, &mut bytes).map(|()| bytes);
        // Whoever asked may have given up.
        let _ = sender.send(read);
    };
    drop(Builder::new().name("memory".to_owned()).spawn(read)?);
    match answer.recv_timeout(PATIENCE) {
        Ok(read) => {
            to.copy_from_slice(&read?);
            Ok(())
        }
        Err(_) => {
            leave_behind(number);
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// Who reads aside.
static ASIDE: Mutex<Vec<Aside>> = Mutex::new(Vec::new());

struct Aside {
    number: u64,
    pid: u32,
    is_left_behind: bool,
}

/// A place among those who read aside, by its number; given back when it is dropped.
struct Place(u64);

impl Place {
    /// `None` if all are taken, or one who reads this process was left behind.
    fn take(pid: u32) -> Option<Self> {
        let mut aside = lock_aside();
        if aside.len() >= READERS || aside.iter().any(|other| other.pid == pid && other.is_left_behind) {
            return None;
        }
        let number = (0..).find(|number| aside.iter().all(|other| other.number != *number))?;
        aside.push(Aside { number, pid, is_left_behind: false });
        Some(Self(number))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock_aside().retain(|aside| aside.number != self.0);
    }
}

fn leave_behind(number: u64) {
    if let Some(aside) = lock_aside().iter_mut().find(|aside| aside.number == number) {
        tracing::warn!(
            "process {} keeps whoever reads its memory waiting; what is not present there is not read",
            aside.pid
        );
        aside.is_left_behind = true;
    }
}

fn lock_aside() -> MutexGuard<'static, Vec<Aside>> {
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the kernel has all pages at hand. It is asked each time: the process may have executed another program.
fn are_pages_present(pid: u32, address: u64, length: usize) -> bool {
    const PRESENT: u8 = 1 << 7;
    let page = rustix::param::page_size() as u64;
    let Some(end) = address.checked_add(length as u64) else { return false };
    let (first, pages) = (address / page, end.div_ceil(page).saturating_sub(address / page) as usize);
    let mut entries = [0; 8 * PAGES];
    let Some(entries) = entries.get_mut(..pages * 8) else { return false };
    let Ok(pagemap) = File::open(format!("/proc/{pid}/pagemap")) else { return false };
    pagemap.read_exact_at(entries, first * 8).is_ok() && entries.chunks_exact(8).all(|entry| entry[7] & PRESENT != 0)
}

/// Reads, however long that takes.
fn read_waiting(pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: to.len() };
    // SAFETY: the kernel writes to `local` alone, which is `to`; `remote` is an address in the other process, and checked
    // by the kernel.
    let read = unsafe { libc::process_vm_readv(pid as libc::pid_t, &local, 1, &remote, 1, 0) };
    match usize::try_from(read) {
        Err(_) => Err(gone_as_not_found(io::Error::last_os_error())),
        Ok(read) if read == to.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn gone_as_not_found(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Instant;
    use std::{process, ptr, thread};

    /// While a reader of this process is left behind, no other test may need one.
    static ALONE: Mutex<()> = Mutex::new(());

    fn read_exact(pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
        read_present(pid, address, to).unwrap_or_else(|| read_aside(pid, address, to))
    }

    #[test]
    fn memory_is_copied() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, mut to) = ([7u8, 8, 9], [0; 3]);
        read_exact(process::id(), from.as_ptr() as u64, &mut to).unwrap();
        assert_eq!(to, from);
    }

    #[test]
    fn what_is_read_in_part_is_an_error() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let page = rustix::param::page_size();
        // SAFETY: nobody else knows of the two pages, and nothing refers to them but the addresses below.
        let start = unsafe {
            let start = mmap_anonymous(ptr::null_mut(), 2 * page, ProtFlags::READ, MapFlags::PRIVATE).unwrap();
            munmap(start.byte_add(page), page).unwrap();
            start as u64
        };
        let mut to = [1; 16];
        let mut read_at = |address| read_exact(process::id(), address, &mut to).map_err(|error| error.kind());
        assert_eq!(read_at(start + page as u64 - 16), Ok(()));
        assert_eq!(read_at(start + page as u64 - 8), Err(io::ErrorKind::UnexpectedEof));
        assert!(read_at(start + page as u64).is_err() && read_at(u64::MAX).is_err());
    }

    #[test]
    fn a_process_that_does_not_exist_is_not_found() {
        let error = read_exact(u32::MAX >> 1, 0x1000, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// Memory of this process whose page faults are handled by nobody; `None` where that is not allowed.
    struct Unanswered {
        start: u64,
        faults: OwnedFd,
    }

    impl Unanswered {
        fn map() -> Option<Self> {
            const API: libc::c_ulong = 0xc018_aa3f;
            const REGISTER: libc::c_ulong = 0xc020_aa00;
            const MISSING: u64 = 1;
            let page = rustix::param::page_size();
            // SAFETY: nobody else knows of the page; the structures are those the requests take; the descriptor is a new one.
            unsafe {
                let start = mmap_anonymous(ptr::null_mut(), page, ProtFlags::READ, MapFlags::PRIVATE).unwrap() as u64;
                let number = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC);
                if number < 0 {
                    return None;
                }
                let faults = OwnedFd::from_raw_fd(number as i32);
                let mut api = [0xaa_u64, 0, 0];
                let mut register = [start, page as u64, MISSING, 0];
                assert_eq!(libc::ioctl(faults.as_raw_fd(), API, api.as_mut_ptr()), 0);
                assert_eq!(libc::ioctl(faults.as_raw_fd(), REGISTER, register.as_mut_ptr()), 0);
                Some(Self { start, faults })
            }
        }
    }

    #[test]
    fn whoever_answers_no_page_fault_holds_up_nobody() {
        let Some(memory) = Unanswered::map() else {
            return eprintln!("SKIPPED: needs the right to handle page faults");
        };
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let own = process::id();
        let mut to = [1; 8];
        assert!(read_present(own, memory.start, &mut to).is_none());
        let begun = Instant::now();
        let kind = |read: io::Result<()>| read.unwrap_err().kind();
        assert_eq!(kind(read_aside(own, memory.start, &mut to)), io::ErrorKind::TimedOut);
        assert_eq!(kind(read_aside(own, memory.start, &mut to)), io::ErrorKind::ResourceBusy, "not a second time");
        assert!(begun.elapsed() < 10 * PATIENCE, "{:?}", begun.elapsed());
        let present = [7; 3];
        read_exact(own, present.as_ptr() as u64, &mut to[..3]).unwrap();
        drop(memory.faults);
        while !lock_aside().is_empty() {
            thread::yield_now();
        }
        read_exact(own, memory.start, &mut to).unwrap();
        assert_eq!(to, [0; 8], "now the kernel answers");
    }
}
