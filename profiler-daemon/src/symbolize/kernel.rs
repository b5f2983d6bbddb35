//! Addresses in the kernel, and which of them only tell that the thread was switched out.

use std::sync::Arc;

use super::engine::Engine;
use super::frames::{Frames, Shared};
use super::limits;
use crate::process::RecentMap;
use crate::profile::{Frame, FrameKind, Name, Reason};

/// The module name of frames of the kernel.
pub const KERNEL_MODULE: &str = "[kernel]";

/// Functions between a wait and its recording. Every wait ends in them, so they say nothing about it.
const SWITCH_FUNCTIONS: [&str; 5] =
    ["__schedule", "schedule", "schedule_idle", "schedule_preempt_disabled", "trace_call_bpf"];
/// The beginnings of the names of further such functions.
const SWITCH_PREFIXES: [&str; 7] =
    ["bpf_prog_", "bpf_trace_run", "bpf_get_stack", "__bpf_trace_", "__traceiter_", "finish_task_switch", "kprobe_"];

/// The frames of the kernel seen so far.
#[derive(Debug)]
pub(super) struct KernelFrames(RecentMap<u64, Frames>);

impl KernelFrames {
    pub(super) fn new() -> Self {
        Self(RecentMap::new(limits::KERNEL_FRAMES))
    }

    /// The frames of the kernel part of a stack, leaf first. `on_cpu` says that the leaf is an interrupted instruction;
    /// otherwise all are return addresses, and the scheduler's own frames at the leaf are left out.
    pub(super) fn resolve(
        &mut self,
        addresses: &[u64],
        on_cpu: bool,
        engine: &mut Engine,
        shared: &mut Shared,
        frames: &mut Vec<Arc<Frame>>,
    ) {
        for (at, address) in addresses.iter().enumerate() {
            let is_exact = on_cpu && at == 0;
            let address = if is_exact { *address } else { address.saturating_sub(1) };
            frames.extend(self.resolve_one(address, engine, shared).iter().cloned());
        }
        if !on_cpu {
            frames.drain(..switch_frames(frames));
        }
    }

    fn resolve_one(&mut self, address: u64, engine: &mut Engine, shared: &mut Shared) -> Frames {
        if let Some(known) = self.0.find(&address) {
            return known.clone();
        }
        let module = shared.text(KERNEL_MODULE);
        let functions = engine.resolve_kernel(address);
        let frames = match functions.is_empty() {
            true => Frames::from([shared.unknown(FrameKind::Kernel, Reason::NoSymbol, Some(KERNEL_MODULE), address)]),
            false => shared.functions(functions, FrameKind::Kernel, &module, address),
        };
        self.0.insert(address, frames.clone());
        frames
    }
}

/// How many frames at the leaf belong to the switch itself.
fn switch_frames(frames: &[Arc<Frame>]) -> usize {
    let leaf = &frames[..frames.len().min(limits::LEAF_FRAMES)];
    leaf.iter().rposition(|frame| is_switch_frame(frame)).map_or(0, |last| last + 1)
}

fn is_switch_frame(frame: &Frame) -> bool {
    match &frame.name {
        Name::Known(name) => {
            SWITCH_FUNCTIONS.contains(&name.as_ref()) || SWITCH_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        }
        Name::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<Arc<Frame>> {
        let frame = |name: &&str| Arc::new(Frame { kind: FrameKind::Kernel, ..Frame::marker(*name) });
        names.iter().map(frame).collect()
    }

    #[test]
    fn the_frames_of_the_switch_are_told_from_those_of_the_wait() {
        for (names, count) in [
            (
                &[
                    "bpf_prog_6deef7357e7b4530",
                    "bpf_trace_run2",
                    "__traceiter_sched_exit_tp",
                    "__schedule",
                    "schedule",
                    "futex_wait_queue",
                ][..],
                5,
            ),
            (&["finish_task_switch.isra.0", "__schedule", "schedule", "schedule_timeout", "unix_stream_read"], 3),
            (&["unknown_trampoline", "__schedule", "schedule", "do_nanosleep"], 3),
            (&["io_schedule", "folio_wait_bit_common"], 0),
            (&[], 0),
        ] {
            assert_eq!(switch_frames(&stack(names)), count, "{names:?}");
        }
    }
}
