//! Symbolization of the test process itself, and of made-up ones.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::process::fixture::{FixtureProcess, FixtureWorld};
use crate::process::image::read_stat;
use crate::process::stat::TICK_NS;
use crate::process::vdso::VDSO_MODULE;
use crate::process::{MappingKind, ProcWorld};
use crate::profile::{
    AsyncEntry, AsyncName, AsyncTask, Ending, ImageId, Name, PythonEnding, PythonFrame, Task, ThreadId, WaitClass,
    WaitReason,
};

const ADDRESS: u64 = 0x7f81_0710_d7e0;

#[inline(never)]
fn outer(seed: u64) -> u64 {
    std::hint::black_box(seed) + inner(seed)
}

#[inline(always)]
fn inner(seed: u64) -> u64 {
    std::hint::black_box(seed) * 3
}

fn own_image() -> ImageId {
    let pid = std::process::id();
    let start_ns = read_stat(pid, &ProcWorld).unwrap().start_ticks * TICK_NS;
    ImageId { process: ProcessId { pid, start_ns }, exec_ns: 0 }
}

fn fixture_image() -> ImageId {
    ImageId { process: ProcessId { pid: 7, start_ns: 0 }, exec_ns: 0 }
}

fn task(process: ProcessId, kernel: bool) -> Arc<Task> {
    let thread = ThreadId { tid: process.pid, start_ns: process.start_ns };
    Arc::new(Task { process, thread, process_name: "x".into(), thread_name: "x".into(), kernel })
}

fn window(stack: RawStack, state: RawState, kernel_task: bool) -> RawWindow {
    let sample =
        RawSample { task: 0, state, idle: false, stack: 0, weight_ns: 5, count: 2, variance_ns2: 1.0, lengths: None };
    RawWindow {
        tasks: vec![task(stack.image.process, kernel_task)],
        stacks: vec![stack],
        samples: vec![sample],
        ..RawWindow::default()
    }
}

pub(super) fn user_stack(image: ImageId, user: &[u64]) -> RawStack {
    RawStack {
        image,
        on_cpu: true,
        kernel: Arc::default(),
        user: user.into(),
        has_gap: false,
        java: [].into(),
        python: [].into(),
        python_ending: PythonEnding::NoInterpreter,
        tasks: Arc::default(),
        task_frames: 0,
        lock_holder: None,
        code_ns: 0,
        collecting: false,
        reason: WaitReason::default(),
        ending: Ending::Complete,
    }
}

/// Symbolizes stacks of the test process.
fn own_stacks(stacks: impl IntoIterator<Item = Vec<u64>>) -> Vec<Stack> {
    let (registry, id) = (Registry::new(), own_image());
    registry.observe(id, &ProcWorld);
    let stacks = stacks.into_iter().map(|user| user_stack(id, &user)).collect();
    let raw = RawWindow { stacks, ..RawWindow::default() };
    Symbolizer::new().symbolize(raw, &registry, &ProcWorld).stacks
}

/// Symbolizes one stack of the test process.
fn own_frames(user: &[u64]) -> Vec<Arc<Frame>> {
    own_stacks([user.to_vec()])[0].frames.to_vec()
}

/// Symbolizes one stack of a made-up process, and tells the state of its sample.
pub(super) fn fixture_profile(process: FixtureProcess, user: &[u64]) -> Profile {
    let (world, registry) = (FixtureWorld::default(), Registry::new());
    world.insert(7, process);
    registry.observe(fixture_image(), &world);
    let raw = window(user_stack(fixture_image(), user), RawState::OnCpu, false);
    Symbolizer::new().symbolize(raw, &registry, &world)
}

#[test]
fn waits_that_differ_in_their_waker_alone_share_their_frames() {
    let (registry, id) = (Registry::new(), own_image());
    registry.observe(id, &ProcWorld);
    let woken = |waker| {
        let reason = WaitReason { waker: Some(waker), ..WaitReason::default() };
        RawStack { on_cpu: false, reason, ..user_stack(id, &[outer as *const () as u64]) }
    };
    let thread = |tid| Waker::Thread { pid: 7, tid, over_network: false };
    let stacks = [thread(7), thread(8), Waker::Timer].map(woken).to_vec();
    let raw = RawWindow { stacks, ..RawWindow::default() };
    let stacks = Symbolizer::new().symbolize(raw, &registry, &ProcWorld).stacks;
    assert_eq!(stacks.len(), 3);
    assert!(!stacks[0].frames.is_empty() && stacks.iter().all(|stack| Arc::ptr_eq(&stack.frames, &stacks[0].frames)));
}

#[test]
fn a_loop_that_executed_another_program_is_one_loop() {
    let of = |exec_ns, looks, empty_ns| {
        let image = ImageId { exec_ns, ..fixture_image() };
        RawLoop { task: 0, detail: "reply", looks, empty_ns, image, stack: None, places: Vec::new() }
    };
    let loops = vec![of(0, 2, 5), RawLoop { detail: "timer", ..of(0, 1, 1) }, of(7, 3, 7)];
    let raw = RawWindow { loops, ..RawWindow::default() };
    let told = Symbolizer::new().symbolize(raw, &Registry::new(), &FixtureWorld::default()).loop_waits;
    let told: Vec<_> = told.iter().map(|waits| (waits.detail, waits.looks, waits.empty_ns)).collect();
    assert_eq!(told, [("reply", 5, 12), ("timer", 1, 1)]);
}

fn python_process() -> FixtureProcess {
    let map = "7f810710d7dd b py::leaf:/srv/w.py\n7f810710d7f0 10 helper\n";
    FixtureProcess {
        uid: rustix::process::geteuid().as_raw(),
        maps: "400000-500000 r-xp 0 fe:00 77 /usr/bin/python3.12\n\
               7f810710d000-7f810720d000 r-xp 0 00:00 0\n"
            .into(),
        files: [(PathBuf::from("/tmp/perf-7.map"), map.into()), ("/usr/bin/python3.12".into(), own_program())].into(),
        ..FixtureProcess::default()
    }
}

fn own_program() -> Vec<u8> {
    std::fs::read(std::env::current_exe().unwrap()).unwrap()
}

fn name_of(frame: &Frame) -> &str {
    match &frame.name {
        Name::Known(name) => name,
        Name::Unknown(reason) => reason.name(),
    }
}

#[test]
fn functions_of_the_test_are_named_with_file_line_and_inlined_functions() {
    assert_eq!(outer(2), 8);
    let start = outer as *const () as u64;
    let found = own_stacks((start..start + 200).map(|address| vec![address]));
    let inlined = found.into_iter().find(|stack| stack.frames.len() > 1);
    let frames = inlined.expect("some instruction of the outer function belongs to the inlined one").frames;
    let outermost = frames.last().unwrap();
    assert!(frames[0].inlined && !outermost.inlined);
    assert!(name_of(outermost).ends_with("tests::outer"), "{outermost:?}");
    assert!(frames.iter().any(|frame| name_of(frame).ends_with("inner")), "{frames:?}");
    assert!(outermost.file.as_deref().unwrap().ends_with("symbolize/tests.rs"), "{outermost:?}");
    assert!(outermost.line.is_some() && outermost.kind == FrameKind::Native);
    let program = std::env::current_exe().unwrap();
    assert_eq!(outermost.module.as_deref(), program.file_name().unwrap().to_str());
}

#[test]
fn a_return_address_belongs_to_the_call_before_it_and_an_instruction_pointer_to_itself() {
    let start = outer as *const () as u64;
    let frames = own_frames(&[start, start]);
    assert!(name_of(&frames[0]).ends_with("tests::outer"), "{frames:?}");
    assert!(!name_of(frames.last().unwrap()).ends_with("tests::outer"), "{frames:?}");
}

#[test]
fn the_kernels_code_in_every_process_is_named() {
    let (registry, id) = (Registry::new(), own_image());
    let image = registry.observe(id, &ProcWorld).unwrap();
    let vdso = image.mappings.iter().find(|mapping| mapping.kind == MappingKind::Vdso).unwrap();
    let addresses: Vec<u64> = (vdso.start.0..vdso.end.0).step_by(64).collect();
    let frames = own_frames(&addresses);
    assert!(frames.iter().all(|frame| frame.module.as_deref() == Some(VDSO_MODULE)));
    assert!(frames.iter().any(|frame| name_of(frame).contains("clock_gettime")), "{frames:?}");
}

#[test]
fn symbols_nobody_asks_for_any_more_are_let_go_and_the_names_stay() {
    let (registry, id, mut symbolizer) = (Registry::new(), own_image(), Symbolizer::new());
    registry.observe(id, &ProcWorld);
    let run = |symbolizer: &mut Symbolizer| {
        let raw = window(user_stack(id, &[outer as *const () as u64]), RawState::OnCpu, false);
        symbolizer.symbolize(raw, &registry, &ProcWorld).stacks[0].clone()
    };
    let before = run(&mut symbolizer);
    let Symbolizer { native, engine, .. } = &mut symbolizer;
    native.forget_unused(Instant::now(), engine);
    assert_eq!(native.usage().0, 1, "they were used a moment ago");
    native.forget_unused(Instant::now() + 2 * limits::SYMBOLS_UNUSED, engine);
    assert_eq!(native.usage(), (0, 0));
    assert!(Arc::ptr_eq(&before.frames[0], &run(&mut symbolizer).frames[0]));
    assert_eq!(symbolizer.usage().executables, 0, "a name that is known needs no symbols");
}

#[test]
fn the_caches_of_executables_are_reused_from_window_to_window() {
    let (registry, id, mut symbolizer) = (Registry::new(), own_image(), Symbolizer::new());
    registry.observe(id, &ProcWorld);
    let mut run = || {
        let raw = window(user_stack(id, &[outer as *const () as u64]), RawState::OnCpu, false);
        symbolizer.symbolize(raw, &registry, &ProcWorld).stacks[0].clone()
    };
    let (first, second) = (run(), run());
    assert!(Arc::ptr_eq(&first.frames[0], &second.frames[0]));
    assert_eq!(symbolizer.usage().executables, 1);
    assert!(symbolizer.usage().symbol_bytes > 0);
}

#[test]
fn python_functions_are_named_by_the_perf_map_and_their_interpreter_is_marked() {
    let profile = fixture_profile(python_process(), &[0x40_0000, ADDRESS]);
    let frames = &profile.stacks[0].frames;
    let leaf = &frames[0];
    assert_eq!((leaf.kind, leaf.module.as_deref()), (FrameKind::Interpreter, Some("python3.12")));
    let python = frames.last().unwrap();
    assert_eq!((python.kind, name_of(python), python.file.as_deref()), (FrameKind::Python, "leaf", Some("/srv/w.py")));
    assert_eq!(profile.samples[0].state, State::OnCpu(CodeKind::Python));
}

#[test]
fn a_task_without_frames_of_its_own_stands_before_the_innermost_function() {
    let frame = |code: u64| PythonFrame { code, instruction: 0, fingerprint: 0, place: None };
    let name = AsyncName::Number { tag: 8, digits: 1 };
    let task = AsyncEntry::Task(AsyncTask { name, is_shared: false });
    for (task_frames, at) in [(0, 0), (1, 1), (2, 2)] {
        let python = [frame(1), frame(2)].into();
        let stack = RawStack { python, tasks: [task].into(), task_frames, ..user_stack(fixture_image(), &[]) };
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        let profile = Symbolizer::new().symbolize(window(stack, RawState::OnCpu, false), &registry, &world);
        let frames = &profile.stacks[0].frames;
        let found = frames.iter().position(|frame| name_of(frame) == "[task Task-1]");
        assert_eq!((found, frames.len()), (Some(at), 3), "{task_frames}");
    }
}

#[test]
fn generated_code_without_a_runtime_is_told_as_such() {
    let profile = fixture_profile(python_process(), &[0x7f81_0710_d7f8, 0x7f81_0710_d900]);
    let frames = &profile.stacks[0].frames;
    assert_eq!((frames[0].kind, name_of(&frames[0])), (FrameKind::Jit, "helper"));
    assert_eq!((frames[1].kind, &frames[1].name), (FrameKind::Jit, &Name::Unknown(Reason::NoPerfMap)));
    assert_eq!(profile.samples[0].state, State::OnCpu(CodeKind::Native));
}

#[test]
fn generated_code_in_a_file_that_exists_in_memory_only_is_named() {
    let process = python_process();
    let maps = "7f810710d000-7f810720d000 r-xp 0 00:01 9 /memfd:doublemapper (deleted)\n".into();
    let profile = fixture_profile(FixtureProcess { maps, ..process }, &[0x7f81_0710_d7f8]);
    assert_eq!(name_of(&profile.stacks[0].frames[0]), "helper");
}

#[test]
fn an_address_without_a_name_has_a_reason() {
    let process = FixtureProcess {
        maps: "1000-2000 r-xp 0 fe:00 1 /lib/gone.so\n2000-3000 r-xp 0 fe:00 2 /lib/text\n".into(),
        files: [(PathBuf::from("/lib/text"), b"no program".to_vec())].into(),
        ..FixtureProcess::default()
    };
    let profile = fixture_profile(process, &[0x1800, 0x2800, 0x9000]);
    let reasons: Vec<_> =
        profile.stacks[0].leaf_first().map(|frame| (name_of(frame), frame.module.as_deref())).collect();
    let unavailable = Reason::FileUnavailable.name();
    assert_eq!(reasons, [(unavailable, Some("gone.so")), (unavailable, Some("text")), (Reason::Unmapped.name(), None)]);
}

#[test]
fn stacks_of_processes_that_were_never_seen_are_counted_as_lost_names() {
    let raw = window(user_stack(fixture_image(), &[0x1000]), RawState::OnCpu, false);
    let profile = Symbolizer::new().symbolize(raw, &Registry::new(), &FixtureWorld::default());
    assert_eq!(name_of(&profile.stacks[0].frames[0]), Reason::ProcessGone.name());
    assert_eq!(profile.loss.iter().collect::<Vec<_>>(), [(LossReason::ProcessGone, 2)]);
}

#[test]
fn a_missing_user_stack_is_noted_except_for_kernel_threads() {
    let run = |kernel_task| {
        let raw = window(user_stack(fixture_image(), &[]), RawState::Wait(WaitClass::Net), kernel_task);
        Symbolizer::new().symbolize(raw, &Registry::new(), &FixtureWorld::default())
    };
    assert_eq!(name_of(&run(false).stacks[0].frames[0]), Reason::NoUserStack.name());
    assert!(run(true).stacks[0].frames.is_empty());
    assert_eq!(run(true).samples[0].state, State::Wait(WaitClass::Net));
}

#[test]
fn raw_stacks_that_mean_the_same_become_one_sample() {
    let mut raw = window(user_stack(fixture_image(), &[]), RawState::RunQueue, false);
    raw.stacks.push(RawStack { on_cpu: false, ..raw.stacks[0].clone() });
    raw.samples.push(RawSample { stack: 1, ..raw.samples[0].clone() });
    let profile = Symbolizer::new().symbolize(raw, &Registry::new(), &FixtureWorld::default());
    assert_eq!((profile.stacks.len(), profile.samples.len()), (1, 1));
    let sample = &profile.samples[0];
    assert_eq!((sample.weight_ns, sample.count, sample.variance_ns2), (10, 4, 2.0));
}

#[test]
fn kernel_addresses_are_named_where_the_kernel_tells_them() {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let line = symbols.lines().find(|line| line.ends_with(" T do_exit"));
    let Some(address) = line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok()) else { return };
    if address == 0 {
        return;
    }
    let stack = RawStack { kernel: [address + 1].into(), ..user_stack(fixture_image(), &[]) };
    let raw = window(stack, RawState::OnCpu, true);
    let profile = Symbolizer::new().symbolize(raw, &Registry::new(), &FixtureWorld::default());
    let frame = &profile.stacks[0].frames[0];
    assert_eq!(
        (name_of(frame), frame.kind, frame.module.as_deref()),
        ("do_exit", FrameKind::Kernel, Some(KERNEL_MODULE))
    );
    assert_eq!(profile.samples[0].state, State::OnCpu(CodeKind::Kernel));
}

#[test]
fn damaged_programs_give_reasons_or_names_but_never_a_crash() {
    let file = crate::process::vdso::read_vdso().unwrap();
    let mut intact = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::open(fd_path(&file)).unwrap(), &mut intact).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..100 {
        let mut damaged = intact.clone();
        for _ in 0..8 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let region = if random & 1 == 0 { 1024 } else { damaged.len() as u64 };
            damaged[((random >> 16) % region) as usize] = (random >> 48) as u8;
        }
        let process = FixtureProcess {
            maps: "400000-500000 r-xp 0 fe:00 77 /lib/damaged.so\n".into(),
            files: [(PathBuf::from("/lib/damaged.so"), damaged)].into(),
            ..FixtureProcess::default()
        };
        let addresses: Vec<u64> = (0x40_0000..0x40_2000).step_by(512).collect();
        let profile = fixture_profile(process, &addresses);
        assert!(profile.stacks[0].frames.len() >= addresses.len());
    }
}

fn fd_path(file: &std::fs::File) -> String {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file))
}
