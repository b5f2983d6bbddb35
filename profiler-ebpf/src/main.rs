//! The kernel half of profilerd: its programs, each a few lines around one step.
#![no_std]
#![no_main]

mod code;
mod descriptors;
mod java;
mod lifecycle;
mod maps;
mod memory;
mod offsets;
mod python;
mod reasons;
mod selection;
mod stacks;
mod switches;
mod task;
mod tasks;
mod threads;
mod user_stack;
mod waits;
mod wakers;

use core::ffi::c_void;

use aya_ebpf::bindings::task_struct;
use aya_ebpf::macros::{btf_tracepoint, kprobe, perf_event};
use aya_ebpf::programs::{BtfTracePointContext, PerfEventContext, ProbeContext};
use profiler_common::record::{STACK_OFF_CPU, STACK_ON_CPU, control};

use crate::task::Task;

/// A thread leaves the CPU.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(context: BtfTracePointContext) -> i32 {
    let task = Task::new(context.arg::<*mut task_struct>(1));
    switches::out(task, previous_state(&context, task), context.arg::<u64>(0) & 1 != 0);
    0
}

/// A thread leaves the CPU, another one takes it: for kernels with no hook in the context of the resumed thread.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch_both(context: BtfTracePointContext) -> i32 {
    let task = Task::new(context.arg::<*mut task_struct>(1));
    switches::out(task, previous_state(&context, task), context.arg::<u64>(0) & 1 != 0);
    switches::resume_without_stack(Task::new(context.arg::<*mut task_struct>(2)));
    0
}

#[inline(always)]
fn previous_state(context: &BtfTracePointContext, task: Task) -> u32 {
    if offsets::has_previous_state() != 0 { context.arg::<u32>(3) } else { task.state() }
}

/// A thread is on the CPU again, in its own context and without the run queue's lock (Linux 6.15 on).
#[btf_tracepoint(function = "sched_exit_tp")]
fn sched_exit(context: BtfTracePointContext) -> i32 {
    if context.arg::<u64>(0) & 1 != 0 {
        switches::resume(&context);
    }
    0
}

/// The same hook on older kernels.
#[kprobe]
fn finish_task_switch(context: ProbeContext) -> u32 {
    switches::resume(&context);
    0
}

/// A thread is being woken, by what runs on this CPU.
#[btf_tracepoint(function = "sched_waking")]
fn sched_waking(context: BtfTracePointContext) -> i32 {
    wakers::waking(Task::new(context.arg::<*mut task_struct>(0)));
    0
}

/// A thread or process is created; it has not run yet.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    let (parent, child) = (context.arg::<*mut task_struct>(0), context.arg::<*mut task_struct>(1));
    tasks::forked(Task::new(parent), Task::new(child));
    0
}

/// A process executes a program.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    tasks::executed(Task::new(context.arg::<*mut task_struct>(0)), context.arg::<u32>(1));
    0
}

/// A thread exits; it still runs for a moment.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    tasks::exiting(Task::new(context.arg::<*mut task_struct>(0)));
    0
}

/// A thread changes its name.
#[btf_tracepoint(function = "task_rename")]
fn task_rename(context: BtfTracePointContext) -> i32 {
    if maps::control(control::REPORT_EXEC) {
        tasks::renamed(Task::new(context.arg::<*mut task_struct>(0)), context.arg::<u64>(1));
    }
    0
}

/// A free place was found for memory that is about to be mapped.
#[btf_tracepoint(function = "vm_unmapped_area")]
fn vm_unmapped_area(context: BtfTracePointContext) -> i32 {
    code::reserved(context.arg::<u64>(0), context.arg::<*const c_void>(1) as u64);
    0
}

/// The timer of on-CPU samples.
#[perf_event]
fn on_cpu(context: PerfEventContext) -> u32 {
    switches::sample(&context);
    0
}

/// Goes on with the walk of a stack on the CPU.
#[perf_event]
fn walk_on_cpu(context: PerfEventContext) -> u32 {
    stacks::continue_walk(&context, STACK_ON_CPU);
    0
}

/// Goes on with the walk of a stack that waited.
#[btf_tracepoint(function = "sched_exit_tp")]
fn walk_sched_exit(context: BtfTracePointContext) -> i32 {
    stacks::continue_walk(&context, STACK_OFF_CPU);
    0
}

/// The same on older kernels.
#[kprobe]
fn walk_finish_task_switch(context: ProbeContext) -> u32 {
    stacks::continue_walk(&context, STACK_OFF_CPU);
    0
}

/// Walks Java frames of a stack on the CPU.
#[perf_event]
fn java_on_cpu(context: PerfEventContext) -> u32 {
    stacks::continue_java(&context, STACK_ON_CPU);
    0
}

/// Walks Java frames of a stack that waited.
#[btf_tracepoint(function = "sched_exit_tp")]
fn java_sched_exit(context: BtfTracePointContext) -> i32 {
    stacks::continue_java(&context, STACK_OFF_CPU);
    0
}

/// The same on older kernels.
#[kprobe]
fn java_finish_task_switch(context: ProbeContext) -> u32 {
    stacks::continue_java(&context, STACK_OFF_CPU);
    0
}

/// Walks Python frames of a stack on the CPU.
#[perf_event]
fn python_on_cpu(context: PerfEventContext) -> u32 {
    stacks::continue_python(&context, STACK_ON_CPU);
    0
}

/// Walks Python frames of a stack that waited.
#[btf_tracepoint(function = "sched_exit_tp")]
fn python_sched_exit(context: BtfTracePointContext) -> i32 {
    stacks::continue_python(&context, STACK_OFF_CPU);
    0
}

/// The same on older kernels.
#[kprobe]
fn python_finish_task_switch(context: ProbeContext) -> u32 {
    stacks::continue_python(&context, STACK_OFF_CPU);
    0
}

/// Walks the tasks of asyncio that await the one a thread runs on the CPU.
#[perf_event]
fn await_on_cpu(context: PerfEventContext) -> u32 {
    stacks::continue_awaiting(&context, STACK_ON_CPU);
    0
}

/// Walks those that await the one in which a thread waited.
#[btf_tracepoint(function = "sched_exit_tp")]
fn await_sched_exit(context: BtfTracePointContext) -> i32 {
    stacks::continue_awaiting(&context, STACK_OFF_CPU);
    0
}

/// The same on older kernels.
#[kprobe]
fn await_finish_task_switch(context: ProbeContext) -> u32 {
    stacks::continue_awaiting(&context, STACK_OFF_CPU);
    0
}

/// One step of the pass over all tasks: opens, reports or closes the books of each.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn each_task(context: *mut tasks::IterContext) -> i32 {
    tasks::visit(context);
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
