//! The targets in force: which slot selects which processes, and until when.

use std::time::{Duration, Instant};

use profiler_common::record::control;

use super::{DaemonError, Target, TargetId};
use crate::bpf::{Kernel, LoadError};
use crate::process::{ProcWorld, ProcessError, World, matches, resolve};
use crate::profile::Timestamp;
use crate::settings::Selector;
use crate::sys::clock;

/// Targets at once: one bit of the kernel half's mask for each.
const SLOTS: usize = 64;

/// The targets in force. Changes go to the kernel half at once; the caller lets them settle and visits all tasks.
pub(super) struct Selection {
    slots: [Option<Slot>; SLOTS],
    last_id: u32,
}

impl Default for Selection {
    fn default() -> Self {
        Self { slots: [const { None }; SLOTS], last_id: 0 }
    }
}

struct Slot {
    id: TargetId,
    selector: Selector,
    until: Option<(Instant, Timestamp)>,
}

/// Why a target could not be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum SelectError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Kernel(#[from] LoadError),
    #[error(transparent)]
    Full(#[from] DaemonError),
}

impl Selection {
    /// Whether nothing is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// Whether a target selects every process.
    pub(super) fn selects_all(&self) -> bool {
        self.slots.iter().flatten().any(|slot| slot.selector == Selector::All)
    }

    /// Selects processes. Attaches the kernel half if this is the first target.
    pub(super) fn add(
        &mut self,
        kernel: &mut Kernel,
        selector: Selector,
        lifetime: Option<Duration>,
    ) -> Result<TargetId, SelectError> {
        resolve(&selector, &ProcWorld)?;
        let free = self.slots.iter().position(Option::is_none).ok_or(DaemonError::TooManyTargets(SLOTS))?;
        kernel.attach()?;
        self.last_id += 1;
        let id = TargetId(self.last_id);
        let until = lifetime.map(|lifetime| {
            (Instant::now() + lifetime, Timestamp(clock::epoch_ns().saturating_add(lifetime.as_nanos() as u64)))
        });
        self.slots[free] = Some(Slot { id, selector, until });
        self.write_control(kernel)?;
        // A child forked between the two looks is found by the second; later ones inherit.
        self.add_processes(kernel, free)?;
        self.add_processes(kernel, free)?;
        Ok(id)
    }

    fn add_processes(&self, kernel: &mut Kernel, slot: usize) -> Result<(), LoadError> {
        let Some(Slot { selector, .. }) = &self.slots[slot] else { return Ok(()) };
        if *selector == Selector::All {
            return Ok(());
        }
        for pid in resolve(selector, &ProcWorld).unwrap_or_default() {
            kernel.add_to_target(pid, slot as u32)?;
        }
        Ok(())
    }

    /// Ends a selection.
    pub(super) fn remove(&mut self, kernel: &mut Kernel, id: TargetId) -> Result<(), SelectError> {
        let found = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.id == id));
        let slot = found.ok_or(DaemonError::NoSuchTarget(id.0))?;
        self.slots[slot] = None;
        self.write_control(kernel)?;
        Ok(kernel.remove_target(slot as u32)?)
    }

    /// The targets whose time is over.
    pub(super) fn expired(&self, now: Instant) -> Vec<TargetId> {
        let over = |slot: &&Slot| slot.until.is_some_and(|(until, _)| until <= now);
        self.slots.iter().flatten().filter(over).map(|slot| slot.id).collect()
    }

    /// A process has a new program or name: adds it to the targets that mean it now. Returns whether it is new to any.
    pub(super) fn follow(&self, kernel: &mut Kernel, pid: u32) -> Result<bool, LoadError> {
        let mut is_new = false;
        for (slot, selector) in self.live() {
            if matches(selector, pid, &ProcWorld) {
                is_new |= kernel.add_to_target(pid, slot as u32)?;
            }
        }
        Ok(is_new)
    }

    /// Looks again for processes the live targets mean, such as those that moved to a cgroup; forgets processes that
    /// ended. Returns whether there are new ones.
    pub(super) fn refresh(&self, kernel: &mut Kernel) -> Result<bool, LoadError> {
        let before = kernel.targets();
        let pids = ProcWorld.pids().unwrap_or_else(|_| before.iter().map(|(pid, _)| *pid).collect());
        for (pid, _) in before.iter().filter(|(pid, _)| !pids.contains(pid)) {
            kernel.remove_process(*pid)?;
        }
        for (slot, _) in self.live().collect::<Vec<_>>() {
            self.add_processes(kernel, slot)?;
        }
        let after = kernel.targets();
        Ok(after.iter().any(|target| !before.contains(target)))
    }

    /// The targets, with how many processes each selects now. `all` is the number of all processes accounted.
    pub(super) fn list(&self, kernel: &Kernel, all: usize) -> Vec<Target> {
        let masks = kernel.targets();
        let count = |slot: usize, selector: &Selector| match selector {
            Selector::All => all,
            _ => masks.iter().filter(|(_, mask)| mask >> slot & 1 == 1).count(),
        };
        self.occupied()
            .map(|(index, slot)| Target {
                id: slot.id,
                selector: slot.selector.clone(),
                until: slot.until.map(|(_, at)| at),
                processes: count(index, &slot.selector),
            })
            .collect()
    }

    /// The targets that select a process, by its mask.
    pub(super) fn ids_of(&self, mask: u64) -> Vec<TargetId> {
        let selects = |(index, slot): &(usize, &Slot)| slot.selector == Selector::All || mask >> index & 1 == 1;
        self.occupied().filter(selects).map(|(_, slot)| slot.id).collect()
    }

    fn occupied(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// The targets that can mean further processes later.
    fn live(&self) -> impl Iterator<Item = (usize, &Selector)> {
        let is_live = |selector: &Selector| !matches!(selector, Selector::All | Selector::Pid(_));
        self.occupied().map(|(index, slot)| (index, &slot.selector)).filter(move |(_, selector)| is_live(selector))
    }

    fn write_control(&self, kernel: &mut Kernel) -> Result<(), LoadError> {
        let all = self.occupied().any(|(_, slot)| slot.selector == Selector::All);
        let live = self.live().next().is_some();
        let bits = if all { control::SELECT_ALL } else { 0 } | if live { control::REPORT_EXEC } else { 0 };
        kernel.set_control(bits)
    }
}
