//! Reading the memory of another process, without waiting for whoever provides it.
//!
//! A page may come from a server: of a file, or a process that handles page faults (`userfaultfd`). Reading it waits until that
//! answers, perhaps for ever, and no signal but the last ends the wait. So memory is read directly only where its pages are
//! present, and else on a thread of its own, which is left behind after a while.
//!
//! What is not closed: a process that takes a page away between the look at it and the reading, a microsecond later, and
//! handles its page faults itself, can hold up the thread that reads. So can one that executes a program during a look, if another
//! process goes on with the memory it had (`vfork`) and the new program handles page faults by then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long a thread that reads aside is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long one process is waited for in each [`INTERVAL`]: beyond, what is not present there is not read, so that one that
/// always answers just in time holds up nobody either.
const SPENDING: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(1);

/// Threads that read aside at once, those left behind included; beyond, memory that is not present is not read.
const READERS: usize = 32;

/// How many of these processes of one user may keep; beyond, no memory of this user's processes is read that is not present.
const LEFT_BY_USER: usize = 2;
/// The same of root, as whom many services run.
const LEFT_BY_ROOT: usize = 8;

/// Pages looked at in one reading; a longer one goes aside.
const PAGES: usize = 64;

/// The pages of a process that the kernel has at hand. To be kept for one look only: it knows the pages of the program that
/// ran when it was opened.
#[derive(Debug)]
pub struct PresentPages {
    pid: u32,
    /// None of a process that is gone, or may not be traced.
    map: Option<File>,
}

impl PresentPages {
    /// Needs the right to trace the process.
    pub fn open(pid: u32) -> Self {
        Self { pid, map: File::open(format!("/proc/{pid}/pagemap")).ok() }
    }

    /// Fills `to` with memory from `address` on, if all its pages are present; `None` if one is not.
    ///
    /// Nothing stops the process meanwhile: what is read may be in the middle of a change.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Option<io::Result<()>> {
        self.has(address, to.len()).then(|| read_waiting(self.pid, address, to))
    }

    /// Asked of the kernel each time.
    fn has(&self, address: u64, length: usize) -> bool {
        const PRESENT: u8 = 1 << 7;
        let page = rustix::param::page_size() as u64;
        let (Some(map), Some(end)) = (&self.map, address.checked_add(length as u64)) else { return false };
        let (first, pages) = (address / page, end.div_ceil(page).saturating_sub(address / page) as usize);
        let mut entries = [0; 8 * PAGES];
        let Some(entries) = entries.get_mut(..pages * 8) else { return false };
        map.read_exact_at(entries, first * 8).is_ok() && entries.chunks_exact(8).all(|entry| entry[7] & PRESENT != 0)
    }
}

/// A process whose memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// When it started, in ticks since boot: another process may have its pid later.
    pub start_ticks: u64,
    /// The user it belongs to.
    pub uid: u32,
}

impl Process {
    fn is(&self, other: &Self) -> bool {
        (self.pid, self.start_ticks) == (other.pid, other.start_ticks)
    }
}

/// The right to read once memory of a process that is not present. What passes from taking it on counts as waiting for the
/// process.
#[derive(Debug)]
pub struct Turn {
    process: Process,
    place: Place,
    begun: Instant,
}

impl Turn {
    /// An error of kind `ResourceBusy` while the process was waited for too long, or too many threads are left behind.
    pub fn take(process: Process) -> io::Result<Self> {
        let place = Place::take(process).ok_or(io::ErrorKind::ResourceBusy)?;
        Ok(Self { process, place, begun: Instant::now() })
    }

    /// Fills `to` on another thread, whatever that has to wait for. An error of kind `TimedOut` if it takes too long; from then
    /// on nothing of this process is read so, until that thread goes on.
    pub fn read(self, address: u64, to: &mut [u8]) -> io::Result<()> {
        let Self { process, place, begun } = self;
        let (number, length) = (place.0, to.len());
        let (sender, answer) = sync_channel(1);
        let read = move || {
            let _place = place;
            let mut bytes = vec![0; length];
            let read = read_waiting(process.pid, address, &mut bytes).map(|()| bytes);
            // Whoever asked may have given up.
            let _ = sender.send(read);
        };
        drop(Builder::new().name("memory".to_owned()).spawn(read)?);
        let answer = answer.recv_timeout(PATIENCE);
        lock_aside().charge(process, begun);
        match answer {
            Ok(read) => {
                to.copy_from_slice(&read?);
                Ok(())
            }
            Err(_) => {
                lock_aside().leave_behind(number);
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// Who reads aside, and how long processes kept them waiting.
static ASIDE: Mutex<Aside> = Mutex::new(Aside { readers: Vec::new(), spent: Vec::new() });

#[derive(Debug)]
struct Aside {
    readers: Vec<AsideReader>,
    spent: Vec<Spent>,
}

#[derive(Debug)]
struct AsideReader {
    number: u64,
    process: Process,
    is_left_behind: bool,
}

/// What one process took of the present interval.
#[derive(Debug)]
struct Spent {
    process: Process,
    since: Instant,
    time: Duration,
}

impl Aside {
    fn may_read(&self, process: Process) -> bool {
        let mut left = self.readers.iter().filter(|reader| reader.is_left_behind);
        let most = if process.uid == 0 { LEFT_BY_ROOT } else { LEFT_BY_USER };
        let is_over = |spent: &Spent| spent.time >= SPENDING && spent.since.elapsed() < INTERVAL;
        self.readers.len() < READERS
            && left.clone().filter(|reader| reader.process.uid == process.uid).count() < most
            && !left.any(|reader| reader.process.is(&process))
            && !self.spent.iter().any(|spent| spent.process.is(&process) && is_over(spent))
    }

    fn charge(&mut self, process: Process, begun: Instant) {
        self.spent.retain(|spent| spent.since.elapsed() < INTERVAL);
        match self.spent.iter_mut().find(|spent| spent.process.is(&process)) {
            Some(spent) => spent.time += begun.elapsed(),
            None => self.spent.push(Spent { process, since: begun, time: begun.elapsed() }),
        }
    }

    fn leave_behind(&mut self, number: u64) {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.number == number) else { return };
        tracing::warn!(
            "process {} keeps whoever reads its memory waiting; what is not present there is not read",
            reader.process.pid
        );
        reader.is_left_behind = true;
    }
}

/// A place among those who read aside, by its number; given back when it is dropped.
#[derive(Debug)]
struct Place(u64);

impl Place {
    fn take(process: Process) -> Option<Self> {
        let mut aside = lock_aside();
        if !aside.may_read(process) {
            return None;
        }
        let number = (0..).find(|number| aside.readers.iter().all(|other| other.number != *number))?;
        aside.readers.push(AsideReader { number, process, is_left_behind: false });
        Some(Self(number))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock_aside().readers.retain(|reader| reader.number != self.0);
    }
}

fn lock_aside() -> MutexGuard<'static, Aside> {
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::{process, ptr, thread};

    /// While a reader of this process is left behind, no other test may need one.
    static ALONE: Mutex<()> = Mutex::new(());

    fn read_exact(pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
        let process = Process { pid, start_ticks: 0, uid: 65_534 };
        PresentPages::open(pid).read(address, to).unwrap_or_else(|| read_aside(process, address, to))
    }

    fn read_aside(process: Process, address: u64, to: &mut [u8]) -> io::Result<()> {
        Turn::take(process)?.read(address, to)
    }

    /// This process, as if it had started then.
    fn own(start_ticks: u64) -> Process {
        Process { pid: process::id(), start_ticks, uid: 65_534 }
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
        assert!(PresentPages::open(own).read(memory.start, &mut to).is_none());
        let begun = Instant::now();
        let mut kind = |process| read_aside(process, memory.start, &mut to).unwrap_err().kind();
        assert_eq!(kind(self::own(1)), io::ErrorKind::TimedOut);
        assert_eq!(kind(self::own(1)), io::ErrorKind::ResourceBusy, "not a second time");
        assert_eq!(kind(self::own(2)), io::ErrorKind::TimedOut, "another that has its pid");
        assert_eq!(kind(self::own(3)), io::ErrorKind::ResourceBusy, "not of the same user");
        assert_eq!(kind(Process { uid: 65_533, ..self::own(4) }), io::ErrorKind::TimedOut, "of others");
        assert!(begun.elapsed() < 10 * PATIENCE, "{:?}", begun.elapsed());
        let present = [7; 3];
        read_exact(own, present.as_ptr() as u64, &mut to[..3]).unwrap();
        drop(memory.faults);
        while !lock_aside().readers.is_empty() {
            thread::yield_now();
        }
        read_aside(self::own(5), memory.start, &mut to).unwrap();
        assert_eq!(to, [0; 8], "now the kernel answers");
    }

    #[test]
    fn a_process_that_answers_just_in_time_is_not_waited_for_for_ever() {
        let mut aside = Aside { readers: Vec::new(), spent: Vec::new() };
        let (slow, other) = (own(1), own(2));
        let before = |time| Instant::now().checked_sub(time).unwrap();
        aside.charge(slow, before(SPENDING / 2));
        assert!(aside.may_read(slow));
        aside.charge(slow, before(SPENDING / 2));
        assert_eq!((aside.may_read(slow), aside.may_read(other)), (false, true));
        aside.spent[0].since = before(INTERVAL);
        assert!(aside.may_read(slow));
    }
}
