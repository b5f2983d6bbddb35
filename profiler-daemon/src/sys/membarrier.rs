//! A wait until everything the kernel is doing right now is over.

use std::io;

/// Returns after every program the kernel half runs at this moment has ended (an RCU grace period, some milliseconds).
pub fn wait_for_grace_period() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes two integers and no memory.
    match unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
