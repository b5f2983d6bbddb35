//! Whether a thread sleeps in a call by which event loops wait.

use crate::process::thread::Asleep;

/// The calls that wait for several descriptors.
const POLLS: &[libc::c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_io_uring_enter,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
];

/// Whether it is one of these.
pub fn is_polling(asleep: &Asleep) -> bool {
    asleep.call.is_some_and(|call| POLLS.iter().any(|poll| *poll as u64 == call.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::thread::{Ran, SystemCall};

    #[test]
    fn a_thread_that_reads_or_faults_does_not_poll() {
        let asleep = |call| Asleep { call, stack_pointer: 0, instruction: 0, ran: Ran::default() };
        let call = |number: libc::c_long| Some(SystemCall { number: number as u64, arguments: [0; 6] });
        let told = [call(libc::SYS_epoll_pwait), call(libc::SYS_read), None].map(|call| is_polling(&asleep(call)));
        assert_eq!(told, [true, false, false]);
    }
}
