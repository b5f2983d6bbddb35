//! Records of captured stacks as the kernel half writes them.

use profiler_common::record::{Identity, STACK_OFF_CPU, STACK_ON_CPU, StackHeader, WaitReason};
use profiler_common::wait_class;

/// T, in nanoseconds.
pub const PERIOD_NS: u64 = 10_000_000;

const KERNEL_FRAMES: u16 = 12;
const USER_FRAMES: u16 = 24;

/// `count` records of different stacks in eight threads, aligned as in the ring.
pub fn stack_records(kind: u8, count: u64) -> Vec<Vec<u64>> {
    (0..count).map(|at| stack_record(kind, at)).collect()
}

fn stack_record(kind: u8, at: u64) -> Vec<u64> {
    let mut words: Vec<u64> =
        bytemuck::bytes_of(&header(kind, at)).chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    words.extend((0..u64::from(KERNEL_FRAMES)).map(|depth| 0xffff_ffff_8100_0000 + depth * 0x1000));
    words.extend((0..u64::from(USER_FRAMES)).map(|depth| 0x5555_0000_0000 + (at << 20) + depth * 0x40));
    words
}

fn header(kind: u8, at: u64) -> StackHeader {
    let pid = 100 + (at % 8) as u32;
    let identity = Identity { tgid: 100, pid, process_start_ns: 1, thread_start_ns: 2, exec_ns: 3, attach_ns: 4 };
    let off_cpu = kind == STACK_OFF_CPU;
    assert!(off_cpu || kind == STACK_ON_CPU);
    StackHeader {
        identity,
        at_ns: 1_000_000_000,
        duration_ns: if off_cpu { 400_000 } else { 0 },
        runq_ns: if off_cpu { 30_000 } else { 0 },
        weight_ns: PERIOD_NS,
        period_ns: PERIOD_NS,
        python_thread: 0,
        lock_holder: 0,
        code_ns: 0,
        reason: WaitReason::NONE,
        kernel_frames: KERNEL_FRAMES,
        user_frames: USER_FRAMES,
        kind,
        class: wait_class::NET,
        flags: 0,
        stop: 0,
        walked: USER_FRAMES,
        python_entries: 0,
        python_stop: 0,
        await_stop: 0,
        task_entries: 0,
    }
}
