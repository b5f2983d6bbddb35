//! Who ends a wait: notes it in the state of the sleeper while it is being woken.
//!
//! A thread that was interrupted is never blamed for what the interrupt did. The kernel holds a lock of the sleeper meanwhile, so
//! one waker writes at a time, and whoever resumes has been woken before.
//!
//! But for a thread that is woken on its own CPU while it is still on it, by itself or by an interrupt: there the kernel takes no
//! lock, and another CPU may write at the same moment. Then one of both is noted. Ids and context are one word, so they are
//! never mixed; ports may be those of the other, and do not match the sleeper's connection, or are zero: then nobody is told.

use profiler_common::syscall;
use profiler_common::waker::{context, context_of, pack_context, pack_ports, pack_thread};

use crate::descriptors;
use crate::task::Task;
use crate::threads;
use crate::{maps, memory, offsets};

/// `sleeper` is being woken by what runs on this CPU.
#[inline(always)]
pub fn waking(sleeper: Task) {
    threads::note_waker(sleeper, waker_here);
}

/// What runs on this CPU, of [`profiler_common::waker`], and the ports of the connection it is in a system call on, if those matter.
#[inline(always)]
fn waker_here() -> (u64, u32) {
    let waker = Task::current();
    let queue = waker.run_queue();
    match context_here(waker, queue) {
        context::THREAD if waker.pid() == 0 => (pack_context(context::IDLE), 0),
        context::THREAD => (pack_thread(context::THREAD, waker.tgid(), waker.pid()), 0),
        context::INTERRUPT if in_timer_interrupt(queue) => (pack_context(context::TIMER), 0),
        context::SOFT_INTERRUPT if in_timer_soft_interrupt(queue) => (pack_context(context::TIMER), 0),
        context::SOFT_INTERRUPT => match connection(waker) {
            0 => (pack_context(context::SOFT_INTERRUPT), 0),
            ports => (pack_thread(context::CONNECTION, waker.tgid(), waker.pid()), ports),
        },
        other => (pack_context(other), 0),
    }
}

/// What runs on this CPU; `queue` is its run queue, a neighbour of its other variables.
#[inline(always)]
fn context_here(current: Task, queue: u64) -> u8 {
    if offsets::task_preempt_count() != offsets::ABSENT {
        return context_of(current.preempt_count() | current.soft_interrupts());
    }
    if offsets::preempt_count_distance() == 0 || queue == 0 {
        return context::UNKNOWN;
    }
    match memory::try_kernel::<u32>(queue.wrapping_add(offsets::preempt_count_distance())) {
        Some(count) => context_of(count | current.soft_interrupts()),
        None => context::UNKNOWN,
    }
}

/// Whether the interrupt is that of high-resolution timers, which are carried out within it.
#[inline(always)]
fn in_timer_interrupt(queue: u64) -> bool {
    if offsets::timer_interrupt_distance() == 0 || queue == 0 {
        return false;
    }
    let byte = memory::try_kernel::<u8>(queue.wrapping_add(offsets::timer_interrupt_distance()));
    u32::from(byte.unwrap_or_default()) & offsets::timer_interrupt_mask() != 0
}

/// Whether a timer of the wheel is being carried out. Soft interrupts do not nest.
#[inline(always)]
fn in_timer_soft_interrupt(queue: u64) -> bool {
    if offsets::timer_running_distance() == 0 || queue == 0 {
        return false;
    }
    let first = queue.wrapping_add(offsets::timer_running_distance());
    let size = u64::from(offsets::timer_base_bytes());
    let running = |base: u64| {
        base < u64::from(offsets::timer_bases())
            && memory::try_kernel::<u64>(first.wrapping_add(base * size)).is_some_and(|timer| timer != 0)
    };
    running(0) || running(1) || running(2)
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The ports of the connection the thread is in a system call on, if both its ends have the same address and so are on this host.
/// Then a packet it sends is received on its own CPU within the call. Zero otherwise.
#[inline(always)]
fn connection(task: Task) -> u32 {
    if task.pid() == 0 || task.is_kernel_thread() || task.in_compat_syscall() {
        return 0;
    }
    let registers = task.registers();
    let number = registers.syscall();
    if number < 0 {
        return 0;
    }
    let kind = syscall::kind_of(maps::syscall(number));
    if kind != syscall::DESCRIPTOR && kind != syscall::TRANSFER {
        return 0;
    }
    let file = descriptors::open_file(task, registers.argument0() as u32);
    if !descriptors::is_socket(file) {
        return 0;
    }
    let socket = descriptors::socket_of(file);
    let is_within = match memory::kernel::<u16>(socket, offsets::sock_family()) {
        AF_INET => {
            let own: u32 = memory::kernel(socket, offsets::sock_own_address4());
            own != 0 && own == memory::kernel::<u32>(socket, offsets::sock_peer_address4())
        }
        AF_INET6
            if offsets::sock_own_address6() != offsets::ABSENT && offsets::sock_peer_address6() != offsets::ABSENT =>
        {
            let own: [u64; 2] = memory::kernel(socket, offsets::sock_own_address6());
            let peer: [u64; 2] = memory::kernel(socket, offsets::sock_peer_address6());
            own[1] != 0 && own[0] == peer[0] && own[1] == peer[1]
        }
        _ => false,
    };
    if is_within { socket_ports(socket) } else { 0 }
}

/// The ports of a socket's connection.
#[inline(always)]
pub fn socket_ports(socket: u64) -> u32 {
    let peer = u16::from_be(memory::kernel(socket, offsets::sock_peer_port()));
    pack_ports(memory::kernel(socket, offsets::sock_port()), peer)
}
