//! The canonical profiles of the golden tests, built in code.

use std::sync::Arc;

use profiler_daemon::profile::{
    CodeKind, Frame, FrameKind, LengthEstimate, LoopWaits, LossReason, Name, NamedWaker, ProcessId, Profile, Reason,
    Sample, SourceLine, Stack, State, Task, TaskTotals, ThreadId, TimeRange, Timestamp, WaitClass, WaitDetail,
    WaitPeriods, Waker,
};

const MS: u64 = 1_000_000;
const T: u64 = 10 * MS;

/// Every canonical profile with the name of its golden files.
pub fn all() -> Vec<(&'static str, Profile)> {
    vec![
        ("empty", Builder::new().profile),
        ("native", native()),
        ("python", python()),
        ("hostile", hostile()),
        ("threads", threads()),
        ("loop", event_loop()),
    ]
}

/// One thread that computes, with an inlined function, kernel time, and a function without a name.
fn native() -> Profile {
    let mut builder = Builder::new();
    let task = builder.task(100, 100, "solver", "solver");
    let main = [frame("native:main@solver"), frame("native:_start@solver")];
    let step = frame("native:matrix::step@solver");
    let dot = inlined("matrix::dot");
    builder.sample(task, cpu(CodeKind::Native), stack(&[dot, step.clone()], &main), 60);
    builder.sample(task, cpu(CodeKind::Native), stack(std::slice::from_ref(&step), &main), 20);
    builder.sample(task, cpu(CodeKind::Native), stack(&[unknown("libstripped.so", Reason::Stripped), step], &main), 9);
    builder.sample(
        task,
        cpu(CodeKind::Kernel),
        stack(&[frame("kernel:clear_page"), frame("kernel:page_fault")], &main),
        6,
    );
    builder.totals(task, |totals| totals.cpu_ns = 1_000 * MS);
    builder.profile
}

/// A Python service: bytecode, numpy below it, waits for network, disk and locks, queueing, idle workers, lost stacks.
fn python() -> Profile {
    let mut builder = Builder::new();
    let main = builder.task(200, 200, "uwsgi", "uwsgi");
    let worker = builder.task(200, 201, "uwsgi", "worker-1");
    let handle =
        with_code(python_frame("handle", "/srv/app/views.py", 40), "    total += order.price * order.count", false);
    let base = [handle, python_frame("main", "/srv/app/main.py", 9)];
    let eval = frame("interp:_PyEval_EvalFrameDefault@libpython3.12.so.1.0");
    let query = with_code(python_frame("query", "/srv/app/db.py", 17), "\treturn self.socket.recv(4096)", true);
    let recv = [frame("kernel:schedule_timeout"), frame("native:recv@libc.so.6"), eval.clone(), query];
    let numpy = [frame("native:dgemm_@libopenblas.so.0"), eval.clone(), python_frame("score", "/srv/app/rank.py", 88)];
    let read = [frame("kernel:io_schedule"), frame("native:read@libc.so.6"), python_frame("load", "/srv/app/io.py", 5)];
    let futex =
        [frame("native:pthread_mutex_lock@libc.so.6"), eval.clone(), python_frame("cached", "/srv/app/io.py", 31)];
    builder.sample(main, cpu(CodeKind::Python), stack(&[eval], &base), 30);
    builder.sample(main, cpu(CodeKind::Native), stack(&numpy, &base), 20);
    builder.sample(main, wait(WaitClass::Net), stack(&recv, &base), 300);
    builder.sample(main, wait(WaitClass::Disk), stack(&read, &base), 40);
    builder.sample(main, wait(WaitClass::Lock), stack(&futex, &base), 12);
    builder.sample(main, State::RunQueue, stack(&numpy, &base), 7);
    builder.sample(worker, wait(WaitClass::Net), stack(&recv, &base), 2);
    builder.idle(worker, wait(WaitClass::Sync), stack(&futex, &base), 400);
    builder.totals(main, |totals| {
        (totals.cpu_ns, totals.runq_ns, totals.steal_ns) = (510 * MS, 75 * MS, 3 * MS);
        set_wait(totals, WaitClass::Net, 3_020 * MS);
        set_wait(totals, WaitClass::Disk, 402 * MS);
        set_wait(totals, WaitClass::Lock, 118 * MS);
        totals.unattributed_ns = 4 * MS;
    });
    builder.totals(worker, |totals| {
        set_wait(totals, WaitClass::Net, 26 * MS);
        set_wait(totals, WaitClass::Sync, 4_102 * MS);
        totals.idle_ns = 4_100 * MS;
        totals.began_before_attach_ns = 900 * MS;
    });
    builder.profile.loss.add(LossReason::WalkRefused, 3);
    builder.profile.loss.add(LossReason::UserStackUnreadable, 1);
    builder.profile
}

/// Every name tries to break a terminal, a line, a separator, an attribute or a document.
fn hostile() -> Profile {
    let mut builder = Builder::new();
    let first = builder.task(300, 300, "\x1b[31mred\nroot;0", "</script><script>alert(1)</script>");
    let second = builder.task(301, 301, "# comment", "a\"b'c&d]]>");
    let third = builder.task(302, 302, "", " \u{202e}gnp.exe 7 ");
    let evil = [
        with_code(
            python_frame("f\"'<&>;g\r\n 12", "/tmp/\u{2066}x\u{2069}/\x07bell;.py", 1),
            "\t\x1b[31m\u{202e}live\ton </script>",
            true,
        ),
        frame("native:operator new 42@lib<b>&.so"),
        frame("jit:\u{9b}2J\0nul"),
    ];
    for task in [first, second, third] {
        builder.sample(task, cpu(CodeKind::Native), stack(&evil[1..], &[]), 6);
        builder.sample(task, wait(WaitClass::Ipc), stack(&evil, &[]), 5);
        builder.sample(task, cpu(CodeKind::Native), stack(&[frame("native:worker 9@x")], &[]), 5);
        builder.totals(task, |totals| {
            totals.cpu_ns = 120 * MS;
            set_wait(totals, WaitClass::Ipc, 50 * MS);
        });
    }
    builder.profile
}

/// Sixty short threads seen once or never, a kernel thread, a stack that could not be read, a JVM and a throttled process.
fn threads() -> Profile {
    let mut builder = Builder::new();
    let run = [frame("native:run@pool"), frame("native:start_thread@libc.so.6")];
    for at in 0..60 {
        let task = builder.task(400, 401 + at, "pool", &format!("job-{at}"));
        let function = if at % 3 == 0 { "native:parse@pool" } else { "native:store@pool" };
        if at % 2 == 0 {
            builder.sample(task, wait(WaitClass::Disk), stack(&[frame(function)], &run), 1);
        }
        builder.totals(task, |totals| set_wait(totals, WaitClass::Disk, 5 * MS + u64::from(at)));
    }
    let flusher = builder.kernel_task(20, "kworker/0:1");
    let worker = [frame("kernel:schedule"), frame("kernel:worker_thread"), frame("kernel:kthread")];
    builder.sample(flusher, wait(WaitClass::Kernel), stack(&worker, &[]), 8);
    builder.totals(flusher, |totals| {
        totals.cpu_ns = 2 * MS;
        set_wait(totals, WaitClass::Kernel, 80 * MS);
    });
    let java = builder.task(500, 501, "java", "http-nio-8080");
    let method = jvm_frame("com.example.Shop.checkout", "Shop.java", 77);
    builder.sample(java, cpu(CodeKind::Jvm), stack(std::slice::from_ref(&method), &[]), 10);
    builder.sample(java, State::Throttled, stack(&[method], &[]), 10);
    builder.sample(java, wait(WaitClass::Poll), Stack::default(), 5);
    builder.totals(java, |totals| {
        (totals.cpu_ns, totals.throttled_ns) = (101 * MS, 99 * MS);
        set_wait(totals, WaitClass::Poll, 900 * MS);
    });
    builder.profile
}

/// An event loop that waits for replies, which two tasks await, and for a timer; a thread of it waits for a lock.
fn event_loop() -> Profile {
    let mut builder = Builder::new();
    let main = builder.task(600, 600, "api", "api");
    let pooled = builder.task(600, 601, "api", "pool-1");
    let run = [
        python_frame("BaseEventLoop._run_once", "/usr/lib/python3.14/asyncio/base_events.py", 2019),
        python_frame("main", "/srv/api/main.py", 70),
    ];
    let select = [
        frame("native:epoll_wait@libc.so.6"),
        python_frame("EpollSelector.select", "/usr/lib/python3.14/selectors.py", 452),
    ];
    let thread = Waker::Thread { pid: 700, tid: 703, over_network: true };
    let redis = NamedWaker {
        process_name: Some("redis-server".into()),
        thread_name: Some("io_thd_1".into()),
        ..NamedWaker::nameless(thread)
    };
    let waiting = |name, subject: Option<&str>, waker| {
        let detail = WaitDetail { class: WaitClass::Poll, name, idle: false };
        stack(&select, &run)
            .with_wait(Some(detail))
            .with_subject(subject.map(Into::into))
            .with_waker(Some(Arc::new(waker)))
    };
    builder.sample(main, cpu(CodeKind::Python), stack(&[], &run), 8);
    builder.sample(main, wait(WaitClass::Poll), waiting("reply", Some("127.0.0.1:6379 (redis-server)"), redis), 300);
    builder.sample(main, wait(WaitClass::Poll), waiting("timer", None, NamedWaker::nameless(Waker::Timer)), 100);
    let mutex = WaitDetail { class: WaitClass::Lock, name: "mutex", idle: false };
    let locked = stack(&[frame("native:pthread_mutex_lock@libc.so.6")], &[python_frame("load", "/srv/api/io.py", 5)]);
    let owner = NamedWaker::nameless(Waker::Thread { pid: 600, tid: 600, over_network: false });
    let locked =
        locked.with_wait(Some(mutex)).with_subject(Some("lock 0x7f10".into())).with_waker(Some(Arc::new(owner)));
    builder.sample(pooled, wait(WaitClass::Lock), locked, 20);
    let fetch = builder.place(stack(
        &[with_code(python_frame("fetch", "/srv/api/cache.py", 31), "    return await ask(key)", false)],
        &run,
    ));
    let refresh = builder.place(stack(&[python_frame("refresh", "/srv/api/cache.py", 48)], &run));
    let awaits = vec![(fetch, 60 * MS), (refresh, 30 * MS)];
    builder.profile.loop_waits.push(LoopWaits { task: main, detail: "reply", looks: 90, empty_ns: 10 * MS, awaits });
    builder.totals(main, |totals| {
        totals.cpu_ns = 85 * MS;
        set_wait(totals, WaitClass::Poll, 4_010 * MS);
    });
    builder.totals(pooled, |totals| set_wait(totals, WaitClass::Lock, 199 * MS));
    builder.profile
}

fn cpu(kind: CodeKind) -> State {
    State::OnCpu(kind)
}

fn wait(class: WaitClass) -> State {
    State::Wait(class)
}

fn set_wait(totals: &mut TaskTotals, class: WaitClass, ns: u64) {
    totals.wait_ns[class as usize] = ns;
    totals.waits[class as usize] = 1 + ns / T;
}

fn stack(leaf: &[Arc<Frame>], root: &[Arc<Frame>]) -> Stack {
    Stack::new([leaf, root].concat())
}

/// A frame written as `kind:name` or `kind:name@module`.
fn frame(text: &str) -> Arc<Frame> {
    let (kind, name) = text.split_once(':').unwrap();
    let (name, module) = name.split_once('@').map_or((name, None), |(name, module)| (name, Some(module.into())));
    let kind = match kind {
        "kernel" => FrameKind::Kernel,
        "native" => FrameKind::Native,
        "interp" => FrameKind::Interpreter,
        "jit" => FrameKind::Jit,
        other => panic!("no kind is called {other}"),
    };
    let address = 0x1000 + 16 * name.len() as u64;
    Arc::new(Frame { kind, module, address, ..Frame::marker(name) })
}

fn inlined(name: &str) -> Arc<Frame> {
    let (file, line) = (Some("src/matrix.rs".into()), Some(12));
    Arc::new(Frame { inlined: true, file, line, ..Frame::clone(&frame(&format!("native:{name}@solver"))) })
}

fn unknown(module: &str, reason: Reason) -> Arc<Frame> {
    let name = Name::Unknown(reason);
    Arc::new(Frame { name, kind: FrameKind::Native, module: Some(module.into()), address: 0x4d2, ..Frame::marker("") })
}

fn python_frame(name: &str, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame { kind: FrameKind::Python, file: Some(file.into()), line: Some(line), ..Frame::marker(name) })
}

/// The frame with the text of its line.
fn with_code(frame: Arc<Frame>, text: &str, is_newer: bool) -> Arc<Frame> {
    let source = Some(Arc::new(SourceLine { text: text.into(), is_newer }));
    Arc::new(Frame { source, ..Frame::clone(&frame) })
}

fn jvm_frame(name: &str, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame { kind: FrameKind::Jvm, file: Some(file.into()), line: Some(line), ..Frame::marker(name) })
}

struct Builder {
    profile: Profile,
}

impl Builder {
    fn new() -> Self {
        let from = 1_767_225_600 * 1_000 * MS;
        let range = TimeRange { from: Timestamp(from), to: Timestamp(from + 10_000 * MS) };
        let profile =
            Profile { range, cpu_period_ns: 10_309_278, wait_periods: WaitPeriods::of(T), ..Profile::default() };
        Self { profile }
    }

    fn task(&mut self, pid: u32, tid: u32, process: &str, thread: &str) -> u32 {
        self.profile.tasks.push(Arc::new(Task {
            process: ProcessId { pid, start_ns: u64::from(pid) },
            thread: ThreadId { tid, start_ns: u64::from(tid) },
            process_name: process.into(),
            thread_name: thread.into(),
            kernel: false,
        }));
        self.profile.tasks.len() as u32 - 1
    }

    fn kernel_task(&mut self, pid: u32, name: &str) -> u32 {
        let at = self.task(pid, pid, name, name);
        let task = Task { kernel: true, ..Task::clone(&self.profile.tasks[at as usize]) };
        self.profile.tasks[at as usize] = Arc::new(task);
        at
    }

    /// Adds `count` captures of one period each.
    fn sample(&mut self, task: u32, state: State, stack: Stack, count: u64) {
        let at = self.profile.stacks.len() as u32;
        self.profile.stacks.push(stack);
        let variance_ns2 = count as f64 * (T as f64).powi(2) / 2.0;
        let weight_ns = count * T;
        let ended = || Box::new(LengthEstimate::of(T, count as f64));
        let lengths = matches!(state, State::Wait(_)).then(ended);
        let sample = Sample { task, state, idle: false, stack: at, weight_ns, count, variance_ns2, lengths };
        self.profile.samples.push(sample);
    }

    /// A stack that is not that of a sample.
    fn place(&mut self, stack: Stack) -> u32 {
        self.profile.stacks.push(stack);
        self.profile.stacks.len() as u32 - 1
    }

    fn idle(&mut self, task: u32, state: State, stack: Stack, count: u64) {
        self.sample(task, state, stack, count);
        self.profile.samples.last_mut().unwrap().idle = true;
    }

    fn totals(&mut self, task: u32, fill: impl FnOnce(&mut TaskTotals)) {
        let mut totals = TaskTotals { task, ..TaskTotals::default() };
        fill(&mut totals);
        self.profile.totals.push(totals);
    }
}
