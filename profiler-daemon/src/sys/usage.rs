//! What the daemon itself uses.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process so far, in nanoseconds.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Hands free memory of the heap back to the kernel: windows come and go in hundreds of megabytes, scattered over the heap.
pub fn give_back_free_memory() {
    // SAFETY: the function may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets large pieces of memory return to the kernel as soon as they are freed. Otherwise the C library keeps them on its heaps
/// once it has seen one come and go.
pub fn keep_large_pieces_off_the_heap() {
    // SAFETY: the function may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_PIECE_BYTES);
    }
}

/// Reading the kernel's types takes pieces of several megabytes; what works all the time, less than this.
#[cfg(target_env = "gnu")]
const LARGE_PIECE_BYTES: i32 = 512 << 10;

/// Resident memory of this process in bytes; zero if it cannot be read.
pub fn resident_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages: u64 = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
