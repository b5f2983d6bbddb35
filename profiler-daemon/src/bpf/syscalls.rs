//! Which kind of wait each system call can be, by its number on this architecture.

use libc as nr;
use profiler_common::limits::SYSCALLS;
use profiler_common::syscall::{
    CHILD, DESCRIPTOR, EVENTS, FCNTL, FILE_LOCK, FILE_SYSTEM, FORK, FUTEX, IO_URING, IPC, MEMORY, POLL, SELECT, SLEEP,
    SYNC, TRANSFER, UNKNOWN,
};

/// Calls both architectures have.
const COMMON: &[(i64, u8)] = &[
    (nr::SYS_read, DESCRIPTOR),
    (nr::SYS_write, DESCRIPTOR),
    (nr::SYS_readv, DESCRIPTOR),
    (nr::SYS_writev, DESCRIPTOR),
    (nr::SYS_pread64, DESCRIPTOR),
    (nr::SYS_pwrite64, DESCRIPTOR),
    (nr::SYS_preadv, DESCRIPTOR),
    (nr::SYS_pwritev, DESCRIPTOR),
    (nr::SYS_preadv2, DESCRIPTOR),
    (nr::SYS_pwritev2, DESCRIPTOR),
    (nr::SYS_recvfrom, DESCRIPTOR),
    (nr::SYS_recvmsg, DESCRIPTOR),
    (nr::SYS_recvmmsg, DESCRIPTOR),
    (nr::SYS_sendto, DESCRIPTOR),
    (nr::SYS_sendmsg, DESCRIPTOR),
    (nr::SYS_sendmmsg, DESCRIPTOR),
    (nr::SYS_accept, DESCRIPTOR),
    (nr::SYS_accept4, DESCRIPTOR),
    (nr::SYS_connect, DESCRIPTOR),
    (nr::SYS_shutdown, DESCRIPTOR),
    (nr::SYS_ioctl, DESCRIPTOR),
    (nr::SYS_getdents64, DESCRIPTOR),
    (nr::SYS_lseek, DESCRIPTOR),
    (nr::SYS_sendfile, TRANSFER),
    (nr::SYS_splice, TRANSFER),
    (nr::SYS_tee, TRANSFER),
    (nr::SYS_vmsplice, TRANSFER),
    (nr::SYS_copy_file_range, TRANSFER),
    (nr::SYS_openat, FILE_SYSTEM),
    (nr::SYS_openat2, FILE_SYSTEM),
    (nr::SYS_close, FILE_SYSTEM),
    (nr::SYS_fsync, FILE_SYSTEM),
    (nr::SYS_fdatasync, FILE_SYSTEM),
    (nr::SYS_sync, FILE_SYSTEM),
    (nr::SYS_syncfs, FILE_SYSTEM),
    (nr::SYS_sync_file_range, FILE_SYSTEM),
    (nr::SYS_msync, FILE_SYSTEM),
    (nr::SYS_truncate, FILE_SYSTEM),
    (nr::SYS_ftruncate, FILE_SYSTEM),
    (nr::SYS_fallocate, FILE_SYSTEM),
    (nr::SYS_renameat, FILE_SYSTEM),
    (nr::SYS_renameat2, FILE_SYSTEM),
    (nr::SYS_unlinkat, FILE_SYSTEM),
    (nr::SYS_linkat, FILE_SYSTEM),
    (nr::SYS_symlinkat, FILE_SYSTEM),
    (nr::SYS_readlinkat, FILE_SYSTEM),
    (nr::SYS_mkdirat, FILE_SYSTEM),
    (nr::SYS_mknodat, FILE_SYSTEM),
    (nr::SYS_newfstatat, FILE_SYSTEM),
    (nr::SYS_statx, FILE_SYSTEM),
    (nr::SYS_fstat, FILE_SYSTEM),
    (nr::SYS_faccessat, FILE_SYSTEM),
    (nr::SYS_faccessat2, FILE_SYSTEM),
    (nr::SYS_fchmodat, FILE_SYSTEM),
    (nr::SYS_fchownat, FILE_SYSTEM),
    (nr::SYS_utimensat, FILE_SYSTEM),
    (nr::SYS_execve, FILE_SYSTEM),
    (nr::SYS_execveat, FILE_SYSTEM),
    (nr::SYS_mount, FILE_SYSTEM),
    (nr::SYS_umount2, FILE_SYSTEM),
    (nr::SYS_futex, FUTEX),
    (nr::SYS_futex_waitv, SYNC),
    (nr::SYS_semop, SYNC),
    (nr::SYS_semtimedop, SYNC),
    (nr::SYS_ppoll, POLL),
    (nr::SYS_pselect6, SELECT),
    (nr::SYS_epoll_pwait, EVENTS),
    (nr::SYS_epoll_pwait2, EVENTS),
    (nr::SYS_io_getevents, EVENTS),
    (nr::SYS_io_uring_enter, IO_URING),
    (nr::SYS_nanosleep, SLEEP),
    (nr::SYS_clock_nanosleep, SLEEP),
    (nr::SYS_wait4, CHILD),
    (nr::SYS_waitid, CHILD),
    (nr::SYS_clone, FORK),
    (nr::SYS_clone3, FORK),
    (nr::SYS_msgrcv, IPC),
    (nr::SYS_msgsnd, IPC),
    (nr::SYS_mq_timedreceive, IPC),
    (nr::SYS_mq_timedsend, IPC),
    (nr::SYS_rt_sigtimedwait, IPC),
    (nr::SYS_rt_sigsuspend, IPC),
    (nr::SYS_flock, FILE_LOCK),
    (nr::SYS_fcntl, FCNTL),
    (nr::SYS_mmap, MEMORY),
    (nr::SYS_munmap, MEMORY),
    (nr::SYS_mremap, MEMORY),
    (nr::SYS_mprotect, MEMORY),
    (nr::SYS_madvise, MEMORY),
    (nr::SYS_brk, MEMORY),
    (nr::SYS_mlock, MEMORY),
    (nr::SYS_mlockall, MEMORY),
];

/// Calls newer architectures dropped.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[(i64, u8)] = &[
    (nr::SYS_open, FILE_SYSTEM),
    (nr::SYS_creat, FILE_SYSTEM),
    (nr::SYS_stat, FILE_SYSTEM),
    (nr::SYS_lstat, FILE_SYSTEM),
    (nr::SYS_access, FILE_SYSTEM),
    (nr::SYS_rename, FILE_SYSTEM),
    (nr::SYS_unlink, FILE_SYSTEM),
    (nr::SYS_link, FILE_SYSTEM),
    (nr::SYS_symlink, FILE_SYSTEM),
    (nr::SYS_readlink, FILE_SYSTEM),
    (nr::SYS_mkdir, FILE_SYSTEM),
    (nr::SYS_rmdir, FILE_SYSTEM),
    (nr::SYS_chmod, FILE_SYSTEM),
    (nr::SYS_chown, FILE_SYSTEM),
    (nr::SYS_getdents, DESCRIPTOR),
    (nr::SYS_poll, POLL),
    (nr::SYS_select, SELECT),
    (nr::SYS_epoll_wait, EVENTS),
    (nr::SYS_pause, IPC),
    (nr::SYS_fork, FORK),
    (nr::SYS_vfork, FORK),
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[(i64, u8)] = &[];

/// The kind of each system call, by number.
pub fn syscall_kinds() -> [u8; SYSCALLS] {
    let mut kinds = [UNKNOWN; SYSCALLS];
    for (number, kind) in COMMON.iter().chain(LEGACY) {
        kinds[*number as usize] = *kind;
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
