//! What is known of a process that somebody asks about and that is not profiled, until the answer is given.
//!
//! It counts against nothing that is kept of profiled processes, and evicts none of it: anybody may ask about any process,
//! as often as they like.

use std::sync::Arc;

use crate::aggregate::RawStack;
use crate::outside::Host;
use crate::process::{Executables, ProcWorld, Registry};
use crate::profile::Stack;
use crate::runtime::Runtimes;
use crate::symbolize::Symbolizer;

/// What is read for one question.
pub(super) struct Question {
    registry: Registry,
    runtimes: Arc<Runtimes>,
}

/// Stacks that belong to no window.
pub(super) struct Unnamed {
    /// The stacks.
    pub(super) stacks: Vec<RawStack>,
    /// What is known of their process, if it is not profiled.
    pub(super) question: Option<Arc<Question>>,
}

impl Question {
    /// Nothing is read yet. Open executables are those of earlier questions.
    pub(super) fn new(executables: &Arc<Executables>) -> Self {
        Self { registry: Registry::with_capacity(1, executables.clone()), runtimes: Arc::default() }
    }

    pub(super) fn host(&self) -> Host<'_> {
        Host { registry: &self.registry, runtimes: &self.runtimes, world: &ProcWorld }
    }

    /// Names the frames of its stacks.
    pub(super) fn name(&self, stacks: &[RawStack], symbolizer: &mut Symbolizer) -> Vec<Stack> {
        symbolizer.name_stacks(stacks, (&self.registry, &self.runtimes), &ProcWorld)
    }
}
