//! The user part of a stack, by frame pointers.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::generated::bpf_get_stack;
use profiler_common::limits::USER_FRAMES;

/// Writes up to [`USER_FRAMES`] addresses, leaf first, to `to`. Returns their number; zero if the stack cannot be read.
///
/// # Safety
/// `to` points to room for [`USER_FRAMES`] addresses.
#[inline(always)]
pub unsafe fn walk(context: *mut c_void, to: *mut u64) -> usize {
    // SAFETY: the caller vouches for the room; the verifier checks it.
    let bytes = unsafe { bpf_get_stack(context, to.cast(), (USER_FRAMES * 8) as u32, u64::from(BPF_F_USER_STACK)) };
    if bytes <= 0 { 0 } else { (bytes as usize / 8) & 0x7f }
}
