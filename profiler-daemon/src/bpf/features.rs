//! What this kernel has, and what is chosen from it. Every fallback is stated in words.

use super::LoadError;
use super::btf::Btf;
use super::kallsyms::KernelSymbols;
use super::offsets::{Offsets, resolve_offsets};
use crate::settings::{SwitchInChoice, VariantChoice, WakerChoice};

/// Where the kernel half keeps the state of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Task-local storage.
    Storage,
    /// A hash with a permanent entry per thread.
    Hash,
}

impl Variant {
    /// The word in object names, `doctor` and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Hash => "hash",
        }
    }
}

/// Which hook sees a thread resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchIn {
    /// The `sched_exit_tp` tracepoint.
    SchedExit,
    /// A kprobe on the function of this name.
    Kprobe(String),
    /// `sched_switch` alone.
    SchedSwitch,
}

impl SwitchIn {
    /// The word in `doctor` and status.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SchedExit => "sched_exit_tp",
            Self::Kprobe(_) => "kprobe",
            Self::SchedSwitch => "sched_switch",
        }
    }
}

/// What was found and chosen.
#[derive(Debug)]
pub struct Features {
    /// What `uname -r` says.
    pub release: String,
    /// The chosen variant.
    pub variant: Variant,
    /// The chosen hook.
    pub switch_in: SwitchIn,
    /// Each fallback in words: what is missing, and what it costs.
    pub fallbacks: Vec<String>,
    /// What the kernel half is told.
    pub offsets: Offsets,
    /// Whether the hook in the context of the resumed thread exists.
    pub has_sched_exit: bool,
    /// The function a kprobe could take instead.
    pub probe: Option<String>,
    /// Whether the kernel announces renamed threads.
    pub has_task_rename: bool,
    /// Whether it announces where memory will be mapped.
    pub has_unmapped_area: bool,
    /// Whether it is asked who ends waits.
    pub tells_wakers: bool,
}

impl Features {
    /// Looks at the running kernel and chooses, unless the user has.
    pub fn detect(variant: VariantChoice, switch_in: SwitchInChoice) -> Result<Self, LoadError> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version = parse_version(&release);
        if version < (5, 10) {
            return Err(LoadError::KernelTooOld { release });
        }
        let (btf, symbols) = read_types_and_symbols()?;
        let offsets = resolve_offsets(&btf, &symbols);
        if !offsets.missing.is_empty() {
            return Err(LoadError::MissingFields(offsets.missing.join(", ")));
        }
        let mut features = Self {
            release,
            variant: Variant::Storage,
            switch_in: SwitchIn::SchedExit,
            fallbacks: Vec::new(),
            offsets,
            has_sched_exit: btf.has_tracepoint("sched_exit_tp"),
            probe: symbols.finish_task_switch.clone().filter(|_| has_kprobes()),
            has_task_rename: btf.has_tracepoint("task_rename"),
            has_unmapped_area: btf.has_tracepoint("vm_unmapped_area"),
            tells_wakers: false,
        };
        features.choose_variant(variant, version)?;
        features.choose_switch_in(switch_in)?;
        features.has_unmapped_area &= !features.offsets.absent.contains(&"AREA_LENGTH");
        features.note_absent_fields();
        features.note_hidden_symbols(&symbols);
        Ok(features)
    }

    /// The same, with who ends waits told as asked for, where it can be; waits that have no stack have no waker either.
    pub fn with_wakers(self, wakers: WakerChoice) -> Self {
        let can_tell = self.offsets.knows_context && self.switch_in != SwitchIn::SchedSwitch;
        Self { tells_wakers: can_tell && wakers == WakerChoice::Ids, ..self }
    }

    fn choose_variant(&mut self, choice: VariantChoice, version: (u32, u32)) -> Result<(), LoadError> {
        let has_storage = version >= (5, 15);
        self.variant = match choice {
            VariantChoice::Storage if !has_storage => {
                return Err(LoadError::Unavailable("task-local storage with registers"));
            }
            VariantChoice::Storage => Variant::Storage,
            VariantChoice::Auto if has_storage => Variant::Storage,
            _ => Variant::Hash,
        };
        if self.variant == Variant::Hash {
            self.fallbacks.push(
                "thread state is kept in a hash (task-local storage needs Linux 5.15): some 150 ns more per switch, \
                 and the number of threads is bounded by --max-threads"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn choose_switch_in(&mut self, choice: SwitchInChoice) -> Result<(), LoadError> {
        self.switch_in = match (choice, self.has_sched_exit, self.probe.clone()) {
            (SwitchInChoice::SchedExit, false, _) => return Err(LoadError::Unavailable("tracepoint sched_exit_tp")),
            (SwitchInChoice::Kprobe, _, None) => return Err(LoadError::Unavailable("kprobe on finish_task_switch")),
            (SwitchInChoice::Auto | SwitchInChoice::SchedExit, true, _) => SwitchIn::SchedExit,
            (SwitchInChoice::Auto | SwitchInChoice::Kprobe, _, Some(function)) => SwitchIn::Kprobe(function),
            _ => SwitchIn::SchedSwitch,
        };
        self.note_switch_in();
        Ok(())
    }

    fn note_switch_in(&mut self) {
        match &self.switch_in {
            SwitchIn::SchedExit => {}
            SwitchIn::Kprobe(function) => self.fallbacks.push(format!(
                "threads are seen to resume by a kprobe on {function} (sched_exit_tp needs Linux 6.15): some 100 ns more per switch"
            )),
            SwitchIn::SchedSwitch => self.fallbacks.push(
                "threads are seen to resume by sched_switch alone (no sched_exit_tp, no kprobes): totals are exact, \
                 but waits have no stacks and appear as [unsampled]"
                    .to_owned(),
            ),
        }
    }

    fn note_absent_fields(&mut self) {
        let absent = |name: &str| self.offsets.absent.contains(&name);
        if absent("TASK_THROTTLED") && absent("CFS_RQ_THROTTLE_COUNT") {
            self.fallbacks.push(
                "throttling by CPU quotas is not told apart from the run queue (no CONFIG_CFS_BANDWIDTH)".to_owned(),
            );
        }
        if !self.has_unmapped_area {
            self.fallbacks.push(
                "a library loaded where another was unloaded counts as that one until the mappings of its process are read \
                 again (no tracepoint vm_unmapped_area)"
                    .to_owned(),
            );
        }
        if !self.offsets.knows_context {
            self.fallbacks.push(
                "who ended a wait is not told: the kernel does not describe where its preempt count lies".to_owned(),
            );
        }
        if absent("TASK_IN_IOWAIT") {
            self.fallbacks.push("waits for a disk are told by the system call alone (no in_iowait)".to_owned());
        }
        if absent("TASK_IN_MEMSTALL") {
            self.fallbacks.push("waits for memory to be reclaimed show as other waits (no CONFIG_PSI)".to_owned());
        }
        if absent("TASK_FROZEN") {
            self.fallbacks
                .push("threads frozen by version 2 of cgroups show as other waits (no CONFIG_CGROUPS)".to_owned());
        }
    }

    fn note_hidden_symbols(&mut self, symbols: &KernelSymbols) {
        if symbols.are_hidden() {
            self.fallbacks.push(
                "kernel symbols are hidden (no CAP_SYSLOG, or kptr_restrict): kernel frames have no names, and timers \
                 and pidfds count as other descriptors"
                    .to_owned(),
            );
        }
    }
}

/// Both at once: each takes tens of milliseconds.
fn read_types_and_symbols() -> Result<(Btf, KernelSymbols), LoadError> {
    std::thread::scope(|scope| {
        let symbols = scope.spawn(KernelSymbols::read);
        let btf = Btf::read()?;
        Ok((btf, symbols.join().expect("reading symbols does not panic")))
    })
}

/// The major and minor version of a release such as `6.1.0-13-amd64`; zeros where it cannot be read.
fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the kernel lets perf events probe its functions.
fn has_kprobes() -> bool {
    std::path::Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn releases_of_distributions_have_a_version() {
        for (release, version) in
            [("5.10.0-28-cloud-amd64", (5, 10)), ("6.18.44-cloud", (6, 18)), ("7.2", (7, 2)), ("weird", (0, 0))]
        {
            assert_eq!(parse_version(release), version);
        }
    }
}
