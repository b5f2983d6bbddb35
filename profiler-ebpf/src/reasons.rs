//! What a wait was for, beyond its class: gathers what [`profiler_common::reason`] needs, and who or what was waited for.
//!
//! Read once for each captured wait, when the thread is back: its system call and the descriptor are still those it waited on.

use core::hint::black_box;

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use profiler_common::classify::descriptor;
use profiler_common::descriptor_cache::DescriptorCache;
use profiler_common::reason::{Facts, Socket, side, socket_state, tell};
use profiler_common::record::{WaitReason, account, subject};
use profiler_common::syscall::{self, operation};
use profiler_common::wait_class;

use crate::descriptors::{self, AF_UNIX};
use crate::task::{Registers, Task};
use crate::threads::Thread;
use crate::{maps, memory, offsets, wakers};

/// What is known of the wait in question. In memory of a map and not on the stack: the verifier forgets what was written there,
/// so paths meet again after each step.
#[map]
static FACTS: PerCpuArray<Facts> = PerCpuArray::with_max_entries(2, 0);

/// The entry of [`FACTS`] for a thread that is back, and for one that is seen from outside.
const OVER: u32 = 0;
const IN_PROGRESS: u32 = 1;

/// Writes what `thread`'s wait of this class is for; other accounts than classes have no reason. `current` says whether the
/// task's own memory is at hand and the wait is over.
#[inline(always)]
pub fn write(
    task: Task,
    thread: &Thread,
    class: u8,
    cache: &mut DescriptorCache,
    current: bool,
    reason: &mut WaitReason,
) {
    *reason = WaitReason::NONE;
    if !account::is_wait(class) {
        return;
    }
    if current {
        (reason.waker, reason.waker_ports) = (thread.ended_by, thread.ended_by_ports);
    }
    if thread.kernel_thread != 0 {
        return;
    }
    let Some(facts) = FACTS.get_ptr_mut(if current { OVER } else { IN_PROGRESS }) else { return };
    // SAFETY: the entry belongs to this CPU; programs of one kind do not nest.
    let facts = unsafe { &mut *facts };
    *facts = Facts { class, state: thread.left_state, memstall: task.in_memstall(), ..Facts::default() };
    let registers = task.registers();
    let number = registers.syscall();
    if number >= 0 && !task.in_compat_syscall() {
        let packed = maps::syscall(number);
        facts.syscall = syscall::kind_of(packed);
        facts.operation = syscall::operation_of(packed);
        facts.argument1 = registers.argument1();
        facts.argument2 = registers.argument2();
        let facts = black_box(&mut *facts);
        add_object(facts, task, cache, registers, current, reason);
    }
    reason.detail = tell(black_box(facts));
}

/// Adds what the system call waits on.
#[inline(always)]
fn add_object(
    facts: &mut Facts,
    task: Task,
    cache: &mut DescriptorCache,
    registers: Registers,
    current: bool,
    reason: &mut WaitReason,
) {
    if facts.syscall == syscall::FUTEX {
        if facts.class == wait_class::LOCK {
            reason.subject = subject::LOCK;
            reason.object = registers.argument0();
        }
        return;
    }
    let Some(number) = descriptor_number(facts, registers, current) else { return };
    let file = descriptors::open_file(task, number);
    let kind = descriptors::kind_of_file(file, cache);
    if facts.syscall == syscall::EVENTS {
        if kind == descriptor::EVENTS && current {
            add_event(facts, task, cache, file, registers, reason);
        }
        return;
    }
    add_file(facts, task, file, kind, number, reason);
}

/// The descriptor a system call waits on.
#[inline(always)]
fn descriptor_number(facts: &mut Facts, registers: Registers, current: bool) -> Option<u32> {
    let first = registers.argument0();
    match (facts.syscall, facts.operation) {
        (syscall::DESCRIPTOR | syscall::TRANSFER | syscall::EVENTS | syscall::FILE_LOCK | syscall::FCNTL, _)
        | (syscall::FILE_SYSTEM, operation::SYNC) => Some(first as u32),
        (syscall::POLL, _) if current && facts.argument1 == 1 => {
            let polled = memory::user::<u64>(first);
            facts.operation = polled_operation((polled >> 32) as u16);
            Some(polled as u32)
        }
        _ => None,
    }
}

/// What a poll for these events waits to do.
#[inline(always)]
fn polled_operation(events: u16) -> u8 {
    const POLLIN: u16 = 1;
    const POLLOUT: u16 = 4;
    match (events & POLLIN != 0, events & POLLOUT != 0) {
        (false, true) => operation::WRITE,
        _ => operation::READ,
    }
}

/// Adds what ended the wait of an event loop: the first file that was ready.
#[inline(always)]
fn add_event(
    facts: &mut Facts,
    task: Task,
    cache: &mut DescriptorCache,
    file: u64,
    registers: Registers,
    reason: &mut WaitReason,
) {
    let absent = offsets::ABSENT;
    if offsets::events_ready() == absent || offsets::event_ready_link() == absent || offsets::event_file() == absent {
        return;
    }
    let loop_: u64 = memory::kernel(file, offsets::file_private());
    let list = loop_ + u64::from(offsets::events_ready());
    let first: u64 = memory::kernel(list, 0);
    if first == list || first == 0 {
        facts.timed_out = registers.argument3() as u32 != u32::MAX;
        return;
    }
    let ready: u64 = memory::kernel(first - u64::from(offsets::event_ready_link()), offsets::event_file());
    let kind = descriptors::kind_of_file(ready, cache);
    add_file(facts, task, ready, kind, 0, reason);
}

/// Adds what is known of an open file.
#[inline(always)]
fn add_file(facts: &mut Facts, task: Task, file: u64, kind: u8, number: u32, reason: &mut WaitReason) {
    facts.descriptor = kind;
    match kind {
        descriptor::SOCKET | descriptor::LOCAL_SOCKET => {
            facts.socket = socket(task, descriptors::socket_of(file), reason);
        }
        descriptor::FILE => {
            let inode: u64 = memory::kernel(file, offsets::file_inode());
            reason.subject = subject::FILE;
            reason.object = memory::kernel(inode, offsets::inode_number());
            reason.number = number;
        }
        _ => {}
    }
}

#[inline(always)]
fn socket(task: Task, socket: u64, reason: &mut WaitReason) -> Socket {
    let state: u8 = memory::kernel(socket, offsets::sock_state());
    let side = match memory::kernel::<u16>(socket, offsets::sock_family()) {
        AF_UNIX => local_side(task, socket, reason),
        AF_INET => internet_side(socket, state, reason, false),
        AF_INET6 => internet_side(socket, state, reason, true),
        _ => side::UNKNOWN,
    };
    Socket { state, side }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// An accepted local socket has the address of the one that listened; one that connected has none of its own.
#[inline(always)]
fn local_side(task: Task, socket: u64, reason: &mut WaitReason) -> u8 {
    let pid: u64 = memory::kernel(socket, offsets::sock_peer_pid());
    let peer: u32 = if pid == 0 { 0 } else { memory::kernel(pid, offsets::pid_numbers()) };
    if peer == task.tgid() {
        return side::OWN;
    }
    let named = offsets::local_sock_address() != offsets::ABSENT
        && memory::kernel::<u64>(socket, offsets::local_sock_address()) != 0;
    if peer != 0 {
        reason.subject = subject::PROCESS;
        reason.number = peer;
    }
    if named { side::SERVER } else { side::CLIENT }
}

/// A port that `connect` chose is never shared with sockets that bind or listen: the kernel marks it by reuse below zero.
#[inline(always)]
fn internet_side(socket: u64, state: u8, reason: &mut WaitReason, is_6: bool) -> u8 {
    const TCP: u8 = 6;
    reason.ports = wakers::socket_ports(socket);
    let peer_port = reason.ports as u16;
    let mut side = side::UNKNOWN;
    if memory::kernel::<u8>(socket, offsets::sock_protocol()) == TCP
        && offsets::connection_bind() != offsets::ABSENT
        && offsets::bind_reuse() != offsets::ABSENT
    {
        let bind: u64 = memory::kernel(socket, offsets::connection_bind());
        let reuse: u8 = memory::kernel(bind, offsets::bind_reuse());
        side = match (bind, reuse) {
            (0, _) => side::UNKNOWN,
            (_, 0x80..) => side::CLIENT,
            _ => side::SERVER,
        };
    }
    if side == side::SERVER || state == socket_state::LISTENING || peer_port == 0 {
        reason.subject = subject::PORT;
        reason.port = memory::kernel(socket, offsets::sock_port());
        return side;
    }
    reason.subject = subject::ADDRESS;
    reason.port = peer_port;
    if is_6 && offsets::sock_peer_address6() != offsets::ABSENT {
        reason.address = memory::kernel(socket, offsets::sock_peer_address6());
    } else {
        let address: [u8; 4] = memory::kernel(socket, offsets::sock_peer_address4());
        (reason.address[10], reason.address[11]) = (0xff, 0xff);
        reason.address[12] = address[0];
        reason.address[13] = address[1];
        reason.address[14] = address[2];
        reason.address[15] = address[3];
    }
    side
}
