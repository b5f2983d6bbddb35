//! Which kind of wait each system call can be, by its number on this architecture.

use libc as nr;
use profiler_common::limits::SYSCALLS;
use profiler_common::syscall::operation::{ACCEPT, CONNECT, NONE, READ, SEMAPHORE, SIGNAL, WRITE};
use profiler_common::syscall::{
    CHILD, DESCRIPTOR, EVENTS, FCNTL, FILE_LOCK, FILE_SYSTEM, FORK, FUTEX, IO_URING, IPC, MEMORY, POLL, SELECT, SLEEP,
    SYNC, TRANSFER, UNKNOWN, operation, pack,
};

/// The number, the kind and the operation.
type Row = (i64, u8, u8);

/// Calls both architectures have.
const COMMON: &[Row] = &[
    (nr::SYS_read, DESCRIPTOR, READ),
    (nr::SYS_write, DESCRIPTOR, WRITE),
    (nr::SYS_readv, DESCRIPTOR, READ),
    (nr::SYS_writev, DESCRIPTOR, WRITE),
    (nr::SYS_pread64, DESCRIPTOR, READ),
    (nr::SYS_pwrite64, DESCRIPTOR, WRITE),
    (nr::SYS_preadv, DESCRIPTOR, READ),
    (nr::SYS_pwritev, DESCRIPTOR, WRITE),
    (nr::SYS_preadv2, DESCRIPTOR, READ),
    (nr::SYS_pwritev2, DESCRIPTOR, WRITE),
    (nr::SYS_recvfrom, DESCRIPTOR, READ),
    (nr::SYS_recvmsg, DESCRIPTOR, READ),
    (nr::SYS_recvmmsg, DESCRIPTOR, READ),
    (nr::SYS_sendto, DESCRIPTOR, WRITE),
    (nr::SYS_sendmsg, DESCRIPTOR, WRITE),
    (nr::SYS_sendmmsg, DESCRIPTOR, WRITE),
    (nr::SYS_accept, DESCRIPTOR, ACCEPT),
    (nr::SYS_accept4, DESCRIPTOR, ACCEPT),
    (nr::SYS_connect, DESCRIPTOR, CONNECT),
    (nr::SYS_shutdown, DESCRIPTOR, NONE),
    (nr::SYS_ioctl, DESCRIPTOR, NONE),
    (nr::SYS_getdents64, DESCRIPTOR, READ),
    (nr::SYS_lseek, DESCRIPTOR, NONE),
    (nr::SYS_sendfile, TRANSFER, WRITE),
    (nr::SYS_splice, TRANSFER, READ),
    (nr::SYS_tee, TRANSFER, READ),
    (nr::SYS_vmsplice, TRANSFER, WRITE),
    (nr::SYS_copy_file_range, TRANSFER, READ),
    (nr::SYS_openat, FILE_SYSTEM, NONE),
    (nr::SYS_openat2, FILE_SYSTEM, NONE),
    (nr::SYS_close, FILE_SYSTEM, NONE),
    (nr::SYS_fsync, FILE_SYSTEM, operation::SYNC),
    (nr::SYS_fdatasync, FILE_SYSTEM, operation::SYNC),
    (nr::SYS_sync, FILE_SYSTEM, WRITE),
    (nr::SYS_syncfs, FILE_SYSTEM, operation::SYNC),
    (nr::SYS_sync_file_range, FILE_SYSTEM, operation::SYNC),
    (nr::SYS_msync, FILE_SYSTEM, WRITE),
    (nr::SYS_truncate, FILE_SYSTEM, NONE),
    (nr::SYS_ftruncate, FILE_SYSTEM, NONE),
    (nr::SYS_fallocate, FILE_SYSTEM, NONE),
    (nr::SYS_renameat, FILE_SYSTEM, NONE),
    (nr::SYS_renameat2, FILE_SYSTEM, NONE),
    (nr::SYS_unlinkat, FILE_SYSTEM, NONE),
    (nr::SYS_linkat, FILE_SYSTEM, NONE),
    (nr::SYS_symlinkat, FILE_SYSTEM, NONE),
    (nr::SYS_readlinkat, FILE_SYSTEM, NONE),
    (nr::SYS_mkdirat, FILE_SYSTEM, NONE),
    (nr::SYS_mknodat, FILE_SYSTEM, NONE),
    (nr::SYS_newfstatat, FILE_SYSTEM, NONE),
    (nr::SYS_statx, FILE_SYSTEM, NONE),
    (nr::SYS_fstat, FILE_SYSTEM, NONE),
    (nr::SYS_faccessat, FILE_SYSTEM, NONE),
    (nr::SYS_faccessat2, FILE_SYSTEM, NONE),
    (nr::SYS_fchmodat, FILE_SYSTEM, NONE),
    (nr::SYS_fchownat, FILE_SYSTEM, NONE),
    (nr::SYS_utimensat, FILE_SYSTEM, NONE),
    (nr::SYS_execve, FILE_SYSTEM, NONE),
    (nr::SYS_execveat, FILE_SYSTEM, NONE),
    (nr::SYS_mount, FILE_SYSTEM, NONE),
    (nr::SYS_umount2, FILE_SYSTEM, NONE),
    (nr::SYS_futex, FUTEX, NONE),
    (nr::SYS_futex_waitv, SYNC, NONE),
    (nr::SYS_semop, SYNC, SEMAPHORE),
    (nr::SYS_semtimedop, SYNC, SEMAPHORE),
    (nr::SYS_ppoll, POLL, NONE),
    (nr::SYS_pselect6, SELECT, NONE),
    (nr::SYS_epoll_pwait, EVENTS, NONE),
    (nr::SYS_epoll_pwait2, EVENTS, NONE),
    (nr::SYS_io_getevents, EVENTS, NONE),
    (nr::SYS_io_uring_enter, IO_URING, NONE),
    (nr::SYS_nanosleep, SLEEP, NONE),
    (nr::SYS_clock_nanosleep, SLEEP, NONE),
    (nr::SYS_wait4, CHILD, NONE),
    (nr::SYS_waitid, CHILD, NONE),
    (nr::SYS_clone, FORK, NONE),
    (nr::SYS_clone3, FORK, NONE),
    (nr::SYS_msgrcv, IPC, NONE),
    (nr::SYS_msgsnd, IPC, NONE),
    (nr::SYS_mq_timedreceive, IPC, NONE),
    (nr::SYS_mq_timedsend, IPC, NONE),
    (nr::SYS_rt_sigtimedwait, IPC, SIGNAL),
    (nr::SYS_rt_sigsuspend, IPC, SIGNAL),
    (nr::SYS_flock, FILE_LOCK, NONE),
    (nr::SYS_fcntl, FCNTL, NONE),
    (nr::SYS_mmap, MEMORY, NONE),
    (nr::SYS_munmap, MEMORY, NONE),
    (nr::SYS_mremap, MEMORY, NONE),
    (nr::SYS_mprotect, MEMORY, NONE),
    (nr::SYS_madvise, MEMORY, NONE),
    (nr::SYS_brk, MEMORY, NONE),
    (nr::SYS_mlock, MEMORY, NONE),
    (nr::SYS_mlockall, MEMORY, NONE),
];

/// Calls newer architectures dropped.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Row] = &[
    (nr::SYS_open, FILE_SYSTEM, NONE),
    (nr::SYS_creat, FILE_SYSTEM, NONE),
    (nr::SYS_stat, FILE_SYSTEM, NONE),
    (nr::SYS_lstat, FILE_SYSTEM, NONE),
    (nr::SYS_access, FILE_SYSTEM, NONE),
    (nr::SYS_rename, FILE_SYSTEM, NONE),
    (nr::SYS_unlink, FILE_SYSTEM, NONE),
    (nr::SYS_link, FILE_SYSTEM, NONE),
    (nr::SYS_symlink, FILE_SYSTEM, NONE),
    (nr::SYS_readlink, FILE_SYSTEM, NONE),
    (nr::SYS_mkdir, FILE_SYSTEM, NONE),
    (nr::SYS_rmdir, FILE_SYSTEM, NONE),
    (nr::SYS_chmod, FILE_SYSTEM, NONE),
    (nr::SYS_chown, FILE_SYSTEM, NONE),
    (nr::SYS_getdents, DESCRIPTOR, READ),
    (nr::SYS_poll, POLL, NONE),
    (nr::SYS_select, SELECT, NONE),
    (nr::SYS_epoll_wait, EVENTS, NONE),
    (nr::SYS_pause, IPC, SIGNAL),
    (nr::SYS_fork, FORK, NONE),
    (nr::SYS_vfork, FORK, NONE),
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Row] = &[];

/// The kind and operation of each system call, packed, by number.
pub fn syscall_kinds() -> [u8; SYSCALLS] {
    let mut kinds = [UNKNOWN; SYSCALLS];
    for (number, kind, operation) in COMMON.iter().chain(LEGACY) {
        kinds[*number as usize] = pack(*kind, *operation);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice() {
        let mut numbers: Vec<i64> = COMMON.iter().chain(LEGACY).map(|row| row.0).collect();
        let listed = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), listed);
    }
}
