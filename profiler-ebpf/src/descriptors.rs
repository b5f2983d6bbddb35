//! From a descriptor's number to what it refers to.

use profiler_common::classify::descriptor;
use profiler_common::descriptor_cache::DescriptorCache;

use crate::task::Task;
use crate::{memory, offsets};

const S_IFMT: u16 = 0o170000;
const S_IFSOCK: u16 = 0o140000;
const S_IFREG: u16 = 0o100000;
const S_IFDIR: u16 = 0o040000;
const S_IFBLK: u16 = 0o060000;
const S_IFCHR: u16 = 0o020000;
const S_IFIFO: u16 = 0o010000;
const MINOR_BITS: u32 = 20;
/// The family of local sockets.
pub const AF_UNIX: u16 = 1;

/// What descriptor `number` of the task refers to, of [`descriptor`].
#[inline(always)]
pub fn kind_of(task: Task, cache: &mut DescriptorCache, number: u32) -> u8 {
    kind_of_file(open_file(task, number), cache)
}

/// What an open file is, by its address, which may be zero.
#[inline(always)]
pub fn kind_of_file(file: u64, cache: &mut DescriptorCache) -> u8 {
    if file == 0 {
        return descriptor::UNKNOWN;
    }
    let operations: u64 = memory::kernel(file, offsets::file_operations());
    match cache.resolve(operations, || decode(file, operations)) {
        descriptor::SOCKET => decode_socket(file),
        kind => kind,
    }
}

/// The address of the open file; zero if there is none.
#[inline(always)]
pub fn open_file(task: Task, number: u32) -> u64 {
    let files = task.files();
    if files == 0 {
        return 0;
    }
    let table: u64 = memory::kernel(files, offsets::files_table());
    if table == 0 || number >= memory::kernel::<u32>(table, offsets::table_size()) {
        return 0;
    }
    let slots: u64 = memory::kernel(table, offsets::table_files());
    memory::kernel(slots + u64::from(number) * 8, 0)
}

/// Anonymous files have no reliable type bits, so they are told apart by their poll function first.
#[inline(always)]
fn decode(file: u64, operations: u64) -> u8 {
    let inode: u64 = memory::kernel(file, offsets::file_inode());
    match memory::kernel::<u16>(inode, offsets::inode_mode()) & S_IFMT {
        S_IFSOCK => descriptor::SOCKET,
        S_IFIFO => descriptor::PIPE,
        S_IFCHR => decode_device(memory::kernel::<u32>(inode, offsets::inode_device()) >> MINOR_BITS),
        S_IFDIR | S_IFBLK => descriptor::FILE,
        mode => decode_by_poll(operations, mode),
    }
}

/// Whether an open file, by its address, which may be zero, is a socket.
#[inline(always)]
pub fn is_socket(file: u64) -> bool {
    if file == 0 {
        return false;
    }
    let inode: u64 = memory::kernel(file, offsets::file_inode());
    memory::kernel::<u16>(inode, offsets::inode_mode()) & S_IFMT == S_IFSOCK
}

/// The address of the socket of a socket's open file.
#[inline(always)]
pub fn socket_of(file: u64) -> u64 {
    let socket: u64 = memory::kernel(file, offsets::file_private());
    memory::kernel(socket, offsets::socket_sock())
}

/// Local sockets are told from the others by the family of the socket itself.
#[inline(always)]
fn decode_socket(file: u64) -> u8 {
    match memory::kernel::<u16>(socket_of(file), offsets::sock_family()) {
        AF_UNIX => descriptor::LOCAL_SOCKET,
        _ => descriptor::SOCKET,
    }
}

/// The major numbers of terminals: consoles and serial lines, `/dev/tty`, and pseudo terminals.
#[inline(always)]
fn decode_device(major: u32) -> u8 {
    match major {
        4 | 5 | 136..=143 => descriptor::TERMINAL,
        _ => descriptor::CHARACTER,
    }
}

#[inline(always)]
fn decode_by_poll(operations: u64, mode: u16) -> u8 {
    let poll: u64 = memory::kernel(operations, offsets::operations_poll());
    let known = [
        (offsets::events_poll(), descriptor::EVENTS),
        (offsets::timer_poll(), descriptor::TIMER),
        (offsets::process_poll(), descriptor::PROCESS),
        (offsets::event_counter_poll(), descriptor::EVENT_COUNTER),
        (offsets::signals_poll(), descriptor::SIGNALS),
        (offsets::file_changes_poll(), descriptor::FILE_CHANGES),
    ];
    for (address, kind) in known {
        if poll != 0 && poll == address {
            return kind;
        }
    }
    if mode == S_IFREG { descriptor::FILE } else { descriptor::ANONYMOUS }
}
