//! What a thread that sleeps waits for, told by its system call: the call's name, the kind of wait, and on what.

use std::cell::OnceCell;
use std::collections::HashMap;

use profiler_common::classify::{Blocked, classify, descriptor};
use profiler_common::limits::SYSCALLS;
use profiler_common::syscall;
use rustix::fs::FileType;

use crate::bpf::syscalls::syscall_kinds;
use crate::process::World;
use crate::process::elf::{u32_at, u64_at};
use crate::process::sockets::{Socket, inode_of, read_sockets};
use crate::process::thread::{Asleep, Letter, SystemCall};
use crate::profile::{WaitClass, WaitNow};
use crate::sys::clock;

/// What is known of the process whose threads wait.
pub(super) struct CallSubjects<'a> {
    pid: u32,
    world: &'a dyn World,
    kinds: [u8; SYSCALLS],
    /// Names of threads, by their tids as the process itself sees them.
    names: HashMap<u32, String>,
    sockets: OnceCell<HashMap<u64, Socket>>,
}

/// What a descriptor refers to, of [`descriptor`], and in words.
type Described = (u8, Option<String>);

impl<'a> CallSubjects<'a> {
    pub(super) fn new(pid: u32, names: HashMap<u32, String>, world: &'a dyn World) -> Self {
        Self { pid, world, kinds: syscall_kinds(), names, sockets: OnceCell::new() }
    }

    /// What a thread in this state waits for.
    pub(super) fn describe(&self, asleep: &Asleep, letter: Letter) -> WaitNow {
        let mut blocked = Blocked { state: letter.bits(), in_syscall: asleep.call.is_some(), ..Blocked::default() };
        let subject = match &asleep.call {
            Some(call) => self.add_call(call, &mut blocked),
            None => None,
        };
        // The flag itself is not told: whoever sleeps so in a page fault, or in a call on a file, waits for its device.
        let on_file = blocked.syscall == syscall::DESCRIPTOR && blocked.descriptor == descriptor::FILE;
        blocked.iowait = letter == Letter(b'D') && (asleep.call.is_none() || on_file);
        WaitNow {
            class: Some(WaitClass::from_number(classify(&blocked).class)),
            call: asleep.call.map(|call| call_name(call.number)),
            subject,
            lasted: None,
        }
    }

    fn add_call(&self, call: &SystemCall, blocked: &mut Blocked) -> Option<String> {
        let [first, second, third, ..] = call.arguments;
        let number = usize::try_from(call.number).ok();
        let packed = number.and_then(|number| self.kinds.get(number)).copied();
        blocked.syscall = packed.map_or(syscall::UNKNOWN, syscall::kind_of);
        (blocked.argument1, blocked.argument2) = (second, third);
        let (kind, subject) = match blocked.syscall {
            syscall::DESCRIPTOR | syscall::TRANSFER | syscall::EVENTS | syscall::FILE_LOCK | syscall::FCNTL => {
                self.describe_descriptor(first as u32)
            }
            syscall::POLL => self.describe_poll(first, second),
            syscall::FUTEX => (descriptor::UNKNOWN, self.describe_futex(call)),
            syscall::SELECT => {
                blocked.argument1 = first;
                (descriptor::UNKNOWN, None)
            }
            syscall::SLEEP => (descriptor::UNKNOWN, self.describe_sleep(call)),
            syscall::CHILD => (descriptor::UNKNOWN, Some(describe_child(first))),
            _ => (descriptor::UNKNOWN, None),
        };
        blocked.descriptor = kind;
        subject
    }

    fn describe_descriptor(&self, number: u32) -> Described {
        let Ok((path, file_type)) = self.world.descriptor(self.pid, number) else {
            return (descriptor::UNKNOWN, Some(format!("descriptor {number}")));
        };
        let path = path.to_string_lossy();
        let (kind, text) = match file_type {
            FileType::Socket => self.describe_socket(&path),
            FileType::Fifo => (descriptor::PIPE, path.into_owned()),
            FileType::CharacterDevice => (descriptor::CHARACTER, path.into_owned()),
            FileType::RegularFile | FileType::Directory | FileType::BlockDevice if path.starts_with('/') => {
                (descriptor::FILE, path.into_owned())
            }
            _ => (kind_of_anonymous(&path), path.trim_start_matches("anon_inode:").trim_matches(['[', ']']).to_owned()),
        };
        (kind, Some(format!("{text} (descriptor {number})")))
    }

    fn describe_socket(&self, path: &str) -> (u8, String) {
        let sockets = self.sockets.get_or_init(|| read_sockets(self.pid, self.world));
        match inode_of(path).and_then(|inode| sockets.get(&inode)) {
            Some(Socket::Inet { protocol, local, listens: true, .. }) => {
                (descriptor::SOCKET, format!("{protocol} connections to {local}"))
            }
            Some(Socket::Inet { protocol, local, remote: Some(remote), .. }) => {
                (descriptor::SOCKET, format!("{protocol} {local} to {remote}"))
            }
            Some(Socket::Inet { protocol, local, .. }) => (descriptor::SOCKET, format!("{protocol} {local}")),
            Some(Socket::Unix(Some(name))) => (descriptor::LOCAL_SOCKET, format!("unix socket {name}")),
            Some(Socket::Unix(None)) => (descriptor::LOCAL_SOCKET, "unix socket".to_owned()),
            None => (descriptor::SOCKET, path.to_owned()),
        }
    }

    /// One descriptor is what is waited for; of several it cannot be said.
    fn describe_poll(&self, entries: u64, count: u64) -> Described {
        match (count, self.read::<4>(entries)) {
            (1, Some(number)) => self.describe_descriptor(u32_at(&number, 0)),
            (0, _) => (descriptor::UNKNOWN, None),
            _ => (descriptor::UNKNOWN, Some(format!("{count} descriptors"))),
        }
    }

    /// The kinds of locks are told by what their waits have in common: see [`classify`].
    fn describe_futex(&self, call: &SystemCall) -> Option<String> {
        const COMMAND: u64 = 0x7f;
        const LOCK_PI: [u64; 2] = [6, 13];
        const JOIN: u64 = 0x109;
        const TID: u32 = 0x3fff_ffff;
        let [word, operation, expected, ..] = call.arguments;
        let (operation, expected) = (operation & 0xffff_ffff, expected & 0xffff_ffff);
        if operation == JOIN {
            return Some(format!("the end of thread {}", self.name_of(expected as u32)?));
        }
        if LOCK_PI.contains(&(operation & COMMAND)) {
            let holder = self.read::<4>(word).and_then(|word| self.name_of(u32_at(&word, 0) & TID));
            return Some(held(format!("priority mutex {word:#x}"), holder));
        }
        match (operation, expected) {
            (_, 2) => Some(held(format!("mutex {word:#x}"), self.holder_of(word))),
            (0x189, 3) => Some(format!("rwlock {word:#x}")),
            _ => Some(format!("futex {word:#x}")),
        }
    }

    /// Who holds a mutex of the C library: if what lies behind the word is what that would write there, and not what another
    /// library, or a program, keeps behind a lock of its own.
    fn holder_of(&self, word: u64) -> Option<String> {
        let fields = self.read::<20>(word)?;
        let [lock, count, owner, users, kind] = [0, 4, 8, 12, 16].map(|at| u32_at(&fields, at));
        is_mutex(lock, count, users, kind).then(|| self.name_of(owner)).flatten()
    }

    /// The name and tid of a thread of the process, as that numbers them.
    fn name_of(&self, tid: u32) -> Option<String> {
        self.names.get(&tid).map(|name| format!("{name} (tid {tid})"))
    }

    fn describe_sleep(&self, call: &SystemCall) -> Option<String> {
        const ABSOLUTE: u64 = 1;
        let is_plain = call.number == libc::SYS_nanosleep as u64;
        let [clock_id, flags, time, ..] = call.arguments;
        let time = self.read::<16>(if is_plain { clock_id } else { time })?;
        let at_ns = u64_at(&time, 0).checked_mul(1_000_000_000)?.checked_add(u64_at(&time, 8))?;
        let seconds = |ns: u64| ns as f64 / 1e9;
        if is_plain || flags & ABSOLUTE == 0 {
            return Some(format!("{} s to pass", seconds(at_ns)));
        }
        let is_monotonic = clock_id == libc::CLOCK_MONOTONIC as u64;
        is_monotonic.then(|| format!("{:.3} s more to pass", seconds(at_ns.saturating_sub(clock::monotonic_ns()))))
    }

    fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.world.read_memory(self.pid, address, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// Whether these are fields of a mutex of the C library that others wait for: its lock, how often its owner took it, how many
/// hold it or wait on a condition with it, its kind and flags.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=sysdeps/nptl/bits/struct_mutex.h;hb=glibc-2.36>
fn is_mutex(lock: u32, count: u32, users: u32, kind: u32) -> bool {
    const LOCKED_WITH_WAITERS: u32 = 2;
    const RECURSIVE: u32 = 1;
    const KIND: u32 = 3;
    /// Of robust mutexes and those of several processes, and whether they elide their lock.
    const FLAGS: u32 = 0x390;
    let is_recursive = kind & KIND == RECURSIVE;
    lock == LOCKED_WITH_WAITERS && users >= 1 && kind & !(KIND | FLAGS) == 0 && (count > 0) == is_recursive
}

fn held(lock: String, holder: Option<String>) -> String {
    match holder {
        Some(holder) => format!("{lock}, held by {holder}"),
        None => lock,
    }
}

fn describe_child(first: u64) -> String {
    match first as u32 as i32 {
        pid if pid > 0 => format!("process {pid}"),
        _ => "any child".to_owned(),
    }
}

fn kind_of_anonymous(path: &str) -> u8 {
    match path {
        "anon_inode:[eventpoll]" => descriptor::EVENTS,
        "anon_inode:[timerfd]" => descriptor::TIMER,
        path if path.starts_with("anon_inode:[pidfd]") || path.starts_with("pidfd:") => descriptor::PROCESS,
        path if path.starts_with("anon_inode:") => descriptor::ANONYMOUS,
        _ => descriptor::UNKNOWN,
    }
}

/// The name of a system call that waits, as the kernel has it.
fn call_name(number: u64) -> String {
    let known = NAMES.iter().find(|(known, _)| *known as u64 == number);
    known.map_or_else(|| format!("system call {number}"), |(_, name)| (*name).to_owned())
}

/// Names of calls.
macro_rules! names {
    ($($(#[$condition:meta])* $name:ident $text:literal,)*) => {
        &[$($(#[$condition])* (libc::$name, $text),)*]
    };
}

static NAMES: &[(libc::c_long, &str)] = names! {
    SYS_read "read", SYS_write "write", SYS_readv "readv", SYS_writev "writev", SYS_pread64 "pread64",
    SYS_pwrite64 "pwrite64", SYS_recvfrom "recvfrom", SYS_recvmsg "recvmsg", SYS_recvmmsg "recvmmsg",
    SYS_sendto "sendto", SYS_sendmsg "sendmsg", SYS_accept "accept", SYS_accept4 "accept4", SYS_connect "connect",
    SYS_ioctl "ioctl", SYS_sendfile "sendfile", SYS_splice "splice", SYS_openat "openat", SYS_close "close",
    SYS_fsync "fsync", SYS_fdatasync "fdatasync", SYS_futex "futex", SYS_futex_waitv "futex_waitv",
    SYS_semtimedop "semtimedop", SYS_semop "semop", SYS_ppoll "ppoll", SYS_pselect6 "pselect6",
    SYS_epoll_pwait "epoll_pwait", SYS_epoll_pwait2 "epoll_pwait2", SYS_io_getevents "io_getevents",
    SYS_io_uring_enter "io_uring_enter", SYS_nanosleep "nanosleep", SYS_clock_nanosleep "clock_nanosleep",
    SYS_wait4 "wait4", SYS_waitid "waitid", SYS_clone "clone", SYS_clone3 "clone3", SYS_msgrcv "msgrcv",
    SYS_msgsnd "msgsnd", SYS_mq_timedreceive "mq_timedreceive", SYS_mq_timedsend "mq_timedsend",
    SYS_rt_sigtimedwait "rt_sigtimedwait", SYS_rt_sigsuspend "rt_sigsuspend", SYS_flock "flock", SYS_fcntl "fcntl",
    SYS_mmap "mmap", SYS_munmap "munmap", SYS_restart_syscall "restart_syscall",
    #[cfg(target_arch = "x86_64")] SYS_open "open",
    #[cfg(target_arch = "x86_64")] SYS_poll "poll",
    #[cfg(target_arch = "x86_64")] SYS_select "select",
    #[cfg(target_arch = "x86_64")] SYS_epoll_wait "epoll_wait",
    #[cfg(target_arch = "x86_64")] SYS_pause "pause",
    #[cfg(target_arch = "x86_64")] SYS_fork "fork",
    #[cfg(target_arch = "x86_64")] SYS_vfork "vfork",
};
