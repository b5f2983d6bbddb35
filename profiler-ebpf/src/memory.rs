//! Loads from kernel and user memory.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

/// Reads kernel memory at `base + offset`; zero if it cannot be read.
#[inline(always)]
pub fn kernel<T: Copy + Default>(base: u64, offset: u32) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base + offset as u64) as *const T) }.unwrap_or_default()
}

/// Reads the current task's user memory; zero if it cannot be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}
