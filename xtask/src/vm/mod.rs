//! Other kernels on this machine: Debian's, booted by qemu from an initramfs that holds what is to be run.
mod initramfs;
mod kernel;
mod machine;

pub(crate) use initramfs::Initramfs;
pub(crate) use kernel::{KERNELS, Kernel};
pub(crate) use machine::{Outcome, Step, boot};
