//! Reading the memory of another process.

use std::io;

/// Fills `to` with the memory of a process from `address` on; an error if not all of it can be read.
///
/// Needs the right to trace the process. Nothing stops it meanwhile: what is read may be in the middle of a change.
pub fn read_exact(pid: u32, address: u64, to: &mut [u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: to.len() };
    // SAFETY: the kernel writes to `local` alone, which is `to`; `remote` is an address in the other process, and checked
    // by the kernel.
    let read = unsafe { libc::process_vm_readv(pid as libc::pid_t, &local, 1, &remote, 1, 0) };
    match usize::try_from(read) {
        Err(_) => Err(gone_as_not_found(io::Error::last_os_error())),
        Ok(read) if read == to.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn gone_as_not_found(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    use std::process;
    use std::ptr;

    #[test]
    fn memory_is_copied() {
        let (from, mut to) = ([7u8, 8, 9], [0; 3]);
        read_exact(process::id(), from.as_ptr() as u64, &mut to).unwrap();
        assert_eq!(to, from);
    }

    #[test]
    fn what_is_read_in_part_is_an_error() {
        let page = rustix::param::page_size();
        // SAFETY: nobody else knows of the two pages, and nothing refers to them but the addresses below.
        let start = unsafe {
            let start = mmap_anonymous(ptr::null_mut(), 2 * page, ProtFlags::READ, MapFlags::PRIVATE).unwrap();
            munmap(start.byte_add(page), page).unwrap();
            start as u64
        };
        let mut to = [1; 16];
        let mut read_at = |address| read_exact(process::id(), address, &mut to).map_err(|error| error.kind());
        assert_eq!(read_at(start + page as u64 - 16), Ok(()));
        assert_eq!(read_at(start + page as u64 - 8), Err(io::ErrorKind::UnexpectedEof));
        assert!(read_at(start + page as u64).is_err() && read_at(u64::MAX).is_err());
    }

    #[test]
    fn a_process_that_does_not_exist_is_not_found() {
        let error = read_exact(u32::MAX >> 1, 0x1000, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
