//! The loaded kernel half: attach and detach, targets, counters, and the pass over all tasks.

use std::io::Read;
use std::path::Path;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventLink, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{BtfTracePoint, Iter, KProbe, PerfEvent, Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use profiler_common::limits::{LIFECYCLE_RING_BYTES, STACK_RING_BYTES};
use profiler_common::record::{self, SNAPSHOT_BYTES, Snapshot};
use profiler_common::wait_budget::{CpuBudget, WaitBudget};
use profiler_common::wait_lengths::Lengths;

use super::object::read_object;
use super::programs::{Runtime, Walks, load_programs, load_runtime};
use super::syscalls::syscall_kinds;
use super::{CodeMaps, Features, LoadError, Rings, SwitchIn, Variant};
use crate::profile::WaitPeriods;
use crate::settings::SamplingSettings;
use crate::sys::{capability, membarrier, usage};

/// The kernel half. Dropping it detaches and unloads everything.
pub struct Kernel {
    ebpf: Ebpf,
    targets: HashMap<MapData, u32, u64>,
    control: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    budgets: PerCpuArray<MapData, [u64; CPU_BUDGET_WORDS]>,
    wait_budget: WaitBudget,
    walks: Walks,
    features: Features,
    frequency_hz: u32,
    /// The sampling event of each CPU that has one.
    samplers: std::collections::BTreeMap<u32, PerfEventLink>,
    attached: bool,
    /// The runtimes whose programs were asked for.
    walked: Vec<Runtime>,
}

impl Kernel {
    /// Loads and verifies the kernel half. Nothing is attached yet.
    pub fn load(settings: &SamplingSettings) -> Result<(Self, Rings, CodeMaps), LoadError> {
        if !capability::can_load_programs() {
            return Err(LoadError::NoPrivilege);
        }
        let features = Features::detect(settings.variant, settings.switch_in)?.with_wakers(settings.wakers);
        features.fallbacks.iter().for_each(|fallback| tracing::warn!("{fallback}"));
        let (object, types) = std::thread::scope(|scope| {
            let types = scope.spawn(read_types);
            (load_object(settings, &features), types.join().expect("reading types does not panic"))
        });
        let mut ebpf = object?;
        let rings = Rings { stacks: take_ring(&mut ebpf, "STACKS")?, lifecycle: take_ring(&mut ebpf, "LIFECYCLE")? };
        let code = CodeMaps::take(&mut ebpf)?;
        let mut kernel = Self {
            targets: take_map(&mut ebpf, "TARGETS", HashMap::try_from)?,
            control: take_map(&mut ebpf, "CONTROL", Array::try_from)?,
            counters: take_map(&mut ebpf, "COUNTERS", PerCpuArray::try_from)?,
            budgets: take_map(&mut ebpf, "BUDGET", PerCpuArray::try_from)?,
            wait_budget: settings.wait_budget(),
            walks: Walks::take(&mut ebpf)?,
            ebpf,
            features,
            frequency_hz: settings.frequency_hz,
            samplers: Default::default(),
            attached: false,
            walked: Vec::new(),
        };
        kernel.write_syscalls()?;
        kernel.load_programs(&types?)?;
        usage::give_back_free_memory();
        Ok((kernel, rings, code))
    }

    /// What was found and chosen.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether the programs are attached.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Attaches every program. After this, threads that are wanted are accounted from their next switch on.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        if self.attached {
            return Ok(());
        }
        for name in tracepoint_programs(&self.features) {
            let program: &mut BtfTracePoint = typed(&mut self.ebpf, name)?;
            program.attach().map_err(|error| LoadError::refused(format!("attaching {name}"), &error))?;
        }
        if let SwitchIn::Kprobe(function) = &self.features.switch_in {
            let program: &mut KProbe = typed(&mut self.ebpf, "finish_task_switch")?;
            program
                .attach(function, 0)
                .map_err(|error| LoadError::refused(format!("a kprobe on {function}"), &error))?;
        }
        self.attached = true;
        self.follow_cpus()
    }

    /// Loads the programs that walk the frames of a runtime, unless that was done. Many hosts need none, and to verify them takes time.
    /// The rings and the maps of code that [`Self::load`] handed out must still be there.
    pub fn walk_runtime(&mut self, runtime: Runtime) -> Result<(), LoadError> {
        if self.walked.contains(&runtime) {
            return Ok(());
        }
        self.walked.push(runtime);
        load_runtime(runtime, &mut self.ebpf, &self.features, &read_types()?)?;
        self.walks.connect_runtime(runtime, &mut self.ebpf, &self.features)?;
        usage::give_back_free_memory();
        Ok(())
    }

    /// Detaches every program. The books of accounted threads are lost: deselect first.
    pub fn detach(&mut self) -> Result<(), LoadError> {
        self.samplers.clear();
        for name in tracepoint_programs(&self.features) {
            let program: &mut BtfTracePoint = typed(&mut self.ebpf, name)?;
            reload(name, program, |program| program.unload())?;
        }
        if let SwitchIn::Kprobe(_) = &self.features.switch_in {
            let program: &mut KProbe = typed(&mut self.ebpf, "finish_task_switch")?;
            reload("finish_task_switch", program, |program| program.unload())?;
        }
        self.attached = false;
        self.load_programs(&read_types()?)?;
        usage::give_back_free_memory();
        Ok(())
    }

    /// Starts sampling CPUs that came online and forgets those that went away.
    pub fn follow_cpus(&mut self) -> Result<(), LoadError> {
        if !self.attached {
            return Ok(());
        }
        let online = aya::util::online_cpus().map_err(|(what, error)| LoadError::refused(what, &error))?;
        self.samplers.retain(|cpu, _| online.contains(cpu));
        for cpu in online {
            if !self.samplers.contains_key(&cpu) {
                let link = self.attach_sampler(cpu)?;
                self.samplers.insert(cpu, link);
            }
        }
        Ok(())
    }

    fn attach_sampler(&mut self, cpu: u32) -> Result<PerfEventLink, LoadError> {
        let period_ns = cpu_period_ns(self.frequency_hz);
        let program: &mut PerfEvent = typed(&mut self.ebpf, "on_cpu")?;
        program
            .attach(
                PerfEventConfig::Software(SoftwareEvent::CpuClock),
                PerfEventScope::AllProcessesOneCpu { cpu },
                SamplePolicy::Period(period_ns),
                false,
            )
            .and_then(|id| program.take_link(id))
            .map_err(|error| LoadError::refused(format!("sampling CPU {cpu}"), &error))
    }

    /// Sets bits of `record::control`.
    pub fn set_control(&mut self, bits: u32) -> Result<(), LoadError> {
        self.control.set(0, bits, 0).map_err(|error| LoadError::refused("the control map", &error))
    }

    /// Adds target `bit` to the process. Its children inherit it from now on. Returns whether the process did not have it.
    pub fn add_to_target(&mut self, tgid: u32, bit: u32) -> Result<bool, LoadError> {
        let mask = self.targets.get(&tgid, 0).unwrap_or(0);
        if mask >> bit & 1 == 1 {
            return Ok(false);
        }
        let added = self.targets.insert(tgid, mask | 1 << bit, 0);
        added.map_err(|error| LoadError::refused("the map of targets", &error)).map(|()| true)
    }

    /// Removes target `bit` from every process; processes without targets are no longer selected.
    pub fn remove_target(&mut self, bit: u32) -> Result<(), LoadError> {
        for (tgid, mask) in self.targets() {
            self.replace_mask(tgid, mask & !(1 << bit))?;
        }
        Ok(())
    }

    /// Forgets a process that no longer exists.
    pub fn remove_process(&mut self, tgid: u32) -> Result<(), LoadError> {
        self.replace_mask(tgid, 0)
    }

    fn replace_mask(&mut self, tgid: u32, mask: u64) -> Result<(), LoadError> {
        let result = if mask == 0 { self.targets.remove(&tgid) } else { self.targets.insert(tgid, mask, 0) };
        match result {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            // The process ended in between, and the kernel half removed it.
            Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LoadError::refused("the map of targets", &error)),
        }
    }

    /// The selected processes, with the targets that select them as bits.
    pub fn targets(&self) -> Vec<(u32, u64)> {
        self.targets.iter().filter_map(Result::ok).collect()
    }

    /// Waits until the kernel half has seen every change of targets and control made so far.
    pub fn settle(&self) {
        if let Err(error) = membarrier::wait_for_grace_period() {
            tracing::warn!("failed to wait for a grace period: {error}");
        }
    }

    /// One pass over all tasks: opens the books of threads that are wanted and have none, closes those of threads that
    /// are no longer wanted, and hands the others to `each`, waits in progress included.
    pub fn visit_tasks(&mut self, mut each: impl FnMut(&Snapshot, &Lengths)) -> Result<(), LoadError> {
        let refused = |error: &dyn std::error::Error| LoadError::refused("the pass over all tasks", error);
        let program: &mut Iter = typed(&mut self.ebpf, "each_task")?;
        let link = program.attach().and_then(|id| program.take_link(id)).map_err(|error| refused(&error))?;
        let mut file = link.into_file().map_err(|error| refused(&error))?;
        let mut buffer = vec![0; SNAPSHOT_BYTES * SNAPSHOTS_PER_READ];
        loop {
            let filled = read_whole_snapshots(&mut file, &mut buffer).map_err(|error| refused(&error))?;
            if filled == 0 {
                return Ok(());
            }
            for bytes in buffer[..filled].chunks_exact(SNAPSHOT_BYTES) {
                let (snapshot, lengths) = bytes.split_at(size_of::<Snapshot>());
                each(&bytemuck::pod_read_unaligned(snapshot), &bytemuck::pod_read_unaligned(lengths));
            }
        }
    }

    /// The counters of the kernel half, by their `record::COUNTER_*` index, summed over CPUs.
    pub fn counters(&self) -> [u64; record::COUNTERS as usize] {
        std::array::from_fn(|index| match self.counters.get(&(index as u32), 0) {
            Ok(values) => values.iter().sum(),
            Err(_) => 0,
        })
    }

    /// T of the CPUs on which waits have ended, as it is at `now_ns` on the monotonic clock.
    pub fn wait_periods(&self, now_ns: u64) -> WaitPeriods {
        let none = WaitPeriods::of(self.wait_budget.start_ns);
        let Ok(budgets) = self.budgets.get(&0, 0) else { return none };
        let of_cpu = |words: &[u64; CPU_BUDGET_WORDS]| {
            let budget: CpuBudget = bytemuck::cast(*words);
            budget.period_at(now_ns, &self.wait_budget).map(WaitPeriods::of)
        };
        budgets.iter().filter_map(of_cpu).reduce(WaitPeriods::cover).unwrap_or(none)
    }

    fn write_syscalls(&mut self) -> Result<(), LoadError> {
        let map = self.ebpf.map_mut("SYSCALLS").expect("the object defines the map, as its build is tested");
        let mut map: Array<&mut MapData, u8> =
            map.try_into().map_err(|error: MapError| LoadError::refused("map SYSCALLS", &error))?;
        for (number, kind) in syscall_kinds().into_iter().enumerate() {
            map.set(number as u32, kind, 0).map_err(|error| LoadError::refused("the map of system calls", &error))?;
        }
        Ok(())
    }

    fn load_programs(&mut self, types: &aya::Btf) -> Result<(), LoadError> {
        load_programs(&mut self.ebpf, &self.features, types)?;
        self.walks.connect(&mut self.ebpf, &self.features)
    }
}

/// A [`CpuBudget`] as the map has it.
const CPU_BUDGET_WORDS: usize = size_of::<CpuBudget>() / size_of::<u64>();

/// How many snapshots one read of the pass over all tasks takes at most.
const SNAPSHOTS_PER_READ: usize = 64;

/// The nanoseconds between two on-CPU samples of one CPU.
pub fn cpu_period_ns(frequency_hz: u32) -> u64 {
    1_000_000_000 / u64::from(frequency_hz.max(1))
}

fn read_types() -> Result<aya::Btf, LoadError> {
    aya::Btf::from_sys_fs().map_err(|error| LoadError::refused("the kernel's types", &error))
}

fn tracepoint_programs(features: &Features) -> Vec<&'static str> {
    let mut names = match features.switch_in {
        SwitchIn::SchedExit => vec!["sched_switch", "sched_exit"],
        SwitchIn::Kprobe(_) => vec!["sched_switch"],
        SwitchIn::SchedSwitch => vec!["sched_switch_both"],
    };
    if features.tells_wakers {
        names.push("sched_waking");
    }
    names.extend(["sched_process_fork", "sched_process_exec", "sched_process_exit"]);
    if features.has_task_rename {
        names.push("task_rename");
    }
    if features.has_unmapped_area {
        names.push("vm_unmapped_area");
    }
    names
}

fn load_object(settings: &SamplingSettings, features: &Features) -> Result<Ebpf, LoadError> {
    let object = read_object(features.variant, settings.object.as_deref().map(Path::new))?;
    let (waits, period_ns) = (settings.wait_budget(), cpu_period_ns(settings.frequency_hz));
    let mut loader = EbpfLoader::new();
    for (name, value) in &features.offsets.words {
        loader.override_global(name, value, false);
    }
    for (name, value) in &features.offsets.addresses {
        loader.override_global(name, value, false);
    }
    loader
        .override_global("WAIT_PERIOD_START_NS", &waits.start_ns, true)
        .override_global("WAIT_PERIOD_LEAST_NS", &waits.least_ns, true)
        .override_global("WAIT_PERIOD_MOST_NS", &waits.most_ns, true)
        .override_global("WAIT_BUDGET_HZ", &waits.captures_hz, true)
        .override_global("CPU_PERIOD_NS", &period_ns, true)
        .override_global("STOP_SIGNAL", &settings.stop_signal, true)
        .map_max_entries("STACKS", ring_bytes(STACK_RING_BYTES))
        .map_max_entries("LIFECYCLE", ring_bytes(LIFECYCLE_RING_BYTES))
        .allow_unsupported_maps();
    if features.variant == Variant::Hash {
        loader.map_max_entries("THREADS", settings.max_threads);
    }
    loader.load(&object).map_err(|error| LoadError::refused("the BPF object", &error))
}

/// A ring's size grows with the number of CPUs that write to it, beyond eight.
fn ring_bytes(base: u32) -> u32 {
    let cpus = aya::util::nr_cpus().unwrap_or(1) as u32;
    base.saturating_mul(cpus.div_ceil(8).next_power_of_two().min(16))
}

fn take_ring(ebpf: &mut Ebpf, name: &str) -> Result<RingBuf<MapData>, LoadError> {
    take_map(ebpf, name, RingBuf::try_from)
}

pub(super) fn take_map<T>(
    ebpf: &mut Ebpf,
    name: &str,
    convert: impl FnOnce(aya::maps::Map) -> Result<T, MapError>,
) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).expect("the object defines the map, as its build is tested");
    convert(map).map_err(|error| LoadError::refused(format!("map {name}"), &error))
}

pub(super) fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).expect("the object defines the program, as its build is tested");
    program.try_into().map_err(|error: ProgramError| LoadError::refused(format!("program {name}"), &error))
}

/// Unloads a program, which drops its links.
fn reload<P>(
    name: &str,
    program: &mut P,
    unload: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<(), LoadError> {
    unload(program).map_err(|error| LoadError::refused(format!("unloading {name}"), &error))
}

/// Fills the buffer with whole snapshots; returns how many bytes, zero at the end.
fn read_whole_snapshots(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
