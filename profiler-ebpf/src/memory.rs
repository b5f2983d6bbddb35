//! Loads from kernel and user memory.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel as bpf_probe_read_kernel_raw, bpf_probe_read_user as bpf_probe_read_user_raw,
};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use profiler_common::memory::Memory;

/// Reads kernel memory at `base + offset`; zero if it cannot be read.
#[inline(always)]
pub fn kernel<T: Copy + Default>(base: u64, offset: u32) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base + offset as u64) as *const T) }.unwrap_or_default()
}

/// Reads kernel memory; nothing if it cannot be read.
#[inline(always)]
pub fn try_kernel<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Copies kernel memory. Returns whether it could be read.
#[inline(always)]
pub fn copy_kernel<T: Copy>(address: u64, to: &mut T) -> bool {
    // SAFETY: the helper checks the address; the destination is a whole value.
    unsafe {
        bpf_probe_read_kernel_raw(core::ptr::from_mut(to).cast(), size_of::<T>() as u32, address as *const c_void) == 0
    }
}

/// Reads a word of the current task's user memory.
#[inline(always)]
pub fn user_word(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// Reads the current task's user memory; zero if it cannot be read.
#[inline(always)]
pub fn user<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.unwrap_or_default()
}

/// Copies `bytes` of the current task's user memory, at most as many as there is room for. Returns whether it could be read.
#[inline(always)]
pub fn copy_user<const N: usize>(address: u64, bytes: u32, to: &mut [u64; N]) -> bool {
    let room = (N * 8) as u32;
    let bytes = if bytes > room { room } else { bytes };
    // SAFETY: the helper checks the address; the destination has room.
    unsafe { bpf_probe_read_user_raw(to.as_mut_ptr().cast(), bytes, address as *const c_void) == 0 }
}

/// The memory of the current task.
pub struct User;

impl Memory for User {
    #[inline(always)]
    fn read_word(&mut self, address: u64) -> Option<u64> {
        user_word(address)
    }

    #[inline(always)]
    fn read_words<const N: usize>(&mut self, address: u64, bytes: u32, to: &mut [u64; N]) -> bool {
        copy_user(address, bytes, to)
    }
}
