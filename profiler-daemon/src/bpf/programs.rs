//! The programs of the kernel half: which this kernel gets, loaded side by side, because each is verified on its own.

use std::thread;

use aya::maps::{MapData, ProgramArray};
use aya::programs::{BtfTracePoint, Iter, KProbe, PerfEvent, Program, ProgramError, ProgramFd};
use aya::{Btf, Ebpf};

use super::kernel::{take_map, typed};
use super::{Features, LoadError, SwitchIn};

/// What a program is attached to.
#[derive(Clone, Copy)]
enum Hook {
    /// The tracepoint of this name.
    Tracepoint(&'static str),
    /// A function chosen when it is attached.
    Function,
    /// The timer of a CPU.
    Timer,
    /// The pass over all tasks.
    Tasks,
}

/// The programs that go on with a walk, by those that begin one.
pub(super) struct Walks {
    on_cpu: ProgramArray<MapData>,
    off_cpu: ProgramArray<MapData>,
}

impl Walks {
    /// Takes the maps out of the loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            on_cpu: take_map(ebpf, "ON_CPU_WALKS", ProgramArray::try_from)?,
            off_cpu: take_map(ebpf, "OFF_CPU_WALKS", ProgramArray::try_from)?,
        })
    }

    /// Tells the programs that begin a walk which ones go on with it.
    pub(super) fn connect(&mut self, ebpf: &mut Ebpf, features: &Features) -> Result<(), LoadError> {
        self.connect_all(&[(0, "walk")], ebpf, features)
    }

    /// The same of those that know the frames of a runtime.
    pub(super) fn connect_runtime(
        &mut self,
        runtime: Runtime,
        ebpf: &mut Ebpf,
        features: &Features,
    ) -> Result<(), LoadError> {
        self.connect_all(runtime.walks(), ebpf, features)
    }

    fn connect_all(&mut self, walks: &[(u32, &str)], ebpf: &mut Ebpf, features: &Features) -> Result<(), LoadError> {
        for (index, walk) in walks.iter().copied() {
            let on_cpu: &mut PerfEvent = typed(ebpf, &format!("{walk}_on_cpu"))?;
            set(&mut self.on_cpu, index, on_cpu.fd())?;
            match features.switch_in {
                SwitchIn::SchedExit => {
                    let off_cpu: &mut BtfTracePoint = typed(ebpf, &format!("{walk}_sched_exit"))?;
                    set(&mut self.off_cpu, index, off_cpu.fd())?;
                }
                SwitchIn::Kprobe(_) => {
                    let off_cpu: &mut KProbe = typed(ebpf, &format!("{walk}_finish_task_switch"))?;
                    set(&mut self.off_cpu, index, off_cpu.fd())?;
                }
                SwitchIn::SchedSwitch => {}
            }
        }
        Ok(())
    }
}

fn set(
    walks: &mut ProgramArray<MapData>,
    index: u32,
    program: Result<&ProgramFd, ProgramError>,
) -> Result<(), LoadError> {
    let program = program.map_err(|error| LoadError::refused("a program that goes on with a walk", &error))?;
    walks.set(index, program, 0).map_err(|error| LoadError::refused("the map of walks", &error))
}

/// A language runtime whose frames programs of its own walk. They are loaded when they are needed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// CPython.
    Python,
    /// HotSpot.
    Java,
}

impl Runtime {
    const ALL: [Self; 2] = [Self::Python, Self::Java];

    /// Its walks: their places, and what the names of their programs begin with.
    const fn walks(self) -> &'static [(u32, &'static str)] {
        match self {
            Self::Python => &[(1, "python"), (2, "await")],
            Self::Java => &[(3, "java")],
        }
    }

    fn has(self, program: &str) -> bool {
        let begins = |(_, walk): &(u32, &str)| program.strip_prefix(walk).is_some_and(|rest| rest.starts_with('_'));
        self.walks().iter().any(begins)
    }
}

/// Loads every program this kernel gets, but those of runtimes. One that is loaded already stays so.
pub(super) fn load_programs(ebpf: &mut Ebpf, features: &Features, types: &Btf) -> Result<(), LoadError> {
    load_those(|name| !Runtime::ALL.iter().any(|runtime| runtime.has(name)), ebpf, features, types)
}

/// Loads those of a runtime.
pub(super) fn load_runtime(
    runtime: Runtime,
    ebpf: &mut Ebpf,
    features: &Features,
    types: &Btf,
) -> Result<(), LoadError> {
    load_those(|name| runtime.has(name), ebpf, features, types)
}

fn load_those(
    is_wanted: impl Fn(&str) -> bool,
    ebpf: &mut Ebpf,
    features: &Features,
    types: &Btf,
) -> Result<(), LoadError> {
    thread::scope(|scope| {
        let wanted = ebpf.programs_mut().filter(|(name, _)| is_wanted(name));
        let wanted = wanted.filter_map(|(name, program)| Some((name, program, hook_of(name, features)?)));
        let loading: Vec<_> =
            wanted.map(|(name, program, hook)| scope.spawn(move || check(name, load(program, hook, types)))).collect();
        loading.into_iter().try_for_each(|program| program.join().expect("loading does not panic"))
    })
}

/// Where a program belongs; none if this kernel does not get it.
fn hook_of(name: &str, features: &Features) -> Option<Hook> {
    let (exit, probe) = (features.switch_in == SwitchIn::SchedExit, matches!(features.switch_in, SwitchIn::Kprobe(_)));
    let (hook, wanted) = match name {
        "sched_switch" => (Hook::Tracepoint("sched_switch"), exit || probe),
        "sched_switch_both" => (Hook::Tracepoint("sched_switch"), !exit && !probe),
        "sched_exit" | "walk_sched_exit" | "python_sched_exit" | "await_sched_exit" | "java_sched_exit" => {
            (Hook::Tracepoint("sched_exit_tp"), exit)
        }
        "sched_waking" => (Hook::Tracepoint("sched_waking"), features.tells_wakers),
        "sched_process_fork" => (Hook::Tracepoint("sched_process_fork"), true),
        "sched_process_exec" => (Hook::Tracepoint("sched_process_exec"), true),
        "sched_process_exit" => (Hook::Tracepoint("sched_process_exit"), true),
        "task_rename" => (Hook::Tracepoint("task_rename"), features.has_task_rename),
        "vm_unmapped_area" => (Hook::Tracepoint("vm_unmapped_area"), features.has_unmapped_area),
        "finish_task_switch"
        | "walk_finish_task_switch"
        | "python_finish_task_switch"
        | "await_finish_task_switch"
        | "java_finish_task_switch" => (Hook::Function, probe),
        "on_cpu" | "walk_on_cpu" | "python_on_cpu" | "await_on_cpu" | "java_on_cpu" => (Hook::Timer, true),
        "each_task" => (Hook::Tasks, true),
        _ => return None,
    };
    wanted.then_some(hook)
}

fn load(program: &mut Program, hook: Hook, types: &Btf) -> Result<(), ProgramError> {
    match hook {
        Hook::Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, types),
        Hook::Function => <&mut KProbe>::try_from(program)?.load(),
        Hook::Timer => <&mut PerfEvent>::try_from(program)?.load(),
        Hook::Tasks => <&mut Iter>::try_from(program)?.load("task", types),
    }
}

fn check(name: &str, result: Result<(), ProgramError>) -> Result<(), LoadError> {
    match result {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(LoadError::refused(format!("program {name}"), &error)),
    }
}
