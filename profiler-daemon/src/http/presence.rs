//! Whether a process exists at all: tells an unselected process from one that is gone.

/// Whether a process (not merely a thread) has this pid in the daemon's PID namespace.
pub fn process_exists(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(|pid| procfs::process::Process::new(pid).ok())
        .and_then(|process| process.status().ok())
        .is_some_and(|status| u32::try_from(status.tgid) == Ok(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_exists_and_pid_zero_does_not() {
        assert!(process_exists(std::process::id()));
        assert!(!process_exists(0));
        assert!(!process_exists(u32::MAX));
    }

    #[test]
    fn a_thread_that_is_not_its_groups_leader_is_no_process() {
        let found = std::thread::scope(|scope| {
            let thread = scope.spawn(|| process_exists(rustix::thread::gettid().as_raw_nonzero().get() as u32));
            thread.join().unwrap()
        });
        assert!(!found);
    }
}
